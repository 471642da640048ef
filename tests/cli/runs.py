"""What the tests of `edgernn run` share: data, and what is said of a result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from click.testing import Result
from numpy.typing import ArrayLike, NDArray

from edgernn import cli

ROOT = str(Path(cli.__file__).parents[2])
X = np.linspace(-1, 1, 2 * 9 * 2, dtype=np.float32).reshape(2, 9, 2)


def load(path: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz file by name."""
    with np.load(path) as archive:
        return dict(archive)


def close(got: ArrayLike, wanted: ArrayLike) -> None:
    """Check that numbers agree to a millionth."""
    np.testing.assert_allclose(np.asarray(got), np.asarray(wanted), atol=1e-6, rtol=0)


def refused(result: Result, message: str, code: int = 1) -> None:
    """Check that a command said one thing on standard error and nothing else."""
    assert result.stderr.splitlines()[-1] == f"Error: {message}"
    assert (result.stdout, result.exit_code) == ("", code)
