"""Facts about large tensors: they come in huge pages where the system has them."""

import subprocess
import sys
from pathlib import Path

import pytest

SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
PROGRAM = """
from fanfold.learning import use_huge_pages
use_huge_pages()
import torch
tensor = torch.ones(16 << 20)
lines = open("/proc/self/smaps_rollup").read().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("AnonHugePages:")))
"""


@pytest.mark.skipif(
    not SETTING.exists() or "[never]" in SETTING.read_text(), reason="no huge pages on this system"
)
def test_a_large_tensor_lies_on_huge_pages() -> None:
    """64 MiB, of which the kernel may leave some on ordinary pages if memory is in pieces."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 32 << 10
