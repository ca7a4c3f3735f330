"""`python -m fanfold`, and the console command `fanfold`."""

from fanfold.cli import signals


def main() -> None:
    """Run the command line."""
    signals.end_at_once_on_sigterm()  # the import alone takes a second
    from fanfold.cli.commands import main as command_line  # noqa: PLC0415 - see above

    command_line()


if __name__ == "__main__":
    main()
