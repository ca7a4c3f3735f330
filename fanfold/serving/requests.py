"""What operators ask: read, done once, and answered."""

import json
import re
import shutil
from collections.abc import Callable
from datetime import datetime
from typing import Any

from fanfold.api.reading import read
from fanfold.coordinator.settings import RunSettings
from fanfold.registry.changes import changed, check, new_name
from fanfold.registry.details import details_of, summary_of
from fanfold.registry.model_card import model_card
from fanfold.registry.models import model_of
from fanfold.registry.record import Parent, RunRecord
from fanfold.schemas.chunking import Assembly, ChunkHeader
from fanfold.schemas.errors import InvalidInputError, MalformedMessageError
from fanfold.schemas.message_codec import Encoded, TensorBytes, encode
from fanfold.schemas.operator_messages import (
    ChangeRun,
    ReadModel,
    ReadRuns,
    Request,
    RequestAnswered,
    SubmitRun,
)
from fanfold.schemas.reader_limits import ReaderLimits
from fanfold.schemas.run_messages import TASK_PATTERN
from fanfold.serving.commands import PARENT_FILE
from fanfold.serving.runs import Runs
from fanfold.transport import Delivery

LIMITS = ReaderLimits(max_bytes=1 << 20)
"""Of a request."""
PIECE_BYTES = 4 << 20
MOST_REASON = 1024
"""Characters of a refusal that travel."""


class Requests:
    """Does what operators ask. Belongs to the service's thread.

    Args:
        runs: of the service.
        now: the time of day, for records.
        close_round: lets the open round of a run close.
    """

    def __init__(
        self, runs: Runs, *, now: Callable[[], datetime], close_round: Callable[[str], None]
    ) -> None:
        self._runs = runs
        self._now = now
        self._close_round = close_round

    def read(self, delivery: Delivery) -> Request:
        """Return the request in a delivery.

        Raises:
            MalformedMessageError: if it holds none.
        """
        header = ChunkHeader.parse(
            kind=delivery.kind,
            headers=delivery.headers,
            body_length=len(delivery.body),
            limits=LIMITS,
        )
        if header.whole.count > 1:
            raise MalformedMessageError("a request that comes in several chunks")
        assembly = Assembly(header, LIMITS)
        assembly.add(header, delivery.body)
        request = assembly.decode().message
        if not isinstance(request, Request):
            raise MalformedMessageError(f"{header.kind} is no request to the service")
        return request

    def do(self, request: Request, login: str) -> Encoded:
        """Do what is asked, unless that was done before, and return the answer.

        Raises:
            OSError: if the disk refuses.
        """
        try:
            document, piece = self._do(request, login)
        except InvalidInputError as refusal:
            reason = str(refusal)[:MOST_REASON]
            return encode(RequestAnswered(request=request.request, refused=reason))
        tensors = [_bytes("document", json.dumps(document).encode())]
        if piece is not None:
            tensors.append(_bytes("piece", piece))
        return encode(RequestAnswered(request=request.request), tensors)

    def _do(self, request: Request, login: str) -> tuple[Any, bytes | None]:
        match request:
            case SubmitRun():
                return self._summary(self._submit(request, login)), None
            case ChangeRun():
                return self.change(request, login), None
            case ReadRuns(runs=[]):
                return [self._summary(record) for record in self._runs.records.values()], None
            case ReadRuns():
                return [self._details(name) for name in request.runs], None
            case ReadModel():
                return self._model(request)
        raise InvalidInputError(f"this service does not know {request.KIND}")

    def _submit(self, request: SubmitRun, login: str) -> RunRecord:
        records = self._runs.records
        for record in records.values():
            if request.request in record.requests:
                return record
        given = read(RunSettings, {name: _hashable(each) for name, each in request.options.items()})
        unknown = request.options.keys() - RunSettings.model_fields.keys()
        if unknown:
            raise InvalidInputError(f"no run has the options {', '.join(sorted(unknown))}")
        if re.fullmatch(TASK_PATTERN, given.task) is None:
            raise InvalidInputError(
                f"--task {given.task!r} is neither a built-in task nor package.module:ClassName"
            )
        name = request.name or new_name(given.task, records)
        if name in records:
            raise InvalidInputError(f"there is a run {name} already; choose another --name")
        return self._put_new(
            RunRecord(
                run=name,
                number=max((each.number for each in records.values()), default=0) + 1,
                state="queued",
                priority=request.priority,
                submitted_at=self._now(),
                submitted_by=login,
                task=given.task,
                options=request.options,
                settings=given.model_dump(mode="json"),
                parent=self._parent(request, name),
                requests=(request.request,),
            )
        )

    def _put_new(self, record: RunRecord) -> RunRecord:
        self._runs.put(record)
        return self._runs.records[record.run]

    def _parent(self, request: SubmitRun, name: str) -> Parent | None:
        """Copy the version that a run begins from into its folder, and return which it is."""
        if request.parent is None:
            return None
        if "initial" in request.options:
            raise InvalidInputError("--from and --initial both say where to begin; choose one")
        registry = self._runs.registry
        parent = registry.read(request.parent)
        model = model_of(parent.run, registry.folder_of(parent.run), request.parent_version)
        folder = registry.folder_of(name)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model.path, folder / PARENT_FILE)
        return Parent(
            run=parent.run, version=model.version, parameters_sha256=model.parameters_sha256
        )

    def change(self, request: ChangeRun, login: str) -> dict[str, Any]:
        """Let a run wait, go on or end, unless this was done before; return it in short.

        Raises:
            InvalidInputError: if that is not possible.
            OSError: if the disk refuses.
        """
        if request.request in self._runs.registry.removals():
            self._runs.remove(request.run, request=request.request)
            return {"run": request.run, "state": "removed"}
        record = self._record(request.run)
        if request.request not in record.requests:
            check(record, request.change)
            if request.change == "remove":
                return self._remove(record, request.request)
            if request.change == "close-round":
                self._close_round(record.run)
        after = changed(
            record, request.change, request=request.request, login=login, now=self._now()
        )
        if after != record:
            self._runs.put(after)
        return self._summary(self._runs.records[record.run])

    def _remove(self, record: RunRecord, request: str) -> dict[str, Any]:
        if self._runs.has_coordinator(record.run):
            raise InvalidInputError(
                f"the coordinator of {record.run} has not ended yet; try again in a moment"
            )
        self._runs.remove(record.run, request=request)
        return {"run": record.run, "state": "removed"}

    def _model(self, request: ReadModel) -> tuple[dict[str, Any], bytes]:
        record = self._record(request.run)
        model = model_of(record.run, self._runs.registry.folder_of(record.run), request.wanted)
        with model.path.open("rb") as file:
            file.seek(request.offset)
            piece = file.read(PIECE_BYTES)
            mark = f"{model.path.stat().st_ino}-{model.path.stat().st_mtime_ns}"
        document: dict[str, Any] = {"bytes": model.num_bytes, "mark": mark}
        if request.offset == 0:
            document["card"] = model_card(details_of(self._runs.registry, record), model)
        return document, piece

    def _record(self, run: str) -> RunRecord:
        records = self._runs.records
        return records[run] if run in records else self._runs.registry.read(run)

    def _summary(self, record: RunRecord) -> dict[str, Any]:
        return summary_of(record, version=self._runs.version(record.run))

    def _details(self, run: str) -> dict[str, Any]:
        return details_of(self._runs.registry, self._record(run))


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _bytes(name: str, data: bytes) -> TensorBytes:
    return TensorBytes(name, "uint8", (len(data),), "value", "raw", memoryview(data))
