import doctest

import pytest

from fanfold.learning import FederatedNet, client, seeding, tracking
from fanfold.learning.digits import Digits


@pytest.mark.parametrize("module", [client, seeding, tracking], ids=lambda module: module.__name__)
def test_examples_in_docstrings_run(module: object) -> None:
    """What the documentation shows is what happens."""
    names = {"FederatedNet": FederatedNet, "dataset": Digits(num_partitions=40).train_data()}
    tried = doctest.testmod(module, extraglobs=names)
    assert tried.attempted
    assert not tried.failed
