"""`python -m fanfold`, and the console command `fanfold`."""

import sys

from fanfold.cli import interruption, signals


def main() -> None:
    """Run the command line; after Ctrl-C say how to go on."""
    signals.end_at_once_on_sigterm()  # the import alone takes a second
    try:
        from fanfold.cli.commands import main as command_line  # noqa: PLC0415 - see above

        command_line()
    except KeyboardInterrupt:
        interruption.ended_by_ctrl_c()
        sys.exit(signals.INTERRUPTED)
    except SystemExit as ended:
        if ended.code == signals.INTERRUPTED:
            interruption.ended_by_ctrl_c()
        raise


if __name__ == "__main__":
    main()
