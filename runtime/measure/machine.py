"""The machine that something was measured on, and the versions that ran there."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["machine_name", "versions"]

_PACKAGES = ("edgernn", "onnxruntime", "onnxruntime-gpu", "torch", "numpy")


def machine_name() -> str:
    """Return the name of the processor and the number of its cores, as `Intel Core i5, 4 cores`."""
    name = _processor() or platform.processor() or platform.machine()
    count = os.cpu_count() or 1
    return f"{' '.join(name.split())}, {count} core{'s' if count > 1 else ''}"


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that are installed here."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    """Return the name that Linux gives the processor; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return ""
    names = (line.partition(":")[2] for line in lines if line.startswith(("model name", "Model")))
    return next((name.strip() for name in names if name.strip()), "")
