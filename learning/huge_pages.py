"""Large tensors on huge pages."""

import os

VARIABLE = "THP_MEM_ALLOC_ENABLE"


def use_huge_pages() -> None:
    """Ask torch to take memory of 2 MiB and more in huge pages, where the system grants them.

    A fresh tensor of 100 MB is 25,000 ordinary pages, and handing those out takes five times as
    long as filling them; a round with a large model makes several such tensors. Must be called
    before the first large tensor is made. Where the variable is set already, it stays.
    """
    os.environ.setdefault(VARIABLE, "1")
