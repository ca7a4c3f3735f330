"""The private parts of pika that we touch are still where we touch them."""

import inspect

from pika.adapters.utils import io_services_utils
from pika.connection import Connection

from fanfold.transport.io.pika_patches import read_in_larger_pieces


def test_pika_reads_in_pieces_of_the_size_we_set() -> None:
    """If this fails, pika reads in another way: measure again what tuning is worth."""
    transport = io_services_utils._AsyncTransportBase
    read_in_larger_pieces()
    used = transport._consume.__code__.co_names
    assert {"_MAX_RECV_BYTES", "_MAX_CONSUME_BYTES"} <= set(used)
    assert transport._MAX_RECV_BYTES == 128 * 1024


def test_pika_can_drop_a_connection_without_asking() -> None:
    """`abort` calls it with one error; that it works, the tests with a frozen broker show."""
    assert [*inspect.signature(Connection._terminate_stream).parameters] == ["self", "error"]
