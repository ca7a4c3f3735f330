"""Fetches a model from the registry, piece by piece, and writes its card beside it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fanfold.operating.client import Answer, OperatorClient
from fanfold.registry.model_card import in_markdown
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.operator_messages import ReadModel, Wanted
from fanfold.storage.disk import replacing


class _ChangedError(Exception):
    """Raised when the file is another one than it was at the first piece."""


def pull(client: OperatorClient, run: str, wanted: Wanted, out: Path) -> dict[str, Any]:
    """Write a version of a run to `out`, with its card as `out`.md and `out`.json beside it.

    The file is replaced as a whole: until the last piece is there, what was there stays. A best
    version that is surpassed meanwhile is fetched anew.

    Args:
        client: asks the service.
        run: its name.
        wanted: which version.
        out: the file, such as model.safetensors.

    Returns:
        The card.

    Raises:
        InvalidInputError: if there is no such model, or the file cannot be written.
    """
    card = _written(client, run, wanted, out)
    while card is None:
        card = _written(client, run, wanted, out)
    try:
        for path, text in (
            (out.with_suffix(".json"), json.dumps(card, indent=1) + "\n"),
            (out.with_suffix(".md"), in_markdown(card)),
        ):
            with replacing(path) as file:
                file.write(text.encode())
    except OSError as error:
        raise _refusal(out, error) from None
    return card


def _written(client: OperatorClient, run: str, wanted: Wanted, out: Path) -> dict[str, Any] | None:
    """Write the file and return the card; None if it became another one meanwhile."""
    first = client.ask(_piece_of(run, wanted, 0))
    total, mark = first.document["bytes"], first.document["mark"]
    try:
        with replacing(out) as file:
            offset = file.write(first.piece)
            while offset < total:
                answer = client.ask(_piece_of(run, wanted, offset))
                offset += file.write(_piece_with(mark, answer))
    except _ChangedError:
        return None
    except OSError as error:
        raise _refusal(out, error) from None
    card: dict[str, Any] = first.document["card"]
    return card


def _piece_with(mark: str, answer: Answer) -> memoryview:
    if answer.document["mark"] != mark or not answer.piece:
        raise _ChangedError
    return answer.piece


def _refusal(out: Path, error: OSError) -> InvalidInputError:
    return InvalidInputError(
        f"{out} cannot be written ({error.strerror}); name another file with --out"
    )


def _piece_of(run: str, wanted: Wanted, offset: int) -> Callable[[dict[str, str]], ReadModel]:
    return lambda ids: ReadModel(**ids, run=run, wanted=wanted, offset=offset)
