"""The rule for who may import whom in `export/`: one way, from the top down.

`python -m tests.test_imports` writes the rule into the `ruff.toml` of each room.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from tomllib import loads

import pytest

ROOT = Path(__file__).parent.parent

REASONS = {
    "pipeline": "The pipeline calls every room; no room calls it.",
    "artifact_files": "Files are written after all else is done.",
    "source": "Only the pipeline opens models.",
    "foreign": "No other room knows of ONNX files that others made.",
    "built": "It is the result of the rooms below it.",
    "calibration": "Data of the user's run on graphs after all else.",
    "proof": "A graph does not depend on how it is proven.",
    "quantize": "Weights are quantized in finished graphs.",
    "forms": "The graphs of forms are made from finished ones.",
    "reroll": "Loops are replaced before a model is traced.",
    "trace": "The trace calls the rooms below it.",
    "chunk_form": "Writing graphs for chunks uses the rooms below it.",
    "chunk_graph": "A graph of one chunk does not know what operators do to time.",
    "states": "Finding states uses the rooms below it.",
    "streaming": "Finding memory uses the rooms below it.",
    "lower": "Lowering uses the rooms below it.",
    "lift": "Lifting a step to a sequence uses the rooms below it.",
    "step": "Making the step graph uses the rooms below it.",
    "passes": "Passes run on finished graphs.",
    "call": "The example call uses the rooms below it.",
    "code_lines": "Reading the model's code uses the rooms below it.",
    "capture": "Capturing torch's calls uses the rooms below it.",
    "analysis": "Only finished graphs are analysed.",
    "ir": "",
}
"""The rooms of `export/`, from the top down, and why no room after one imports it.

`pipeline` are the modules at the top of the folder, but for `built`.
"""

ORDER = tuple(REASONS)

WITHOUT_TORCH = (
    "artifact_files",
    "quantize",
    "forms",
    "chunk_form",
    "chunk_graph",
    "states",
    "lower",
    "lift",
    "step",
    "passes",
    "analysis",
    "ir",
)

ANEW = "python -m tests.test_imports"


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


FOLDERS = tuple(room for room in ORDER if room not in ("pipeline", "built"))
"""The rooms that are folders; the others are modules at the top."""


def room_of(module: str) -> str:
    name = module.split(".")[2]
    return name if name in ORDER else "pipeline"


def banned(room: str) -> dict[str, str]:
    """Return what the linter refuses in a room: a full name → the reason.

    Of the modules at the top it names `pipeline` and `built`; the test below holds them all.
    """
    settings = loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["ruff"]["lint"]
    root = settings["flake8-tidy-imports"]["banned-api"]  # a room's table replaces that of the root
    above = ORDER[: ORDER.index(room)]
    names = {f"edgernn.export.{place}": REASONS[place] for place in above}
    halves = {"edgernn.runtime": "The two halves meet in the artifact only."}
    torch = {"torch": "This room works on graphs, without torch."} if room in WITHOUT_TORCH else {}
    return {name: entry["msg"] for name, entry in root.items()} | torch | halves | names


def ruff_settings(room: str) -> str:
    """Return the text of a room's `ruff.toml`."""
    bans = "".join(f'"{name}".msg = "{reason}"\n' for name, reason in banned(room).items())
    heading = "[lint.flake8-tidy-imports.banned-api]\n"
    return f'# Written by `{ANEW}`.\nextend = "../../pyproject.toml"\n\n{heading}{bans}'


@pytest.mark.parametrize("room", FOLDERS)
def test_ruff_bans_what_the_order_forbids(room):
    """The linter refuses in each room what the order forbids there, with the reason."""
    file = ROOT / "export" / room / "ruff.toml"
    written = file.read_text("utf-8") if file.is_file() else ""
    assert written == ruff_settings(room), f"run `{ANEW}`"


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
    assert folders == set(FOLDERS)


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


if __name__ == "__main__":
    for folder in FOLDERS:
        (ROOT / "export" / folder / "ruff.toml").write_text(ruff_settings(folder), "utf-8")
