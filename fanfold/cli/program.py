"""The help of the program: its commands by who uses them, each with one line."""

from typing import Any

from typer.core import TyperGroup

COMMANDS = {
    "Begin here": {
        "local": "Run a whole federation on this machine, to try one",
        "check": "Try a task before anything runs, and see what a round costs",
        "simulate": "Train many participants in one process, in simulated time",
    },
    "Run a federation": {
        "coordinator": "Run the rounds: publish versions, aggregate updates",
        "region": "Take part in a federation with the sums of another",
        "keeper": "Keep the seeds of masks, and tell sums over whole sets alone",
    },
    "Take part": {
        "participant": "Train on this machine's private data",
    },
    "Look": {
        "status": "Show who is present and doing what, the round, the queues",
        "page": "Show runs in a browser as they go",
        "report": "Write a page, a picture and tables of a run",
        "export": "Write a run's history as a table, or the run into MLflow",
        "replay": "Repeat a run from its history, and compare the model",
    },
    "Operate a service": {
        "serve": "Hold a federation: work off a queue of runs, and keep them",
        "submit": "Put a run into the queue",
        "runs": "List the runs: waiting, open, and over",
        "show": "Show one run: where it stands, who took part, its models",
        "compare": "Show two runs side by side",
        "pull": "Fetch the model of a run, with a card",
        "pause": "Let a run wait, and keep its place",
        "go-on": "Let a paused run go on, or a failed one try once more",
        "close-round": "Let the open round close as soon as its quorum is met",
        "stop": "End a run for good; its last version becomes its model",
        "remove": "Remove a run with its history and models",
        "page-user": "Add a user of the page, or change one",
    },
    "Logins, keys and certificates": {
        "enroll": "Make a broker login, and put keys on the roster",
        "revoke": "Remove a participant's login, keys, queue and connections",
        "certificates": "Make a private CA, and certificates for broker and logins",
        "identity": "Make the keys of a participant, a coordinator or a keeper",
        "rotate": "Put a participant's new keys on the roster",
        "audit": "Check the audit trail of the roster, and print it",
    },
}
"""The line of every command by its name, under the heading of who uses it."""


class Program(TyperGroup):
    """The program, whose help shows the commands in groups."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section for each group; typer's own cut lines, and group only with rich."""
        width = max(map(len, self.list_commands(ctx)))  # the lines of all groups are flush
        for title, lines in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), line) for name, line in lines.items()])
