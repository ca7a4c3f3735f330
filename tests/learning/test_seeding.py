import random
import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import TensorDataset

from fanfold.learning import FederatedNet, fit, flatten, seeded, training_seed


@given(
    st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**53), st.text("abc-_1", max_size=5)),
    st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**53), st.text("abc-_1", max_size=5)),
)
def test_another_training_has_another_seed(one: tuple, other: tuple) -> None:
    """Run, version and participant each decide it, and it fits torch's generators."""
    assert (training_seed(*one) == training_seed(*other)) == (one == other)
    assert 0 <= training_seed(*one) < 2**63


def test_the_seed_is_the_same_on_every_machine() -> None:
    """The first eight bytes of sha256("0/1/alice"), halved: a replay finds it again."""
    assert training_seed(0, 1, "alice") == 7492278954514813008


def draws() -> tuple[float, float, float]:
    return torch.rand(()).item(), random.random(), float(np.random.rand())


def test_all_generators_are_seeded_and_come_back() -> None:
    """What the program drew before goes on afterwards as if nothing had been."""
    with seeded(1):
        torch.manual_seed(0), random.seed(0), np.random.seed(0)
        expected = draws(), draws()
        torch.manual_seed(0), random.seed(0), np.random.seed(0)
        before = draws()
        with seeded(5):
            inside = draws()
        after = draws()
        with seeded(5):
            assert draws() == inside
    assert (before, after) == expected
    assert inside not in expected


def test_a_seeding_within_another_leaves_it_as_it_was() -> None:
    """However deep, and whichever of numpy's distributions is drawn from."""
    with seeded(1):
        expected = [np.random.normal() for _ in range(2)], draws(), draws()
    with seeded(1):
        pair = [np.random.normal() for _ in range(2)]
        first = draws()
        with seeded(2), seeded(3), seeded(4):
            draws()
        assert (pair, first, draws()) == expected


def test_threads_are_set_and_come_back() -> None:
    """Also when the training fails."""
    before = torch.get_num_threads()

    @seeded(0, threads=1)
    def fail() -> None:
        assert torch.get_num_threads() == 1
        raise KeyError("interrupted")

    with pytest.raises(KeyError, match="interrupted"):
        fail()
    assert torch.get_num_threads() == before


def test_a_training_is_equal_bit_for_bit_in_any_thread() -> None:
    """Same seed and number of threads, same update; dropout included."""
    torch.manual_seed(0)
    start = FederatedNet().get_parameters()
    data = TensorDataset(torch.rand(64, 1, 28, 28), torch.arange(64) % 10)
    results = []

    def work() -> None:
        network = FederatedNet()
        network.apply_parameters(start)
        with seeded(training_seed(0, 1, "alice"), threads=2):
            fit(nn.Sequential(nn.Dropout(0.2), network), data, 2, 0.05, batch_size=16, opt="adam")
        results.append(flatten(network.get_parameters()))

    work()
    for _ in range(2):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert all(
        result[name].equal(tensor) for result in results[1:] for name, tensor in results[0].items()
    )
