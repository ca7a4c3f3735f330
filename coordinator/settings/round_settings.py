"""When rounds close, and how they aggregate: what a coordinator and a simulation both decide."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fanfold.coordinator.aggregation.aggregation_settings import AggregationSettings
from fanfold.coordinator.aggregation.fixed_settings import (
    DEFAULT_CLIP,
    check_fixed,
    fixed_plan,
    is_fixed,
    wire_encoding,
)
from fanfold.coordinator.aggregation.refusals import UpdateLimits
from fanfold.coordinator.rounds.closing_rule import (
    DEFAULT_GOALS,
    DEFAULT_MAX_STALENESS,
    Mode,
    RoundPolicy,
)
from fanfold.coordinator.settings.checks import (
    AGGREGATOR,
    ENCODING,
    ENCODING_DOWN,
    MIXING,
    SERVER_OPTIMIZER,
    STALENESS,
)
from fanfold.coordinator.settings.evaluation_settings import EvaluationSettings
from fanfold.coordinator.settings.training_settings import TrainingSettings
from fanfold.schemas.client_settings import Positive
from fanfold.schemas.encodings import difference_encoding
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.messages import FixedPlan, GlobalParameters, MaskPlan, PrivacyPlan


class RoundSettings(TrainingSettings, EvaluationSettings):
    """When rounds close and how they aggregate the updates."""

    task: str = Field(
        "digits", description="What is trained: a built-in task or package.module:ClassName."
    )
    rounds: int = Field(20, ge=0, le=2**53, description="Rounds until the run ends.")
    mode: Mode = Field(
        "sync",
        description="Sets the default goal: sync (all), buffered (3), async (1), or exact (1), the "
        "mean of all participants' latest local models.",
    )
    goal: Literal["all"] | Annotated[int, Field(ge=1)] | None = Field(
        None, description="Updates that close a round: all, or a number."
    )
    quorum: int = Field(
        1, ge=1, description="Fewest updates with which the deadline may close a round."
    )
    deadline_seconds: Positive = Field(
        600.0, description="Seconds after publication from which the quorum is enough."
    )
    min_participants: int = Field(
        1, ge=1, description="Participants that must be present before round 1."
    )
    fraction: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Fraction of those present, drawn at random, sent each version.",
    )
    max_staleness: int | None = Field(
        None,
        ge=0,
        description="Largest staleness with which an update counts; 0 in sync mode, 100 in exact, "
        "else 20. In exact mode, a model that is older drops out of the mean.",
    )
    staleness: Annotated[str, STALENESS] = Field(
        "polynomial:0.5",
        description="Weight of stale updates: constant, polynomial:A or hinge:A:B.",
    )
    server_optimizer: Annotated[str, SERVER_OPTIMIZER] = Field(
        "sgd:lr=1", description="Server's optimizer, such as sgd:lr=1,momentum=0.9 or adam:lr=0.01."
    )
    aggregator: Annotated[str, AGGREGATOR] = Field(
        "mean",
        description="Rule that combines a round's updates: mean, clip[:C], "
        "centered-clipping[:TAU], median, trimmed-mean:BETA, krum:F, multi-krum:F:M, "
        "geometric-median, fltrust, or package.module:ClassName.",
    )
    buckets: int | None = Field(
        None, ge=2, description="Give the aggregator means of this many updates, chosen at random."
    )
    mixing: Annotated[str, MIXING] | None = Field(
        None,
        description="nnm:F: replace each update by its mean with all others but the F furthest.",
    )
    normalize_steps: bool = Field(
        False, description="Count unequal numbers of local steps as FedNova does."
    )
    max_update_norm: Positive | None = Field(
        None, description="Largest L2 norm of an update; by default only extreme ones are refused."
    )
    max_buffer_norm: Positive | None = Field(
        None,
        description="Largest L2 norm of a floating buffer of an update, and largest growth of an "
        "integer one; by default only extreme ones are refused.",
    )
    max_examples: int | None = Field(
        None,
        ge=1,
        description="Most examples that an update may claim, which is its weight; no limit by "
        "default, so set it if you do not trust all participants.",
    )
    encoding: Annotated[str, ENCODING] = Field(
        "float32",
        description="Encoding of updates, from participants to the coordinator: float32, float16, "
        "bfloat16, int8, topk:FRACTION, or fixed[:BITS], integers whose sum is the same in any "
        "order.",
    )
    clip: Positive | None = Field(
        None,
        description="Largest L2 norm of an update with --encoding fixed, 16 by default; "
        "participants shorten longer ones.",
    )
    encoding_down: Annotated[str, ENCODING_DOWN] = Field(
        "float32",
        description="Encoding of versions, from the coordinator to participants: float32, float16, "
        "bfloat16, int8, or difference:ENCODING, the difference to the version before, in int8, "
        "topk:FRACTION[+int8], float16 or bfloat16.",
    )
    initial: Path | None = Field(None, description="Safetensors file with the initial parameters.")

    @property
    def aggregation(self) -> AggregationSettings:
        """How a round aggregates its updates."""
        return AggregationSettings(
            aggregator=self.aggregator,
            is_exact=self.mode == "exact",
            normalize_steps=self.normalize_steps,
            momentum=self.momentum,
            buckets=self.buckets,
            mixing=self.mixing,
            max_staleness=self.policy.max_staleness,
            fixed=self.fixed,
            seed=self.seed,
        )

    @property
    def fixed(self) -> FixedPlan | None:
        """How updates become integers; None where they do not."""
        if not is_fixed(self.encoding):
            return None
        goal, policy = self.policy.goal, self.policy
        return fixed_plan(
            self.encoding,
            clip=self.clip or DEFAULT_CLIP,
            spread=0.0,
            needed=max(self.min_participants if goal == "all" else goal, policy.quorum)
            * (self.largest_sum or 1),
            examples=self.max_examples,
        )

    def announcement(
        self,
        run: str,
        version: int,
        *,
        frozen: str | None = None,
        privacy: PrivacyPlan | None = None,
        masks: MaskPlan | None = None,
    ) -> GlobalParameters:
        """Return what a version says beside its tensors: how participants train on it.

        Args:
            run: the run's id.
            version: its number.
            frozen: digest of the parameters that everybody has from the task, if any.
            privacy: what a private run asks of updates.
            masks: who holds the seeds of masks, where updates have some.
        """
        return GlobalParameters(
            run=run,
            version=version,
            rounds=self.rounds,
            plan=self.plan(version, self.rounds),
            encoding=wire_encoding(self.encoding),
            privacy=privacy,
            frozen=frozen,
            fixed=self.fixed,
            masks=masks,
            keep=difference_encoding(self.encoding_down) is not None,
        )

    @property
    def staleness_weight(self) -> str:
        """The weight of stale updates that applies: sums of integers have no other than 1."""
        return "constant" if is_fixed(self.encoding) else self.staleness

    @property
    def largest_sum(self) -> int | None:
        """Most updates that one may be the sum of; None takes no sums."""
        return None

    @property
    def limits(self) -> UpdateLimits:
        """The limits that no update may exceed."""
        return UpdateLimits(
            max_staleness=self.policy.max_staleness,
            max_examples=self.max_examples,
            max_norm=self.max_update_norm,
            max_buffer_norm=self.max_buffer_norm,
            max_region_updates=self.largest_sum,
        )

    @property
    def policy(self) -> RoundPolicy:
        """The rules of a round: goal, quorum, deadline, sample."""
        sync = self.mode == "sync"
        return RoundPolicy(
            goal=DEFAULT_GOALS[self.mode] if self.goal is None else self.goal,
            quorum=self.quorum,
            deadline_seconds=self.deadline_seconds,
            max_staleness=DEFAULT_MAX_STALENESS[self.mode]
            if self.max_staleness is None
            else self.max_staleness,
            only_fresh_count=sync,
            fraction=self.fraction,
        )

    @model_validator(mode="after")
    def _differences_are_possible(self) -> Self:
        if self.mode == "exact" and difference_encoding(self.encoding_down) is not None:
            raise InvalidInputError(
                "--mode exact makes local models of the coordinator's own version and what changed "
                f"since, and with --encoding-down {self.encoding_down} participants train on "
                "another one; choose float32, float16, bfloat16 or int8 for --encoding-down, or "
                "another --mode"
            )
        return self

    @model_validator(mode="after")
    def _fixed_point_is_possible(self) -> Self:
        default = type(self).model_fields["staleness"].default  # nobody may have asked for it
        asked = self.staleness != default and self.policy.max_staleness > 0
        if is_fixed(self.encoding):
            check_fixed(
                aggregator=self.aggregator,
                mode=self.mode,
                normalizes=self.normalize_steps,
                staleness=self.staleness if asked else None,
                encoding=self.encoding,
            )
            assert self.fixed is not None  # it raises where a sum could overflow
        return self

    @model_validator(mode="after")
    def _aggregation_is_possible(self) -> Self:
        if self.aggregation == AggregationSettings(
            momentum=self.momentum, max_staleness=self.policy.max_staleness, seed=self.seed
        ):
            return self  # the mean can be combined with everything; checking it needs no torch
        from fanfold.coordinator.aggregation.make_aggregation import (  # noqa: PLC0415 - torch: not for --help
            check_aggregation,
        )

        check_aggregation(
            self.aggregation,
            quorum=self.quorum,
            staleness=self.staleness if self.policy.max_staleness else "constant",
            is_private=getattr(self, "dp_clip", None) is not None,
            encoding=self.encoding,
            optimizer=self.optimizer,
            proximal_mu=self.proximal_mu,
        )
        return self
