"""Huge pages for large tensors."""

import os

VARIABLE = "THP_MEM_ALLOC_ENABLE"


def use_huge_pages() -> None:
    """Ask torch to allocate 2 MiB and more in huge pages, where the system offers them.

    A new tensor of 100 MB takes 25,000 ordinary pages, and the kernel needs five times as long to
    map them as it takes to fill them; a round with a large model allocates several such tensors.
    Must be called before the first large tensor is made. A variable that the user has set stays.
    """
    os.environ.setdefault(VARIABLE, "1")
