"""The messages of a federation: frozen, strictly typed, and no field that is not named here.

A message is the small document at the head of what travels; the tensors that belong to it follow
as raw bytes (see `message_codec` and `docs/protocol.md`).
"""

from functools import cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
)

from fanfold.schemas.tensor_table import Carried

PROTOCOL = 3

# In these patterns `$` is the very end: pydantic's regex engine never lets it precede a newline.

Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
FederationName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}(?:\.run\.[A-Za-z0-9_-]{1,64})?$")
]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=2**53)]
PublicLine = Annotated[str, StringConstraints(pattern=r"^fanfold-identity-1:[A-Za-z0-9_-]{86}$")]
SealedBox = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{96,256}$")]
Signature = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$")]
AliveSeconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
Text = Annotated[str, StringConstraints(max_length=1024)]
MetricName = Annotated[str, StringConstraints(max_length=64)]
Metrics = Annotated[dict[MetricName, float], Field(max_length=64)]


class Document(BaseModel):
    """What every part of a message has in common: it cannot change and knows all of its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    LEFT_OUT: ClassVar[tuple[str, ...]] = ()
    """Fields that travel only where they say something else than by default."""

    @model_serializer(mode="wrap")
    def _without_what_is_not_said(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        for name, default in _left_out(type(self)):
            if getattr(self, name) == default:
                fields.pop(name, None)  # gone already where one asks for some fields alone
        return fields


@cache  # one entry for each kind of document, whose fields never change
def _left_out(kind: type[Document]) -> tuple[tuple[str, Any], ...]:
    """Return the fields of `LEFT_OUT`, with their defaults."""
    return tuple((name, kind.model_fields[name].default) for name in kind.LEFT_OUT)


class TrainingPlan(Document):
    """How a participant trains; the coordinator decides it and sends it with every version."""

    LEFT_OUT: ClassVar[tuple[str, ...]] = ("lora",)
    epochs: Annotated[int, Field(ge=0, le=10_000)] = 1
    """Passes over the private data; ignored where `steps` is given."""
    steps: Annotated[int, Field(ge=0, le=10_000_000)] | None = None
    """Optimizer steps, counted over as many passes as they take."""
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 32
    """Examples in a batch; the last batch of a pass may be smaller."""
    lr: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.05
    """Learning rate of the local optimizer."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of the local SGD; other optimizers ignore it."""
    optimizer: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{1,32}$")] = "sgd"
    """Name of a `torch.optim` class, in any case of letters."""
    proximal_mu: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Weight of FedProx's proximal term mu/2 * |w - w_base|^2; 0 leaves it out."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """The run's seed; local randomness follows from it, the version and the participant."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """CPU threads of the training; None leaves it to the participant."""
    lora: Literal["A", "B"] | None = None
    """Of an adapter, the LoRA matrix that trains; None is B."""


class PrivacyPlan(Document):
    """What a run with client-level differential privacy asks of every update."""

    clip: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """C, the largest L2 norm of all deltas together."""
    noise: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """z, the standard deviation of the noise over C."""
    at: Literal["participant", "coordinator", "sum"]
    """Who clips and adds the noise; the other rules hold for participants in either case."""


class FixedPlan(Document):
    """How updates become integers whose sum is the same in any order; see `fixed_point`."""

    bits: Annotated[int, Field(ge=0, le=30)]
    """f: a value x travels as x * 2^f, rounded to the nearest integer, ties to even."""
    clip: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """C, the largest L2 norm of all deltas together, before they become integers."""
    largest: Annotated[int, Field(ge=1, lt=2**31)]
    """No integer of an update is larger than this, or smaller than its negative."""
    noise: Annotated[float, Field(ge=0, le=2**31)] = 0.0
    """Standard deviation of the discrete Gaussian noise on each integer, where privacy asks it."""
    examples: Annotated[int, Field(ge=1, lt=2**31)] = 1
    """N: deltas are multiplied by n / N, where n is the number of examples, at most N."""


class MaskPlan(Document):
    """Who holds the seeds of masks: public identities, in the order of their text."""

    keepers: Annotated[list[PublicLine], Field(min_length=1, max_length=3)]


class MaskSeeds(Document):
    """The seeds of one update's masks, sealed for each keeper and signed by the participant."""

    key: Digest
    """X25519 public key that was made for this update alone."""
    boxes: Annotated[list[SealedBox], Field(min_length=1, max_length=3)]
    """For each keeper the seeds it holds."""
    signature: Signature


class Message(Document):
    """The root of all messages."""

    KIND: ClassVar[str]
    """What the AMQP property `type` says."""
    TENSORS: ClassVar[Carried] = "none"
    """What the bytes of its tensors are."""


class GlobalParameters(Message):
    """Coordinator to everybody, or to one: train on this version.

    The coordinator's epoch is no field: it stands in the chunks' headers alone, so that the same
    version, sent again by a coordinator that was started again, has the same digest and is
    recognised. The kind of each tensor says how an update carries it.
    """

    KIND: ClassVar[str] = "GlobalParameters"
    TENSORS: ClassVar[Carried] = "values"
    LEFT_OUT: ClassVar[tuple[str, ...]] = ("frozen", "fixed", "masks", "level", "keep")
    run: Identifier
    version: Count
    rounds: Count
    """The round after which the run ends, for people who watch."""
    plan: TrainingPlan
    encoding: Annotated[str, StringConstraints(max_length=64)] = "float32"
    """How the coordinator wishes updates to be encoded."""
    privacy: PrivacyPlan | None = None
    """If given: deltas of all parameters, nothing else, and `num_examples` 1."""
    frozen: Digest | None = None
    """Of the parameters that everybody has from the task: they never travel. None where all do."""
    fixed: FixedPlan | None = None
    """If given: the deltas of all parameters as int32, and nothing else."""
    masks: MaskPlan | None = None
    """If given: integers are masked, and the seeds are sealed for these keepers."""
    level: Annotated[int, Field(ge=1, le=64)] | None = None
    """Of a region: how many coordinators are above it. None is the root."""
    keep: bool = False
    """Whether the next version may come as its difference to this one: then it is to be kept."""


class FinalModel(Message):
    """Coordinator to everybody: the last version, to keep and not to train on."""

    KIND: ClassVar[str] = "FinalModel"
    TENSORS: ClassVar[Carried] = "values"
    run: Identifier
    version: Count


class RunFinished(Message):
    """Coordinator to everybody: the run is over, wait for the next one."""

    KIND: ClassVar[str] = "RunFinished"
    LEFT_OUT: ClassVar[tuple[str, ...]] = ("reason", "accuracy", "model")
    run: Identifier
    version: Count
    reason: Text | None = None
    """Why it ended before its last round; None if it did not."""
    accuracy: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Of the last version, where it is known."""
    model: Digest | None = None
    """The digest of the whole FinalModel message that was sent before; None where none was."""


class UpdateRefused(Message):
    """Coordinator to one participant: your update was not counted, and why."""

    KIND: ClassVar[str] = "UpdateRefused"
    run: Identifier
    base_version: Count
    reason: Text
    again: bool = False
    """Whether another update on this version, unlike the refused one, would still be judged."""
    fault: Literal["age", "content"] | None = None
    """Refused only because it came too late, or for what it holds; None says neither."""


class Update(Message):
    """Participant to coordinator: what local training changed."""

    KIND: ClassVar[str] = "Update"
    TENSORS: ClassVar[Carried] = "changes"
    LEFT_OUT: ClassVar[tuple[str, ...]] = ("steps", "seeds", "updates")
    run: Identifier
    participant: Identifier
    base_version: Count
    """The version that was trained on."""
    base_digest: Digest
    """The digest of the whole GlobalParameters message that was trained on."""
    num_examples: Annotated[int, Field(ge=1, le=2**53)]
    """Examples in the private training data: the weight of this update."""
    steps: Annotated[int, Field(ge=1, le=2**53)] | None = None
    """Steps of the local optimizer that made the update; None where nobody counted them."""
    metrics: Metrics = {}
    """What was measured, such as `loss` and `accuracy` of the base version."""
    seeds: MaskSeeds | None = None
    """Of the masks on its integers; None where there are none."""
    updates: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    """Of a region: of how many participants' updates this is the sum. None is a participant's own.
    """


class Hello(Message):
    """Participant to coordinator: I am here, and this is the newest version I hold."""

    KIND: ClassVar[str] = "Hello"
    LEFT_OUT: ClassVar[tuple[str, ...]] = ("participants", "wants_whole")
    participant: Identifier
    instance: Identifier
    """A new random id for every start of the process."""
    version: Count | None = None
    """None while it holds none."""
    device: Annotated[str, StringConstraints(max_length=64)] = "cpu"
    num_examples: Count = 0
    consuming: bool = False
    """Whether it consumes its queue now: then there is one, on a node that is up."""
    alive_seconds: AliveSeconds = 30.0
    """How long it is silent at most, between two signs of life."""
    participants: Count | None = None
    """Of a region: how many are present in the federation that it coordinates."""
    wants_whole: bool = False
    """Whether the current version came as a difference to one that it does not hold."""


class Progress(Message):
    """Participant to coordinator: still alive, and this far."""

    KIND: ClassVar[str] = "Progress"
    LEFT_OUT: ClassVar[tuple[str, ...]] = ("participants",)
    participant: Identifier
    instance: Identifier
    run: Identifier
    version: Count
    phase: Literal["downloading", "training", "uploading", "waiting"]
    step: Count = 0
    steps: Count = 0
    alive_seconds: AliveSeconds = 30.0
    """As in Hello: a coordinator that was started again may never hear one."""
    participants: Count | None = None
    """As in Hello."""


class Goodbye(Message):
    """Participant to coordinator: I am leaving on purpose, and this I have answered.

    It may overtake its sender's last update, which comes through another queue.
    """

    KIND: ClassVar[str] = "Goodbye"
    participant: Identifier
    instance: Identifier
    reason: Text = ""
    run: Identifier | None = None
    """Of the last update that the broker has confirmed to this process, if there was one."""
    version: Count | None = None
    """Its base version."""
