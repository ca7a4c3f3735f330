"""What an event is in words, for people."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from rich.filesize import decimal

from fanfold.coordinator.aggregation.refusals import MAX_NAMED, in_words
from fanfold.monitoring.printable import printable
from fanfold.schemas.errors import how_to_install
from fanfold.schemas.events.commands import SimulationFinished
from fanfold.schemas.events.coordinator import (
    RoundClosed,
    RunFinished,
    RunIsAhead,
    RunRestored,
    Waiting,
)
from fanfold.schemas.events.event import Event, InRun, UnknownEvent
from fanfold.schemas.events.participant import OwnUpdateRefused
from fanfold.schemas.timestamps import iso_utc
from fanfold.views.shares import shares_in_words

PRIVACY = ("epsilon_zero_out", "epsilon_replace_one", "delta")
"""What a private run has spent at most on any one participant, whose updates are zero in the
neighbouring run, or any others.
"""

SENTENCES = {
    "round_closed": (
        "round {round}: version {version}, {updates} updates of {examples} examples, "
        "loss {loss}, accuracy {accuracy}, {bytes_down} down, {bytes_up} up, {seconds} s"
    ),
    "fixed_point_chosen": (
        "updates are integers in steps of 2^-{bits}: shortened to a length of {clip}, up to "
        "{updates} in a round, weights {weights}"
    ),
    "participant_joined": "{participant} has joined",
    "update_refused": "the update of {participant} on version {base_version} is refused: {reason}",
    "stopping": "the coordinator stops: {reason}",
    "run_finished": "finished after {rounds} rounds, accuracy {accuracy}; the model is in {model}",
    "simulation_finished": (
        "{mode}, seed {seed}: {rounds} rounds, {updates} updates in {simulated_seconds} simulated "
        "seconds, accuracy {accuracy}; the history is in {history}"
    ),
    "ends_early": "the run ends with version {version}: {reason}",
    "evaluation_failed": "version {version} was not evaluated, and the run goes on: {reason}",
    "checking": "{now} ...",
    "training_note": "{note}",
    "model_unchanged": "after {rounds} rounds nothing was learned; is --lr too small for it?",
    "option_without_effect": "{option} has no effect: {reason}",
    "page_login_made": "log in at the page as {user}; the password is in {password_file}",
    "page_awaits_run": (
        "no run is in {folder} yet, nor in a folder below: the page shows one as soon as it begins"
    ),
    "page_served": "the page is at {url} until Ctrl-C",
    "picture_left_out": (
        f"{{picture}} is left out, because it needs matplotlib: {how_to_install('plot')}"
    ),
    "report_written": "the report of {rounds} rounds is in {page}",
    "exported_to_mlflow": (
        "{rounds} rounds and {models} models are in {mlflow}, as run {mlflow_run}"
    ),
    "exported": "{rows} rows are in {file}",
    "compared": "{metric} at {place}: {runs}",
    "plot_written": "the plot is in {plot}",
    "broker_kept": (
        "the broker stays until Ctrl-C: management UI {management}, user {user}, "
        "password {password} (also in {password_file})"
    ),
    "service_started": (
        "the federation {federation} is served: {runs} runs in {folder}, {parallel_runs} at a time"
    ),
    "standing_by": "another coordinator runs the federation {federation}: standing by",
    "id_taken": "another instance holds the id {participant}: trying again until it is free",
    "folder_locked": (
        "waiting for {folder}: {holder} holds its lock, in the middle of writing perhaps; "
        "if it hangs, end it"
    ),
    "upload_damaged": (
        "{chunks} chunks of {participant}'s update of version {base_version} were damaged on the "
        "disk; asked again: {is_asked_again}"
    ),
    "models_lost": "latest models in {folder} are damaged, and do not count: of {participants}",
    "history_lost": (
        "{reason}: going on with the {lines_left} lines that are left; the damaged history is kept "
        "in {damaged}"
    ),
    "disk_full": "no room in {folder} ({reason}): waiting until there is some",
    "disk_refuses": "{folder} cannot be written to ({reason}): waiting until it can",
    "waiting": "waiting for {for}; {present} participants are present",
    "waiting_for_keepers": (
        "round {round} waits for keepers of its masks: {silent} say nothing, "
        "and {needed} must answer"
    ),
    "all_refused": "round {round}: all who are present were refused: {refused}; waiting for {for}",
    "participants_left_out": (
        "round {round} left out {participants} of {present} participants, who were refused: "
        "{refused}"
    ),
    "keeper_exited": "{keeper} ended with exit code {code}: {reason}",
    "keeper_started": (
        "keeper {keeper} of the federation {federation}: {members} members on its roster, sets of "
        "{masks_at_least} or more"
    ),
    "set_answered": (
        "run {run}, version {version}: a set of {updates} updates; its masks told: {masks_told}"
    ),
    "set_refused": "run {run}, version {version}: a set of {updates} updates is refused: {reason}",
    "participant_exited": "{participant} ended with exit code {code}: {reason}",
    "participant_silent": "nothing was heard of {participant} in round {round}: not waiting for it",
    "slot_claimed": "taking part as {participant}, one of {slots}",
    "waiting_for_slot": "all {slots} slots are taken: waiting until one is free",
    "queue_down": "the broker node with the queue of {participant} is down: waiting for it",
    "participant_out_of_reach": "{participant} is out of reach: its queue's broker node is down",
    "run_restored": (
        "restored: run {run} goes on from version {version} in epoch {epoch}; what was trained "
        "since the backup is trained again"
    ),
    "run_is_ahead": (
        "{participant} holds version {version} of this run (epoch {epoch}), and --out ends with "
        "version {own_version} (epoch {own_epoch})"
    ),
    "version_ignored": (
        "version {version} of run {run} (epoch {epoch}) is ignored: version {held_version} "
        "(epoch {held_epoch}) is here"
    ),
    "version_of_older_epoch": (
        "version {version} of run {run} is ignored: epoch {epoch} is older than {newest_epoch}; if "
        "its coordinator's folder was restored from a backup, start it with --restored"
    ),
    "difference_not_applied": (
        "version {version} of run {run} came as a difference that cannot be applied here, and is "
        "asked for whole: {reason}"
    ),
    "final_model_kept": "the last model of run {run}, version {version}, is in {model}",
    "final_model_ignored": (
        "the last model of run {run}, version {version}, is not kept; name a folder for it with "
        "--state-dir"
    ),
    "state_dir_taken": "another process uses --state-dir {folder}: waiting until it ends",
    "state_is_older": (
        "--state-dir is of version {version}, and {newest} is here: if it comes from a backup, "
        "what top-k owes would be sent twice: then stop this participant and remove {file}"
    ),
    "run_served": "serving run {run} of the task {task}",
    "run_declined": "run {run} is declined: {reason}",
    "run_left": "run {run} is left",
    "waiting_for_runs": (
        "no run that is allowed here is open in the federation {federation} ({declined} declined): "
        "waiting"
    ),
    "waiting_for_coordinator": "no coordinator of the federation {federation} yet: waiting",
}
OWN_REFUSED = "the update on version {version} is refused: {reason}"
"""What a participant tells of its own; the coordinator's event of this name says whose it is."""
IGNORED = (
    "participants ignore this coordinator. If --out was restored from a backup, start again with "
    "--restored; if not, name the folder that the run was continued in"
)
FOLLOWED = "it goes on from there, and trains the versions after it again"


def line(event: Event) -> str:
    """Return an event as a line: when it was, and what."""
    time = "" if event.time is None else f"{iso_utc(event.time)} "
    return time + sentence(event)


def sentence(event: Event) -> str:
    """Return an event in words; one without a sentence of its own by its name and its fields."""
    if isinstance(event, InRun):
        return f"{event.run}: {sentence(event.told)}"
    told = event.document()
    told.pop("time", None)
    name = told.pop("event")
    if isinstance(event, UnknownEvent):
        return _words(name, {each: str(value) for each, value in told.items()})
    values = _values(told)
    template = OWN_REFUSED if isinstance(event, OwnUpdateRefused) else SENTENCES.get(name)
    if template is None:
        return _words(name, values)
    text = template.format_map(defaultdict(lambda: "-", values))
    if "epsilon_zero_out" in values:
        text += (
            f", epsilon {values['epsilon_zero_out']} (zero-out) or "
            f"{values['epsilon_replace_one']} (replace-one) at delta {values['delta']}"
        )
    return _completed(event, text, values)


def _completed(event: Event, text: str, values: Mapping[str, str]) -> str:
    """Return the sentence with what only some events of its kind have to tell."""
    match event:
        case RoundClosed():
            text = _closed(event, text, values)
        case RunFinished() | SimulationFinished():
            if isinstance(event, RunFinished) and event.upstream_version is not None:
                text += f", and upstream the run ended with version {values['upstream_version']}"
            if event.reason:
                text += f"; it ended early: {values['reason']}"
            if isinstance(event, RunFinished) and event.left_out:
                who = _left_out(event.left_out)
                text = f"left out: {who}, refused: {values['refused']}; {text}"
        case RunRestored(is_private=True):
            text += ", and the privacy that it spent is not counted in epsilon"
        case RunIsAhead():
            text += f": {IGNORED if event.is_ignored else FOLLOWED}"
        case Waiting() if event.refused:
            text = f"refused: {values['refused']}; {text}"
    return text


def _closed(event: RoundClosed, text: str, values: Mapping[str, str]) -> str:
    measured = (event.metrics or {}).items()
    own = {name: value for name, value in measured if name not in values}
    text += "".join(f", {printable(name)} {value:.4f}" for name, value in own.items())
    if event.single_updates is not None:
        text += f"; {event.single_updates} updates with those in the sums of regions"
    if event.shares:
        text += f"; {shares_in_words(event.shares)}"
    if event.left_out:
        text = f"left out: {printable(in_words(event.left_out))}; {text}"
    return text


def _values(told: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields as people read them, and whose accuracy it is."""
    values = {name: shown(name, value) for name, value in told.items()}
    if told.get("participant") is None and told.get("login") is not None:
        values["participant"] = f"the login {values['login']}"
    if told.get("measured_by") == "participants" and told["accuracy"] is not None:
        values["accuracy"] += " (participants' mean)"
    return values


def _run_in_words(run: Mapping[str, Any]) -> str:
    """Return the runs of one mode in a comparison, with their spread if they are several."""
    words = f"{run['mode']} {run['mean']:.4f}"
    if run["seeds"] == 1:
        return words
    extremes = f"{run['lowest']:.4f} to {run['highest']:.4f}"
    return f"{words} ± {run['deviation']:.4f} ({run['seeds']} seeds, {extremes})"


def _words(name: str, values: Mapping[str, str]) -> str:
    words = ", ".join(f"{each} {value}" for each, value in values.items())
    readable = name.replace("_", " ")
    return printable(f"{readable}: {words}" if words else readable)


def _left_out(rounds: Mapping[str, int]) -> str:
    """Return who was left out of how many rounds, the most frequent ones first."""
    names = sorted(rounds, key=lambda name: (-rounds[name], name))
    told = [f"{printable(name)} of {rounds[name]} rounds" for name in names[:MAX_NAMED]]
    more = len(names) - len(told)
    return ", ".join(told) + (f" and {more} more" if more else "")


def shown(name: str, value: Any) -> str:
    """Return the value of a field as people read it."""
    if value is None:
        return "-"
    if name in {"loss", "accuracy"}:
        return f"{value:.4f}"
    if name in {"bytes", "bytes_down", "bytes_up"}:
        return decimal(value)
    if name in PRIVACY:
        return f"{value:.4g}"
    if name == "runs" and not isinstance(value, int):
        return "; ".join(map(_run_in_words, value))
    return f"{value:.2f}" if isinstance(value, float) else printable(str(value))
