"""The public names of edgernn."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import edgernn
from edgernn import errors

PUBLIC = [
    *("export_model", "verify_artifact", "load", "generate"),
    *("Artifact", "Contract", "Port", "State", "ParityReport", "Vocabulary"),
    *("Model", "Result", "Stream", "StreamPool", "PoolStream"),
    *("ContractError", "EdgernnError", "InputError", "MissingExtraError", "OutputExistsError"),
    *("ParityError", "ProviderError", "SourceError", "StateError", "UnsupportedModelError"),
]


def imported_for_type_checkers() -> list[str]:
    """Return the names that type checkers and editors see."""
    tree = ast.parse(Path(edgernn.__file__).read_text("utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    return [
        one.name for node in block.body if isinstance(node, ast.ImportFrom) for one in node.names
    ]


def test_all_names_are_public() -> None:
    """`__all__`, `dir` and what type checkers see are the public names."""
    assert edgernn.__all__ == PUBLIC
    assert dir(edgernn) == sorted([*PUBLIC, "__version__"])
    assert sorted(imported_for_type_checkers()) == sorted(PUBLIC)
    assert set(errors.__all__) <= set(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_name_is_found(name: str) -> None:
    """A public name is the object of that name."""
    assert getattr(edgernn, name).__name__ == name


def test_other_names_are_refused() -> None:
    """What is not public is no attribute."""
    with pytest.raises(AttributeError) as caught:
        edgernn.__getattr__("import_model")
    assert str(caught.value) == "module 'edgernn' has no attribute 'import_model'"


def test_names_are_loaded_when_they_are_used() -> None:
    """Importing edgernn loads none of the packages behind its names."""
    script = "import sys, edgernn; print({'numpy', 'torch', 'onnxruntime'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
