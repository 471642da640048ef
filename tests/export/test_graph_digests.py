"""The graphs of many exports, byte for byte as they were recorded.

`python -m tests.export.test_graph_digests` records them anew, after a change that is meant to
change graphs.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import edgernn
from edgernn.export.pipeline import export_model
from edgernn.export.proof.eager_reference import one_thread
from tests.export.graph_cases import CASES

TABLE = Path(__file__).with_name("graph_digests.json")
ANEW = "python -m tests.export.test_graph_digests"
WRITERS = ("torch", "onnxscript", "onnx", "onnx-ir")
"""What has a part in the bytes of a graph besides this repository."""


def versions() -> dict[str, str]:
    """Return the versions of what writes graphs."""
    return {name: importlib.metadata.version(name).partition("+")[0] for name in WRITERS}


def digest(file: Path) -> str:
    """Return the SHA-256 of a graph's file, less the version of edgernn, which no host reads."""
    version = edgernn.__version__.encode()
    name = b"\x12\x07edgernn"
    before, found, after = file.read_bytes().partition(
        name + b"\x1a" + bytes([len(version)]) + version
    )
    assert found, f"{file} does not say which edgernn wrote it"
    return hashlib.sha256(before + name + after).hexdigest()


def digests(name: str) -> dict[str, str | None]:
    """Return the digest of each graph that a case exports, None for one that it has not."""
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        warnings.catch_warnings(),
        one_thread(),
    ):
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        model, options = CASES[name]()
        artifact = export_model(model, "model.edgernn", verify=False, **options)
        return {
            kind: digest(artifact.path / f"{kind}.onnx")
            if kind in artifact.contract.graphs
            else None
            for kind in ("sequence", "step")
        }


def recorded() -> dict[str, Any]:
    """Return the table: the versions that it was made with, and the digests of every case."""
    table: dict[str, Any] = json.loads(TABLE.read_text("utf-8"))
    return table


def record() -> None:
    """Write the table."""
    table = {"versions": versions(), "graphs": {name: digests(name) for name in CASES}}
    TABLE.write_text(json.dumps(table, indent=2) + "\n", "utf-8")


def other_versions(made_with: Mapping[str, str]) -> str:
    """Return which versions are others than those that the table was made with."""
    found = versions()
    return ", ".join(
        f"{name} {found[name]} is installed, the table was made with {version}"
        for name, version in made_with.items()
        if found[name] != version
    )


def test_every_case_is_recorded() -> None:
    """The table has the cases that there are, and no others."""
    assert list(recorded()["graphs"]) == list(CASES), f"Record them anew: {ANEW}"


def test_what_ran_before_leaves_no_mark() -> None:
    """The second export of a model in a process gives the bytes of the first."""
    name = "loops: two states"
    assert digests(name) == digests(name)


@pytest.mark.parametrize("name", CASES)
def test_graphs_are_those_that_were_recorded(name: str) -> None:
    """A change of the code that is not meant to change graphs changes no byte of them."""
    table = recorded()
    if other := other_versions(table["versions"]):
        pytest.skip(f"graphs are partly the work of other packages: {other}")
    before, now = table["graphs"].get(name), digests(name)
    if before != now:
        changed = [kind for kind in now if before is None or before[kind] != now[kind]]
        pytest.fail(
            f"`{name}` gives another {' and '.join(changed)} graph than was recorded in "
            f"{TABLE.name}. If the change is meant, record the graphs anew: {ANEW}",
            pytrace=False,
        )


if __name__ == "__main__":
    record()
