"""The rule for who may import whom in `export/`: one way, from the top down."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ORDER = (
    "pipeline",
    "artifact_files",
    "source",
    "foreign",
    "built",
    "proof",
    "reroll",
    "trace",
    "states",
    "streaming",
    "lower",
    "lift",
    "step",
    "passes",
    "call",
    "code_lines",
    "capture",
    "analysis",
    "ir",
)
"""The rooms of `export/`, each of which imports from those after it alone.

`pipeline` are the modules at the top of the folder, but for `built`.
"""

WITHOUT_TORCH = ("lift", "step", "passes", "analysis", "ir")


def modules() -> dict[str, Path]:
    """Return the modules of edgernn as they are imported, the links to both halves resolved."""
    found = {}
    for folder, package in (("edgernn", "edgernn"), ("export", "edgernn.export")):
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            if folder == "export" or parts[0] not in ("export", "runtime"):
                name = ".".join((package, *parts)).removesuffix(".__init__")
                found[name] = path.resolve()
    return found


MODULES = modules()


def imports_of(path: Path) -> Iterator[str]:
    """Yield what a file imports, inside functions too, by full names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            for one in node.names:
                full = f"{node.module}.{one.name}"
                yield full if full in MODULES else str(node.module)


EXPORT = {name: path for name, path in MODULES.items() if name.startswith("edgernn.export.")}


def room_of(module: str) -> str:
    name = module.split(".")[2]
    return name if name in ORDER else "pipeline"


@pytest.mark.parametrize("room", ORDER)
def test_imports_point_down_only(room):
    """No room imports from one that stands above it."""
    above = ORDER[: ORDER.index(room)]
    upward = [
        f"{module} imports {name}"
        for module, path in EXPORT.items()
        if room_of(module) == room
        for name in imports_of(path)
        if name in EXPORT and room_of(name) in above
    ]
    assert upward == []


def test_every_room_has_its_place():
    """Each folder of `export/` stands in the order, and nothing else does."""
    folders = {path.parent.name for path in (ROOT / "export").glob("*/__init__.py")}
    assert folders == set(ORDER) - {"pipeline", "built"}


def test_no_module_imports_itself_in_a_circle():
    """Inside the rooms there are no circles either."""
    graph = {
        module: {name for name in imports_of(path) if name in EXPORT and name != module}
        for module, path in EXPORT.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@pytest.mark.parametrize("room", WITHOUT_TORCH)
def test_rooms_that_need_no_torch(room):
    """What works on ONNX IR alone imports no torch."""
    with_torch = [
        module
        for module, path in EXPORT.items()
        if room_of(module) == room
        for name in imports_of(path)
        if name.partition(".")[0] == "torch"
    ]
    assert with_torch == []
