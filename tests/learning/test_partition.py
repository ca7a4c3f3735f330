import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fanfold.learning import Partition, TaskError

SPECS = ["iid", "shards", "dirichlet:0.5", "dirichlet:100"]
LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=60)


@given(labels=LABELS, num_partitions=st.integers(1, 12), seed=st.integers(0, 99))
@pytest.mark.parametrize("spec", SPECS)
def test_every_example_is_in_exactly_one_part(
    spec: str, labels: list[int], num_partitions: int, seed: int
) -> None:
    """And no part is empty, unless the division is refused."""
    try:
        parts = Partition.parse(spec).divide(labels, num_partitions, seed)
    except TaskError:
        assume(False)
    assert len(parts) == num_partitions
    assert all(parts)
    assert sorted(index for part in parts for index in part) == list(range(len(labels)))


@pytest.mark.parametrize("spec", SPECS)
def test_the_seed_decides_the_parts(spec: str) -> None:
    """The same seed divides alike in every process; another one does not."""
    partition, labels = Partition.parse(spec), [index % 10 for index in range(500)]
    assert partition.divide(labels, 5, seed=1) == partition.divide(labels, 5, seed=1)
    assert partition.divide(labels, 5, seed=1) != partition.divide(labels, 5, seed=2)


def test_equal_parts_differ_by_one_at_most() -> None:
    """1,437 examples among 8 are 179 or 180 each."""
    parts = Partition.parse("iid").divide([0] * 1437, 8)
    assert {len(part) for part in parts} == {179, 180}


def test_shards_hold_few_classes() -> None:
    """Ten classes of a hundred in twenty shards of fifty: two shards are two classes at most."""
    labels = [index % 10 for index in range(1000)]
    parts = Partition.parse("shards").divide(labels, 10)
    assert all(len({labels[index] for index in part}) <= 2 for part in parts)


def test_a_small_alpha_divides_classes_unevenly() -> None:
    """The largest share of a class in one part shrinks toward 1/n as alpha grows."""
    labels = [index % 2 for index in range(2000)]

    def largest_share(spec: str) -> float:
        parts = Partition.parse(spec).divide(labels, 4, seed=3)
        return max(sum(labels[index] for index in part) for part in parts) / 1000

    assert largest_share("dirichlet:1000") < 0.3
    assert largest_share("dirichlet:0.1") > 0.5


@pytest.mark.parametrize(
    "text",
    ["", "IID", "dirichlet", "dirichlet:", "dirichlet:0", "dirichlet:-1", "dirichlet:nan", "x:1"],
)
def test_another_word_is_refused(text: str) -> None:
    """The message lists what there is."""
    with pytest.raises(TaskError, match="is no partition; use iid, shards or dirichlet:ALPHA"):
        Partition.parse(text)


@pytest.mark.parametrize(("spec", "num_examples"), [("iid", 3), ("shards", 7), ("dirichlet:1", 3)])
def test_too_few_examples_are_refused(spec: str, num_examples: int) -> None:
    """No participant goes empty-handed."""
    with pytest.raises(TaskError, match=f"{num_examples} examples cannot make 4 parts"):
        Partition.parse(spec).divide([0] * num_examples, 4)


def test_a_dirichlet_that_leaves_parts_empty_is_refused() -> None:
    """One class and a tiny alpha give everything to one participant, however often it is drawn."""
    with pytest.raises(TaskError, match="use a larger alpha or fewer participants"):
        Partition.parse("dirichlet:0.0001").divide([0] * 50, 10)
