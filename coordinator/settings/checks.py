"""Checks of single settings, each with a sentence of our own for what is wrong."""

from collections.abc import Callable

from pydantic import AfterValidator

from fanfold.coordinator.aggregation.fixed_settings import check_encoding, is_fixed
from fanfold.coordinator.aggregation.staleness import parse_staleness
from fanfold.coordinator.rounds.lr_schedule import parse_schedule
from fanfold.coordinator.rounds.metric_goals import parse_metric
from fanfold.schemas.encodings import DIFFERENCE, Encoding, difference_encoding
from fanfold.schemas.errors import InvalidInputError


def checked(check: Callable[[str], object]) -> AfterValidator:
    """Return a validator that reports the check's own sentence, beside those of other fields."""

    def validate(value: str) -> str:
        try:
            check(value)
        except InvalidInputError as error:
            raise ValueError(str(error)) from None
        return value

    return AfterValidator(validate)


def _check_server_optimizer(spec: str) -> None:
    from fanfold.coordinator.aggregation.optimizer_spec import parse_optimizer  # noqa: PLC0415 - torch: not for --help

    parse_optimizer(spec)


def _check_encoding_down(setting: str) -> None:
    if difference_encoding(setting) is not None:
        return
    if is_fixed(setting) or Encoding.from_setting(setting).fraction is not None:
        why = "is for sums of updates" if is_fixed(setting) else "leaves values out"
        other = "" if is_fixed(setting) else f", or {DIFFERENCE}{setting}"
        raise InvalidInputError(
            f"global parameters cannot be sent as {setting}, which {why}; "
            f"choose float32, float16, bfloat16 or int8{other}"
        )


def _check_aggregator(spec: str) -> None:
    from fanfold.coordinator.aggregation.registry import parse_aggregator  # noqa: PLC0415 - torch: not for --help

    parse_aggregator(spec)


def _check_mixing(spec: str) -> None:
    from fanfold.coordinator.aggregation.mixing import parse_mixing  # noqa: PLC0415 - torch: not for --help

    parse_mixing(None, spec)


def _check_track(spec: str) -> None:
    kind, colon, where = spec.partition(":")
    if (kind == "mlflow" and where) or (kind == "wandb" and bool(colon) == bool(where)):
        return
    raise InvalidInputError(
        f"{spec!r} is no experiment tracker; use mlflow:FOLDER, mlflow:http://HOST:PORT, wandb or "
        "wandb:PROJECT"
    )


def _check_keep_versions(text: str) -> None:
    from fanfold.coordinator.persistence.kept_versions import KeepRule  # noqa: PLC0415 - torch: not for --help

    KeepRule.parse(text)


SERVER_OPTIMIZER = checked(_check_server_optimizer)
AGGREGATOR = checked(_check_aggregator)
MIXING = checked(_check_mixing)
STALENESS = checked(parse_staleness)
METRIC = checked(parse_metric)
KEEP_VERSIONS = checked(_check_keep_versions)
TRACK = checked(_check_track)
LR_SCHEDULE = checked(parse_schedule)
ENCODING = checked(check_encoding)
ENCODING_DOWN = checked(_check_encoding_down)
