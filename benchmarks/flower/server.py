"""Flower's server app: as many rounds as asked for; prints the time at the end of each."""

import time
from itertools import pairwise

import numpy as np
from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Average what all nodes return; nothing is evaluated."""
    config = context.run_config
    nodes = int(config["nodes"])
    strategy = FedAvg(
        fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=nodes, min_available_nodes=nodes
    )
    times: list[float] = []

    def note(number: int, arrays: ArrayRecord) -> None:
        times.append(time.perf_counter())
        first = float(arrays.to_numpy_ndarrays()[0][0])
        if first != float(number):  # every round has to add one
            raise RuntimeError(f"round {number} gave {first}")

    strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord([np.zeros(int(config["values"]), dtype=np.float32)]),
        num_rounds=int(config["num-server-rounds"]),
        evaluate_fn=note,
    )
    seconds = [round(end - begin, 4) for begin, end in pairwise(times)]
    print("SECONDS_PER_ROUND", *seconds, flush=True)
