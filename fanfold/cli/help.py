"""The help of commands: options in groups, examples at the end, in plain text."""

from typing import Any

from pydantic import BaseModel

from fanfold.cli.given_once import GivenOnceCommand

WHO, FILES, BROKER, PRIVACY = "What and who", "Files and reports", "Broker", "Privacy"
ROUNDS, AGGREGATION, EVALUATION = "Rounds", "Aggregation", "Evaluation and the end"
ARGUMENTS, REST = "Arguments", "Options"
ORDER = (
    ARGUMENTS,
    WHO,
    ROUNDS,
    AGGREGATION,
    EVALUATION,
    "Training",
    "Speed",
    FILES,
    BROKER,
    PRIVACY,
    REST,
)

_BY_SETTINGS = {
    "TrainingSettings": "Training",
    "RoundSettings": ROUNDS,
    "SpeedSettings": "Speed",
}
_NAMES = {
    WHO: ("task", "seed", "seeds", "compare", "partition", "partition_index", "mode"),
    ROUNDS: ("when_all_refused",),
    AGGREGATION: (
        *("max_staleness", "staleness", "server_optimizer", "aggregator", "buckets", "mixing"),
        *("normalize_steps", "max_update_norm", "max_buffer_norm", "max_examples", "clip"),
        "max_region_updates",
    ),
    EVALUATION: ("metric", "patience", "until", "until_accuracy", "evaluate_every"),
    FILES: (
        *("out", "resume", "accept_lost_history", "initial", "commit_seconds", "commit_updates"),
        *("state_dir", "restored"),
        *("metrics_port", "tensorboard", "track", "log_format", "plot", "page", "page_port"),
    ),
    BROKER: (
        *("broker", "ca_file", "certificate", "key", "shared_login", "require_login"),
        *("identity", "roster", "coordinator_identity", "sealed"),
        *(
            "heartbeat_seconds",
            "chunk_bytes",
            "max_bytes_per_second",
            "connect_seconds",
            "reconnect_seconds",
        ),
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
    for each in reversed(model.__mro__):  # a changed option stays in the group of its first model
        if issubclass(each, BaseModel) and name in each.model_fields:
            return _BY_SETTINGS.get(each.__name__, WHO)
    return REST


EXAMPLES = {
    "local": (
        "fanfold local --participants 8 --rounds 30 --out runs/first",
        "fanfold local --task radiology:Radiology --mode buffered --goal 3 --json",
    ),
    "coordinator": (
        "fanfold coordinator --broker amqp://me:secret@broker --min-participants 3",
        "fanfold coordinator --credentials coordinator.credentials.json --out runs/scans",
    ),
    "serve": (
        "fanfold serve --broker amqp://me:secret@broker --out runs/service",
        "fanfold serve --credentials coordinator.credentials.json --parallel-runs 3",
    ),
    "submit": (
        "fanfold submit --task radiology:Radiology --rounds 50 --name first",
        "fanfold submit --from first@best --lr 0.01 --priority 5",
    ),
    "runs": (
        "fanfold runs --credentials ada.credentials.json",
        "fanfold runs --federation scans --json",
    ),
    "show": (
        "fanfold show first --credentials ada.credentials.json",
        "fanfold show first --json",
    ),
    "compare": (
        "fanfold compare first second",
        "fanfold compare first second --json",
    ),
    "pull": (
        "fanfold pull first --out first.safetensors",
        "fanfold pull first --version best --out models/best.safetensors",
    ),
    "pause": (
        "fanfold pause first",
        "fanfold pause first --federation scans",
    ),
    "go-on": (
        "fanfold go-on first",
        "fanfold go-on first --json",
    ),
    "stop": (
        "fanfold stop first",
        "fanfold stop first --json",
    ),
    "close-round": (
        "fanfold close-round first",
        "fanfold close-round first --federation scans",
    ),
    "remove": (
        "fanfold remove first",
        "fanfold remove first --json",
    ),
    "participant": (
        "fanfold participant --broker amqp://me:secret@broker --id charite --data /data",
        "fanfold participant --credentials charite.json --state-dir state --allow digits",
    ),
    "keeper": (
        "fanfold keeper --identity keys --roster roster --state-dir state --masks-at-least 5",
        "fanfold keeper --identity keys --roster r --state-dir s --peer b.pub --peer c.pub",
    ),
    "region": (
        "fanfold region --id north --upstream-broker amqp://north:secret@root --broker amqp://here",
        "fanfold region --upstream-credentials north.json --credentials coordinator.json",
    ),
    "status": (
        "fanfold status --broker amqp://me:secret@broker --management http://localhost:15672",
        "fanfold status --credentials coordinator.credentials.json --watch",
    ),
    "simulate": (
        "fanfold simulate --participants 50 --mode all --goal 10 --simulated-hours 0.5",
        "fanfold simulate --mode sync --mode async --seeds 0-4 --bandwidth 1Mbit:20Mbit",
    ),
    "replay": (
        "fanfold replay --out runs/first",
        "fanfold replay --out runs/scans --partition-of charite=0 --partition-of uke=1",
        "fanfold replay --out runs/scans --data scans/charite --data scans/uke",
    ),
    "report": (
        "fanfold report runs/first",
        "fanfold report runs/first --out report --no-plot",
    ),
    "page": (
        "fanfold page runs/first",
        "fanfold page runs --port 8700",
    ),
    "page-user": (
        "fanfold page-user ada --users page-users.json --role operator",
        "fanfold page-user bo --users page-users.json",
    ),
    "export": (
        "fanfold export runs/first --format csv",
        "fanfold export registry/runs/first --mlflow runs/mlflow",
        "fanfold export runs/simulation --format parquet --table updates --out updates.parquet",
    ),
    "check": (
        "fanfold check --task radiology:Radiology --data /data",
        "fanfold check --task digits --batch-size 64 --optimizer adam --json",
    ),
    "enroll": (
        "fanfold enroll charite --identity charite.pub --roster coordinator-keys",
        "fanfold enroll --keeper keeper.pub --broker amqps://broker.example.org",
        "fanfold enroll charite --rotate",
    ),
    "revoke": (
        "fanfold revoke charite --management https://admin@broker:15671 --ca-file ca.pem",
        "fanfold revoke charite --federation scans --vhost hospitals",
        "fanfold revoke charite --old",
    ),
    "identity": (
        "fanfold identity keys",
        "fanfold identity coordinator-keys",
    ),
    "rotate": (
        "fanfold rotate charite --identity charite.pub --roster coordinator-keys",
        "fanfold rotate uke --identity uke-2.pub --roster /srv/fanfold/roster",
    ),
    "audit": (
        "fanfold audit coordinator-keys",
        f"fanfold audit /srv/fanfold/roster --holds {'0' * 64}",
    ),
    "certificates": (
        "fanfold certificates certificates --host broker.example.org --host 10.0.0.7",
        "fanfold certificates certificates --client charite --client coordinator",
    ),
}


class ExampledCommand(GivenOnceCommand):
    """A command whose help ends with examples."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples as they are typed, one on each line."""
        with formatter.section("Examples"):
            for example in EXAMPLES[str(ctx.command.name)]:
                formatter.write(f"  {example}\n")


class GroupedCommand(ExampledCommand):
    """A command whose help shows the options in groups, under their headings."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write one section for each heading; typer's own do so only with rich's markup."""
        groups: dict[str, list[tuple[str, str]]] = {title: [] for title in ORDER}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                is_option = parameter.param_type_name == "option"
                rest = REST if is_option else ARGUMENTS
                groups[getattr(parameter, "rich_help_panel", None) or rest].append(record)
        for title, records in groups.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
