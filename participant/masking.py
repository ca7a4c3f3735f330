"""Masks on an update, so that only the sum of many can be read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fanfold.participant.trainer import TrainedUpdate
from fanfold.schemas.errors import InvalidInputError
from fanfold.schemas.fixed_point import words_of
from fanfold.schemas.messages import GlobalParameters, MaskSeeds
from fanfold.sealing.identity import Identity, PublicIdentity
from fanfold.sealing.mask_seeds import in_order, seal_seeds
from fanfold.sealing.masks import add_mask


@dataclass(frozen=True, slots=True)
class Masking:
    """What one participant masks its updates with.

    Attributes:
        participant: its id.
        identity: signs the seeds.
        keepers: the only ones whom it trusts with seeds, in order.
    """

    participant: str
    identity: Identity
    keepers: Sequence[PublicIdentity]

    @classmethod
    def of(
        cls, participant: str, keepers: Sequence[Path], identity: Path | None
    ) -> "Masking | None":
        """Read the keys; None where nobody asked for masks.

        Raises:
            InvalidInputError: if there are none to read.
        """
        if identity is None:
            return None
        public = in_order(PublicIdentity.read(path) for path in keepers)
        return cls(participant, Identity.read(identity), public)

    def masked(
        self, trained: TrainedUpdate, message: GlobalParameters
    ) -> tuple[TrainedUpdate, MaskSeeds]:
        """Return an update in fixed point with masks on it, and their sealed seeds.

        Call it once for each version, as what it returns is kept: other seeds make another update.
        The masks are added in place: what `trained` held is used up.

        Raises:
            InvalidInputError: if the coordinator names other keepers, or none.
        """
        named = message.masks.keepers if message.masks is not None else []
        if message.fixed is None or named != [keeper.text() for keeper in self.keepers]:
            asked = "other keepers" if named else "no masks"
            raise InvalidInputError(
                f"the coordinator asks for {asked}, and --masks trusts no others; start both with "
                "the same keepers"
            )
        integers = {name: tensor.contiguous() for name, tensor in trained.tensors.items()}
        words = [words_of(tensor) for tensor in integers.values()]
        sealed, seeds = seal_seeds(
            self.keepers,
            self.identity,
            run=message.run,
            participant=self.participant,
            base_version=message.version,
            words=sum(map(len, words)),
        )
        for seed in seeds:
            add_mask(words, seed)
        return replace(trained, tensors=integers, num_examples=1, metrics={}, steps=None), sealed


def refuse_masks(message: GlobalParameters) -> None:
    """Refuse a version that asks for masks where nobody said which keepers to trust.

    Raises:
        InvalidInputError: then.
    """
    if message.masks is not None:
        raise InvalidInputError(
            "the coordinator asks for masked updates; name the keepers that you trust with "
            "--masks KEEPER.pub, and your own keys with --mask-identity"
        )
