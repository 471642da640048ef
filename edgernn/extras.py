"""The optional packages that edgernn imports, the extra that installs each, and how to get it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

__all__ = ["EXTRAS", "install_command"]

EXTRAS: Mapping[str, str] = {
    "onnxruntime": "cpu",
    "matplotlib": "plot",
    "soundfile": "audio",
    "torch": "export",
    "onnx": "export",
    "onnx_ir": "export",
    "onnxscript": "export",
    "safetensors": "export",
    "sympy": "export",
    "filelock": "export",
    "google": "export",  # protobuf
}
"""Name of a package as it is imported → the extra of edgernn that installs it."""


def install_command(extra: str, *others: str) -> str:
    """Return the command that installs edgernn with an extra from where it came from.

    That is a folder, as a clone of the repository, an address, or a package index.

    Args:
        extra: The name of the extra, such as `cpu`.
        others: Packages that it needs besides.
    """
    return " ".join(["pip install", _requirement(extra), *others])


def _requirement(extra: str) -> str:
    """Return what pip is to install: the clone that this is, or what pip recorded of its origin."""
    clone = Path(__file__).parents[1]
    if (clone / "pyproject.toml").is_file():
        return f'-e "{clone}[{extra}]"'
    recorded = distribution("edgernn").read_text("direct_url.json")
    if recorded is None:  # it came from a package index
        return f'"edgernn[{extra}]"'
    origin = json.loads(recorded)
    if "dir_info" in origin:
        return f'"{url2pathname(urlsplit(origin["url"]).path)}[{extra}]"'
    system = f"{origin['vcs_info']['vcs']}+" if "vcs_info" in origin else ""
    return f'"edgernn[{extra}] @ {system}{origin["url"]}"'
