"""Federated averaging in one process: a `Client` trains, a loop averages.

    python examples/client_alone/loop.py

The same `Client` methods serve a participant that gets its parameters from anywhere else.
"""

import torch

from fanfold import Client, Digits, FederatedNet, TrainingPlan

NUM_CLIENTS, ROUNDS = 4, 5


def main(rounds: int = ROUNDS) -> float:
    """Train, print every round, and return the last accuracy."""
    plan = TrainingPlan(epochs=1, batch_size=32, lr=0.02)
    clients = [
        Client(f"client-{index}", Digits(None, index, NUM_CLIENTS).train_data(), plan=plan)
        for index in range(NUM_CLIENTS)
    ]
    total = sum(client.get_dataset_size() for client in clients)
    torch.manual_seed(0)
    network, held_out, accuracy = FederatedNet(), Digits().test_data(), 0.0
    for number in range(1, rounds + 1):
        parameters = network.get_parameters()
        mean = {
            layer: {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
            for layer, tensors in parameters.items()
        }
        for client in clients:
            weight = client.get_dataset_size() / total
            for layer, tensors in client.train(parameters).items():
                for name, tensor in tensors.items():
                    mean[layer][name] += weight * tensor.cpu()
        network.apply_parameters(mean)
        loss, accuracy = network.evaluate(held_out)
        print(f"round {number}: loss {loss:.4f}, accuracy {accuracy:.4f}")
    return accuracy


if __name__ == "__main__":
    main()
