"""Replays a run in one process from its history, to prove that its model follows from its updates.

Every update that the history names is trained again from its base version and folded in the
recorded order, with the classes that the coordinator and the participants use. The same training
gives the same bits on the same kind of machine with as many threads, so the last parameters have
the same hash as the run's own, however often it was killed.

Not so with private tensors or top-k (their state is part of the input), nor with privacy noise,
nor on a GPU without deterministic algorithms: such a run is refused or does not agree.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from fanfold.coordinator.aggregation.exact_round import ExactRound
from fanfold.coordinator.aggregation.fixed_settings import wire_encoding
from fanfold.coordinator.aggregation.initial_model import initial_model
from fanfold.coordinator.aggregation.make_aggregation import make_aggregation
from fanfold.coordinator.aggregation.optimizer_spec import parse_optimizer
from fanfold.coordinator.aggregation.published_model import PublishedModel
from fanfold.coordinator.aggregation.root_update import RootTrainer
from fanfold.coordinator.aggregation.run_state import RunState, UpdateLimits
from fanfold.coordinator.aggregation.staleness import parse_staleness
from fanfold.coordinator.persistence.checkpoint_store import CheckpointStore
from fanfold.coordinator.persistence.history import HISTORY, committed_history, committed_in
from fanfold.coordinator.persistence.history_chain import Committed, DamagedHistoryError
from fanfold.coordinator.settings import RoundSettings
from fanfold.learning import load_task
from fanfold.participant.fixed_update import fixed_update
from fanfold.runs.settings import ReplaySettings
from fanfold.runs.shares import participants_by_data
from fanfold.schemas.encodings import Encoding, difference_encoding, whole_encoding
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.events.commands import Replayed, RoundReplayed
from fanfold.schemas.events.event import Say
from fanfold.schemas.message_codec import received
from fanfold.schemas.messages import GlobalParameters, Update
from fanfold.schemas.region_names import is_of_a_region
from fanfold.schemas.tensor_codec import decode_tensors, encode_tensors, parameters_sha256
from fanfold.simulation.participants import Participants, Share
from fanfold.storage import safetensors_file

COUNTED = frozenset({"round", "commit", "models_lost", "set_lost"})
"""Events that say what went into the model, or out of it."""
ANY_DIGEST = "0" * 64
"""Used as the version's digest: the history names only updates that were accepted."""


@dataclass(frozen=True, slots=True)
class _Version:
    """A version as participants received it."""

    tensors: Mapping[str, Tensor]
    message: GlobalParameters


def replay(settings: ReplaySettings, *, say: Say) -> Replayed:
    """Replay the run in `settings.out`, as far as its checkpoint goes, and return what came out.

    Raises:
        InvalidInputError: if there is no run, or one that cannot be replayed on this machine.
    """
    rounds, recorded_tensors, committed = _recorded(settings.out)
    records = [
        record
        for record in _history(settings.out / HISTORY, committed)
        if record["event"] == "started"
        or (record["event"] in COUNTED and record["round"] <= rounds)
    ]
    if not records or records[0]["event"] != "started":
        raise InvalidInputError(f"{settings.out} holds no history that says how its run began")
    if any(record.get("private") for record in records):
        raise InvalidInputError(
            "the noise of a differentially private run comes from the system and is kept nowhere: "
            "such a run cannot be replayed"
        )
    if any(update.get("updates") for record in records for update in record.get("updates", ())):
        raise InvalidInputError(
            "regions sent sums in this run, and whose updates they were made of is in the regions' "
            "own histories: it cannot be replayed here"
        )
    rules = RoundSettings.model_validate(records[0]["settings"])
    if is_of_a_region(rules.task):
        raise InvalidInputError(
            f"{settings.out} is of the {rules.task}, whose versions came from there: a region's "
            "history does not say how they were made, and cannot be replayed"
        )
    names = participants_by_data(records, settings)
    share = Share(
        rules.task, settings.data, settings.partition, len(names), rules.seed, settings.device
    )
    replayer = _Replayer(rules, records[0]["run"], Participants(names, share, lambda: False), names)
    last_needed = {
        update["base_version"]: record["round"]
        for record in records
        if record["event"] == "round"
        for update in record["updates"]
    }
    for record in records:
        if record["event"] == "started":
            replayer.start(RoundSettings.model_validate(record["settings"]))
        elif record["event"] == "commit":
            replayer.fold(record["updates"])
        elif record["event"] == "models_lost":
            replayer.run.aggregation.forget(record["participants"])
        elif record["event"] == "set_lost":
            replayer.num_updates -= len(replayer.run.contributions)
            replayer.run.drop_round()
        else:
            replayer.play(record, last_needed)
            say(RoundReplayed(round=record["round"], updates=len(record["updates"])))
    ours, recorded = (
        parameters_sha256(replayer.form.whole(tensors))
        for tensors in (replayer.run.tensors, recorded_tensors)
    )
    return Replayed(replayer.run.version, replayer.num_updates, ours, ours == recorded)


class _Replayer:
    """The run's state, and the versions on which later updates are based."""

    def __init__(
        self, rules: RoundSettings, run_id: str, participants: Participants, names: list[str]
    ) -> None:
        """Make version 0, as the coordinator did."""
        task = load_task(rules.task)(seed=rules.seed)
        model = initial_model(task, rules.seed, rules.initial, lora=rules.lora)
        self.form = model.form
        self.run = RunState(
            run_id=run_id,
            tensors=model.tensors,
            kinds=model.kinds,
            staleness=parse_staleness(rules.staleness_weight),
            optimizer=parse_optimizer(rules.server_optimizer),
            limits=UpdateLimits(),
            aggregation=make_aggregation(
                rules.aggregation,
                root=lambda: RootTrainer(task, lambda version: rules.plan(version, rules.rounds)),
            ),
        )
        self.run.leave_frozen(model.form.frozen_sha256)
        self.num_updates = 0
        self._rules = rules
        self._participants = participants
        self._index = {name: index for index, name in enumerate(names)}
        self._versions: dict[int, _Version] = {}
        self._published: PublishedModel | None = None

    def start(self, rules: RoundSettings) -> None:
        """Publish the current version with the settings of a coordinator that starts."""
        if Encoding.from_setting(wire_encoding(rules.encoding)).fraction is not None:
            raise InvalidInputError(
                f"encoding {rules.encoding} keeps a memory with each participant, which no history "
                "holds: such a run cannot be replayed"
            )
        self._rules = rules
        self._published = self._published_for(rules)
        self.run.go_on_with(
            staleness=parse_staleness(rules.staleness_weight),
            optimizer=parse_optimizer(rules.server_optimizer),
        )
        if isinstance(self.run.aggregation, ExactRound):
            self.run.aggregation.max_staleness = rules.policy.max_staleness
        self._publish()

    def fold(self, updates: Sequence[Mapping[str, Any]]) -> None:
        """Train and fold updates that were committed while their round was open.

        A restart after the commit may have changed the settings; these follow the former ones.
        """
        for entry in updates:
            self._fold(entry)

    def play(self, record: Mapping[str, Any], last_needed: Mapping[int, int]) -> None:
        """Train and fold the updates of one round, and close it."""
        self.fold(record["updates"][len(self.run.contributions) :])
        self.run.close_round()
        self._publish()
        for version in list(self._versions):
            if version < self.run.version and last_needed.get(version, 0) <= record["round"]:
                del self._versions[version]

    def _fold(self, entry: Mapping[str, Any]) -> None:
        base = self._versions[entry["base_version"]]
        plan, encoding, fixed = base.message.plan, base.message.encoding, base.message.fixed
        index = self._index[entry["participant"]]
        trained = self._participants.train(
            index,
            base.tensors,
            version=entry["base_version"],
            plan=plan,
            frozen=self.run.origin.frozen,
        )
        if fixed is not None:
            trained = fixed_update(trained, fixed, base=base.tensors)
        update = Update(
            run=self.run.run_id,
            participant=entry["participant"],
            base_version=entry["base_version"],
            base_digest=ANY_DIGEST,
            # A masked update does not tell; the hash of the parameters tells whether it was right.
            num_examples=trained.num_examples if fixed is None else entry["num_examples"],
            steps=trained.steps,
        )
        sent = encode_tensors(update, trained.tensors, kinds=trained.kinds, encoding=encoding)
        folded = self.run.fold(update, decode_tensors(received(sent)), entry["digest"])
        for name in ("staleness", "num_examples", "weight"):
            if getattr(folded, name) != entry[name]:
                raise InvalidInputError(
                    f"{update.participant}'s update of version {update.base_version} had {name} "
                    f"{entry[name]}, here it has {getattr(folded, name)}; name the partition, the "
                    "number of partitions and the data of the run"
                )
        self.num_updates += 1

    def _published_for(self, rules: RoundSettings) -> PublishedModel | None:
        """Return what participants hold; it goes on where versions travelled so before."""
        if self._published is None or difference_encoding(rules.encoding_down) is None:
            return PublishedModel.wanted(self.run, rules.encoding_down)
        self._published.encoding = rules.encoding_down
        return self._published

    def _publish(self) -> None:
        rules = self._rules
        message = rules.announcement(self.run.run_id, self.run.version)
        held: Mapping[str, Tensor] = self.run.tensors
        if self._published is not None:
            self._published.publish(message, self.run.tensors)
            held = self._published.tensors
        sent = encode_tensors(message, held, encoding=whole_encoding(rules.encoding_down))
        tensors = decode_tensors(received(sent))
        self._versions[self.run.version] = _Version(tensors, message)


def _history(path: Path, committed: Committed) -> Iterator[dict[str, Any]]:
    """Yield the records of a history; an incomplete one is refused."""
    try:
        for record in committed_history(path, committed):
            if record["event"] == "history_lost":
                raise InvalidInputError(
                    f"{path} lost what followed its first {record['lines']} lines; such a run "
                    "cannot be replayed"
                )
            yield record
    except DamagedHistoryError as damage:
        raise InvalidInputError(f"{damage}; such a run cannot be replayed") from None


def _recorded(folder: Path) -> tuple[int, dict[str, Tensor], Committed]:
    """Return the checkpoint's version, its parameters, and how long its history is."""
    try:
        checkpoint = CheckpointStore(folder).peek()
    except safetensors_file.DamagedFileError as error:
        raise InvalidInputError(str(error)) from None
    if checkpoint is None:
        raise InvalidInputError(f"{folder} holds no checkpoint of a run")
    prefix = "parameters/"
    tensors = {
        name.removeprefix(prefix): tensor
        for name, tensor in checkpoint.tensors.items()
        if name.startswith(prefix)
    }
    document = checkpoint.document
    return document["run"]["version"], tensors, committed_in(document)
