"""Rules by name: the built-in ones, and `package.module:ClassName` of the user's own."""

import inspect
import math
import sys
from importlib import import_module
from pathlib import Path

from fanfold.coordinator.aggregation.aggregator import Aggregator, ByCoordinate, ByDistance, Folding
from fanfold.coordinator.aggregation.clipping import Clip, FlTrust, Mean
from fanfold.coordinator.aggregation.robust_rules import (
    CenteredClipping,
    GeometricMedian,
    Krum,
    Median,
    MultiKrum,
    TrimmedMean,
)
from fanfold.schemas.errors import InvalidInputError

BUILT_IN: dict[str, tuple[type[Aggregator], tuple[type, ...], int]] = {
    "mean": (Mean, (), 0),
    "clip": (Clip, (float,), 0),
    "centered-clipping": (CenteredClipping, (float,), 0),
    "median": (Median, (), 0),
    "trimmed-mean": (TrimmedMean, (float,), 1),
    "krum": (Krum, (int,), 1),
    "multi-krum": (MultiKrum, (int, int), 2),
    "geometric-median": (GeometricMedian, (), 0),
    "fltrust": (FlTrust, (), 0),
}
"""A class, its arguments, and how many of them must be given."""
USES = (
    "mean, clip[:C], centered-clipping[:TAU], median, trimmed-mean:BETA, krum:F, multi-krum:F:M, "
    "geometric-median, fltrust, or package.module:ClassName for your own"
)


def parse_aggregator(spec: str) -> Aggregator:
    """Make the rule that a text names, such as `trimmed-mean:0.2` or `my_rules:Cautious:3`.

    Each call makes a new one, for rules remember. What follows a rule of one's own goes to it as
    numbers.

    Raises:
        InvalidInputError: if there is no such rule, or not with such arguments.
    """
    name, *arguments = spec.split(":")
    if name in BUILT_IN:
        rule, types, least = BUILT_IN[name]
        if not least <= len(arguments) <= len(types):
            raise _unknown(spec)
        numbers = [_number(text, kind, spec) for text, kind in zip(arguments, types, strict=False)]
        return rule(*numbers)
    if not arguments or not name.replace(".", "").isidentifier():
        raise _unknown(spec)
    rule = _own(name, arguments[0], spec)
    numbers = [_number(text, float, spec) for text in arguments[1:]]
    try:
        made = rule(*numbers)
    except TypeError as error:
        raise InvalidInputError(f"aggregator {spec!r} cannot be made: {error}") from None
    return made


def _number(text: str, kind: type, spec: str) -> float:
    try:
        number: float = kind(text)
    except ValueError:
        raise _unknown(spec) from None
    if not math.isfinite(number):
        raise _unknown(spec)
    return number


def _own(module_name: str, class_name: str, spec: str) -> type[Aggregator]:
    """Find the user's own class; modules in the current directory can be named."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise InvalidInputError(
            f"the module {module_name!r} of aggregator {spec!r} cannot be imported: {error}"
        ) from error
    rule = getattr(module, class_name, None)
    if not (isinstance(rule, type) and issubclass(rule, (Folding, ByCoordinate, ByDistance))):
        raise InvalidInputError(
            f"aggregator {spec!r} is no rule: {class_name} must be a class that derives from "
            "Folding, ByCoordinate or ByDistance of fanfold"
        )
    if inspect.isabstract(rule):
        missing = ", ".join(sorted(rule.__abstractmethods__))
        raise InvalidInputError(f"aggregator {spec!r} does not write {missing}")
    return rule


def _unknown(spec: str) -> InvalidInputError:
    return InvalidInputError(f"aggregator {spec!r} is not understood; use {USES}")
