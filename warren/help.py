"""The help of commands with many options: in groups, in plain text."""

from typing import Any

from pydantic import BaseModel
from typer.core import TyperCommand

WHO, FILES, BROKER, PRIVACY = "What and who", "Files and reports", "Broker", "Privacy"
REST = "Options"
ORDER = (WHO, "Rounds", "Training", "Speed", FILES, BROKER, PRIVACY, REST)

_BY_SETTINGS = {
    "TrainingSettings": "Training",
    "RoundSettings": "Rounds",
    "SpeedSettings": "Speed",
}
_NAMES = {
    WHO: ("task", "seed", "partition", "partition_index", "mode"),
    FILES: (
        *("out", "resume", "accept_lost_history", "initial", "commit_seconds", "commit_updates"),
        "state_dir",
        *("metrics_port", "tensorboard", "log_format", "plot"),
    ),
    BROKER: (
        *("broker", "ca_file", "certificate", "key", "shared_login", "require_login"),
        *("heartbeat_seconds", "chunk_bytes", "connect_seconds", "reconnect_seconds"),
        *("results_queue", "results_bytes", "management", "insecure_http", "keep_broker"),
    ),
}
_BY_NAME = {name: group for group, names in _NAMES.items() for name in names}


def group_of(model: type[BaseModel], name: str) -> str:
    """Return the heading under which the help shows an option, by the settings that define it."""
    if name.startswith("dp_"):
        return PRIVACY
    if name in _BY_NAME:
        return _BY_NAME[name]
    for each in reversed(model.__mro__):  # what a derived model changes belongs where it came from
        if issubclass(each, BaseModel) and name in each.model_fields:
            return _BY_SETTINGS.get(each.__name__, WHO)
    return REST


class GroupedCommand(TyperCommand):
    """A command whose options stand under the headings that they were given."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write one section for each heading; typer's own do so only with rich's markup."""
        groups: dict[str, list[tuple[str, str]]] = {title: [] for title in ORDER}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups[getattr(parameter, "rich_help_panel", None) or REST].append(record)
        for title, records in groups.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
