"""What stands for an option's value in the help: the quantity, such as BYTES, N, URL or DIR."""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

_UNITS = ("bytes", "seconds", "hours", "port")
_NAMED = {
    "allow": "TASK",
    "bandwidth": "UP:DOWN",
    "broker": "URL",
    "ca_file": "FILE",
    "certificate": "FILE",
    "coordinator_identity": "LINE|FILE",
    "encoding_down": "ENCODING",
    "federation": "NAME",
    "initial": "FILE",
    "key": "FILE",
    "keep_versions": "WHICH",
    "management": "URL",
    "masks": "KEEPER.pub",
    "mlflow": "DIR|URL",
    "page_certificate": "FILE",
    "page_key": "FILE",
    "page_management": "URL",
    "page_users": "FILE",
    "partition_of": "ID=N",
    "peer": "KEEPER.pub",
    "track": "TRACKER",
    "until": "METRIC:VALUE",
    "users": "FILE",
}


def metavar_of(name: str, annotation: Any) -> str:
    """Return what the help writes after an option, from the field's name and type.

    A path is a folder unless the table names it a file; text is what the name ends with.
    """
    name = name.removeprefix("upstream_")
    if name in _NAMED:
        return _NAMED[name]
    unit = next((unit for unit in _UNITS if unit in name.split("_")), None)
    if unit is not None:
        return unit.upper()
    text = name.rpartition("_")[2].upper()
    return "|".join(dict.fromkeys(_values(annotation, text)))


def _values(annotation: Any, text: str) -> list[str]:
    """Return each kind of value that a type takes: words as they are, the rest in capitals."""
    if get_origin(annotation) is Literal:
        return [str(word) for word in get_args(annotation)]
    if get_origin(annotation) is Annotated:
        return _values(get_args(annotation)[0], text)
    kinds = {int: "N", float: "NUMBER", Path: "DIR", str: text}
    if annotation in kinds:
        return [kinds[annotation]]
    return [value for part in get_args(annotation) for value in _values(part, text)]
