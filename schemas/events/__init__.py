"""What people and programs are told of a federation: one frozen dataclass for each event.

`docs/events.md` is made from these classes. They are what `--json` prints, what the table and the
lines of a terminal show, and what metrics and TensorBoard read.
"""
