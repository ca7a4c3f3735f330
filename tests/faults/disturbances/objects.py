"""Exchanges, queues and bindings that an operator deletes, queues that he empties.

The lock of the coordinator is left out: the broker lets nobody delete an exclusive queue.
"""

import json
import random
from collections.abc import Iterator
from functools import partial
from urllib.parse import quote

from chaos_federation import Federation

from disturbances.kind import Inflict, Kind

VHOST = quote("/", safe="")
A_PARTICIPANT = "participant"
"""Stands for the queue of one that is drawn."""
COMES_BACK = "It is declared again, and rounds go on."
NOT_MISSED = "Rounds go on; who needs it next declares it."


def _exchange(federation: Federation, name: str) -> str:
    return f"{federation.leg.federation}.{name}"


def _queue(federation: Federation, name: str, dice: random.Random) -> str:
    if name == A_PARTICIPANT:
        return federation.names.participant_queue(dice.choice(federation.participants).name)
    return f"{federation.leg.federation}.{name}"


def delete_exchange(
    name: str, comes_back: bool, federation: Federation, dice: random.Random
) -> Iterator[None]:
    path = f"/api/exchanges/{VHOST}/{_exchange(federation, name)}"
    federation.management.call("DELETE", path)
    yield
    if comes_back:
        federation.until(lambda: federation.management.exists(path), f"exchange {name}")


def delete_queue(
    name: str, comes_back: bool, federation: Federation, dice: random.Random
) -> Iterator[None]:
    path = f"/api/queues/{VHOST}/{_queue(federation, name, dice)}"
    federation.management.call("DELETE", path)
    yield
    if comes_back:
        federation.until(lambda: federation.management.exists(path), f"queue {name}")


def purge_queue(name: str, federation: Federation, dice: random.Random) -> Iterator[None]:
    path = f"/api/queues/{VHOST}/{_queue(federation, name, dice)}/contents"
    federation.management.call("DELETE", path)
    yield


def unbind(
    exchange: str, queue: str, comes_back: bool, federation: Federation, dice: random.Random
) -> Iterator[None]:
    source, target = _exchange(federation, exchange), _queue(federation, queue, dice)
    path = f"/api/bindings/{VHOST}/e/{source}/q/{target}"
    for binding in json.loads(federation.management.call("GET", path)):
        federation.management.call("DELETE", f"{path}/{binding['properties_key']}")
    yield
    if comes_back:
        federation.until(
            lambda: json.loads(federation.management.call("GET", path)),
            f"binding of {queue} to {exchange}",
        )


def _made(what: str, inflict: Inflict, *, comes_back: bool, is_slow: bool = False) -> Kind:
    return Kind(what, COMES_BACK if comes_back else NOT_MISSED, inflict, is_slow=is_slow)


EXCHANGES = {"parameters": True, "resend": False, "reports": True}
"""For each whether its loss is noticed while all is well."""
QUEUES = {"results": True, "events": True, "dead-letters": False, A_PARTICIPANT: True}
PURGED = ("results", "events", A_PARTICIPANT)
BINDINGS = {
    ("reports", "results"): True,
    ("reports", "events"): False,
    ("resend", "dead-letters"): False,
    ("parameters", A_PARTICIPANT): True,
    ("resend", A_PARTICIPANT): False,
}


def _of(queue: str) -> str:
    return "a participant's queue" if queue == A_PARTICIPANT else f"queue F.{queue}"


KINDS = (
    *(
        _made(
            f"exchange F.{name} deleted",
            partial(delete_exchange, name, comes_back),
            comes_back=comes_back,
        )
        for name, comes_back in EXCHANGES.items()
    ),
    *(
        _made(
            f"{_of(name)} deleted", partial(delete_queue, name, comes_back), comes_back=comes_back
        )
        for name, comes_back in QUEUES.items()
    ),
    *(
        Kind(f"{_of(name)} purged", "What lay in it comes again.", partial(purge_queue, name))
        for name in PURGED
    ),
    *(
        _made(
            f"{_of(queue)} unbound from F.{exchange}",
            partial(unbind, exchange, queue, comes_back),
            comes_back=comes_back,
            is_slow=queue == A_PARTICIPANT,  # noticed at the second look, two minutes later
        )
        for (exchange, queue), comes_back in BINDINGS.items()
    ),
)
