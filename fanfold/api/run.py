"""A federation as processes of this machine: what `fanfold.run` and `fanfold local` call."""

import os
from pathlib import Path
from typing import Any

from fanfold.api.folders import new_folder
from fanfold.api.interrupts import stopping_in_order
from fanfold.api.keywords import checked, in_keywords, keywords_of
from fanfold.api.reading import read
from fanfold.api.tasks import TaskName, named_everywhere
from fanfold.local import assembly
from fanfold.local.federation import CHILD_VARIABLE
from fanfold.local.settings import LocalSettings
from fanfold.runs.run import Run
from fanfold.schemas.errors import InvalidInputError, StoppedError
from fanfold.views.progress import progress_view


@keywords_of(LocalSettings)
def run(
    task: TaskName = "digits",
    *,
    progress: bool = True,
    out: str | Path | None = None,
    **options: Any,
) -> Run:
    """Train a federation as processes on this machine, on a private broker, as `fanfold local`.

    Ctrl-C stops it in order, and is then raised; what was trained is kept.

    Args:
        task: a class that other processes can import, or a name such as "radiology:Radiology".
        progress: show how far it is, in a notebook or a terminal.
        out: folder for model, history and checkpoint. A run that is there is resumed; by default
            every run gets a new folder in `runs`.
        options: those of `fanfold local`, with underscores: `--server-optimizer` is
            `server_optimizer`.

    Raises:
        FanfoldError: if an option, the task or its data cannot be used, or the run failed: one
            sentence says why.

    Example:
        >>> run = fanfold.run("radiology:Radiology", participants=3, rounds=10, data="scans")
        >>> network = run.model(Radiology().network())
    """
    if os.environ.get(CHILD_VARIABLE):
        raise InvalidInputError(
            "fanfold.run was called by a file that its own processes import for the task; put the "
            'call under `if __name__ == "__main__":`'
        )
    with in_keywords(LocalSettings), stopping_in_order() as on_ready:
        name, import_from = named_everywhere(task)
        given = checked(options, LocalSettings)
        settings = read(
            LocalSettings, given | {"task": name} | ({} if out is None else {"out": out})
        )
        if out is None:
            settings = settings.model_copy(update={"out": new_folder(name)})
        try:
            assembly.run(
                settings,
                view=progress_view(progress),
                shows_password=True,
                on_ready=on_ready,
                import_from=import_from,
            )
        except StoppedError as stopped:
            told = f"{stopped}; fanfold.Run({str(settings.out)!r}) opens what there is"
            raise KeyboardInterrupt(told) from None
    return Run(settings.out)
