"""What `Connection` asks of exchanges and queues, as operations for the I/O thread."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

from pika.channel import Channel

from fanfold.transport.events import Bindings, QueueState
from fanfold.transport.io.declarations import Operation


def exchange_declaration(name: str, kind: Literal["fanout", "direct"]) -> Operation:
    """Return what declares a durable exchange."""
    return lambda channel, answer: channel.exchange_declare(
        name, kind, durable=True, callback=answer
    )


def binding(queue: str, exchange: str, routing_key: str) -> Operation:
    """Return what binds a queue to an exchange."""
    return lambda channel, answer: channel.queue_bind(queue, exchange, routing_key, callback=answer)


def deletion(queue: str) -> Operation:
    """Return what deletes a queue."""
    return lambda channel, answer: channel.queue_delete(queue, callback=answer)


def declaration(
    name: str, arguments: Mapping[str, Any], *, exclusive: bool, bindings: Bindings
) -> Operation:
    """Return what declares a queue and binds it, if there are bindings."""

    def declare(channel: Channel, answer: Callable[[QueueState], None]) -> None:
        ask = partial(
            channel.queue_declare,
            name,
            durable=not exclusive,
            exclusive=exclusive,
            arguments=dict(arguments),
        )

        def bind(found: Any) -> None:
            *others, last = bindings
            for each in others:
                channel.queue_bind(name, *each)  # without an answer: the last one's comes after
            channel.queue_bind(name, *last, callback=lambda _: answer(_state(found)))

        ask(callback=bind if bindings else lambda found: answer(_state(found)))

    return declare


def declarations(queues: Mapping[str, Bindings], arguments: Mapping[str, Any]) -> Operation:
    """Return what declares durable queues and binds them, without a wait between two of them."""

    def declare(channel: Channel, answer: Callable[[list[QueueState]], None]) -> None:
        states: list[QueueState] = []
        last: tuple[str, ...] = ()
        for name, bindings in queues.items():
            channel.queue_declare(
                name,
                durable=True,
                arguments=dict(arguments),
                callback=lambda found: states.append(_state(found)),
            )
            for each in bindings:
                last = (name, *each)
                channel.queue_bind(*last)  # without an answer
        # The last one once more: its answer comes after all that went before.
        channel.queue_bind(*last, callback=lambda _: answer(states))

    return declare


def _state(found: Any) -> QueueState:
    answer = found.method
    return QueueState(answer.queue, answer.message_count, answer.consumer_count)
