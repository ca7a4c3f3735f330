"""What every command says after Ctrl-C, and the exit code that it ends with."""

import sys

from fanfold.cli.signals import INTERRUPTED

AGAIN = "the same command begins anew"
HOW_TO_GO_ON = {
    "local": "the same command, without --fresh, goes on from the checkpoint in --out",
    "coordinator": "the same command, without --fresh, goes on from the checkpoint in --out; "
    "participants wait for it",
    "serve": "the same command goes on with the queue and the open runs; participants wait for it",
    "submit": "it may be in the queue all the same: `fanfold runs` tells",
    "participant": "the same command takes part again; without it the federation goes on",
    "status": "the federation goes on; the same command looks again",
    "page": "the runs go on; the same command shows them again",
    "simulate": "a simulation keeps no checkpoint: the same command begins it anew",
    "enroll": "part of it may be done: fanfold revoke ID, then enrol again",
    "revoke": "part of it may be done: the same command does the rest",
    "certificates": "the same command makes what is missing",
}
"""By command; for the others it is `AGAIN`."""


def ended_by_ctrl_c() -> None:
    """Say how to go on, on standard error."""
    command = next((each for each in sys.argv[1:] if not each.startswith("-")), "")
    how = HOW_TO_GO_ON.get(command, AGAIN)
    sys.stderr.write(f"fanfold: ended by Ctrl-C (SIGINT, exit code {INTERRUPTED}): {how}\n")
