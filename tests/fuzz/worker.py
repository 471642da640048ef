"""One process that runs cases: `python -m tests.fuzz.worker FD CORPUS FIRST STOP STEP`.

It writes to the descriptor FD: the number of each case before the case, and what is wrong after it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from pathlib import Path

import torch

from tests.fuzz.cases import finding, limited


def work(pipe: int, whole: Path, numbers: range) -> None:
    """Run the cases, and say before each which it is."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch, limited():
        for number in numbers:
            os.write(pipe, f"{number}\n".encode())
            found = finding(number, whole, Path(scratch))
            if found is not None:
                os.write(pipe, f"{ascii(found)[1:-1]}\n".encode())


if __name__ == "__main__":
    descriptor, folder, *bounds = sys.argv[1:]
    work(int(descriptor), Path(folder), range(*map(int, bounds)))
