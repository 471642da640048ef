"""A project that runs an artifact in another language: templates of `hosts/`, filled."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgernn.artifact import CONTRACT_FILE, Artifact
from edgernn.errors import InputError, MissingExtraError, OutputExistsError
from edgernn.extras import install_command
from edgernn.hosts import Host
from edgernn.option_names import option
from edgernn.runtime.golden_arrays import read_golden
from edgernn.runtime.providers import find_library

__all__ = ["MODEL", "embed_artifact"]

MODEL = "model.edgernn"
"""The name of the artifact's folder in every project."""

_TEMPLATES = Path(__file__).parent / "hosts"
_CORE = ("edgernn.h", "edgernn.c")
_BUILT = ("build", "lib", "target", "node_modules", "obj", "__pycache__")
_TOLERANCE = re.compile(rb"\b\d+(?:\.\d+)?(?:e-?\d+)?(?=.*edgernn embed: tolerance)")


def embed_artifact(artifact: Artifact, host: Host, folder: Path, *, reduced: bool = False) -> bool:
    """Write a project that runs an artifact: sources, the artifact, and ONNX Runtime's library.

    The folder appears when it is complete.

    Args:
        artifact: The artifact, which is copied.
        host: What the project is for.
        folder: Where to write it; there is nothing yet, or an empty folder.
        reduced: Whether to write graphs in ONNX Runtime's own format instead, with the list of the
            operators that a reduced build of it needs.

    Returns:
        Whether the project has all that it needs to run: False where ONNX Runtime's library is not
        installed here, so that none was copied.

    Raises:
        OutputExistsError: There is something in the folder.
        InputError: Nothing can be written there, or a reduced build does not serve the host.
        ContractError: A file of the artifact is missing or is not what its contract says.
        MissingExtraError: A package that `reduced` takes is not installed.
    """
    if reduced and not host.is_native:
        raise InputError(
            f"`{host.name}` takes no reduced graphs: its ONNX Runtime comes from npm as it is."
        )
    if folder.absolute().is_relative_to(artifact.path.absolute()):
        raise InputError(
            f"`{folder}` is inside the artifact to copy. Give another folder with {option('path')}."
        )
    with _new_folder(folder) as project:
        _copy_template(host, project)
        _copy_artifact(artifact, project / MODEL)
        _fill_tolerance(project, artifact.tolerance)
        complete = not host.is_native or _copy_library(project / "lib")
        if reduced:
            _reduce(project)
    return complete


@contextlib.contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `folder` when the block ends without an error."""
    folder = folder.absolute()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    elif os.path.lexists(folder):
        raise OutputExistsError(
            f"`{folder}` exists already. Give another folder with {option('path')}."
        )
    if folder.parent.exists() and not folder.parent.is_dir():
        raise InputError(f"`{folder}` cannot be written: `{folder.parent}` is not a folder.")
    place = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        place = tempfile.mkdtemp(prefix=f".{folder.name}-", suffix=".partial", dir=folder.parent)
        partial = Path(place)
        partial.chmod(0o755)  # mkdtemp's folder is for its owner alone
        yield partial
        partial.rename(folder)
    except OSError as error:
        raise InputError(f"`{folder}` cannot be written: {error.strerror or error}.") from error
    finally:
        if place:
            shutil.rmtree(place, ignore_errors=True)


def _copy_template(host: Host, project: Path) -> None:
    shutil.copytree(
        _TEMPLATES / (host.template or host.name), project, ignore=_built, dirs_exist_ok=True
    )
    for name in _CORE if host.core is not None else ():
        place = project / str(host.core) / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(_TEMPLATES / "c" / name, place)
    for source, target in host.more.items():
        if (_TEMPLATES / source).is_dir():
            shutil.copytree(
                _TEMPLATES / source, project / target, ignore=_built, dirs_exist_ok=True
            )
        else:
            shutil.copy(_TEMPLATES / source, project / target)


def _copy_artifact(artifact: Artifact, target: Path) -> None:
    """Copy what the contract names, each file checked: nothing else that a folder may hold."""
    for kind in artifact.contract.graphs:
        artifact.checked(kind)
    for form in artifact.forms:
        artifact.checked_form(form)
    for name in (CONTRACT_FILE, *artifact.digests):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(artifact.path / name, target / name)
    ports = {
        port.name
        for graph in artifact.contract.graphs.values()
        for port in (*graph.inputs, *graph.outputs)
    }
    (target / "golden").mkdir()
    for port in sorted(ports):
        file = artifact.golden / f"{port}.npy"
        if os.path.lexists(file):
            np.save(target / "golden" / file.name, read_golden(file))


def _built(folder: str, names: list[str]) -> list[str]:
    """Return the folders that builds leave among the sources."""
    return [name for name in names if name in _BUILT and Path(folder, name).is_dir()]


def _fill_tolerance(project: Path, tolerance: float) -> None:
    """Write the tolerance of the artifact into the one line of the program that has it."""
    for file in project.rglob("*"):
        if not file.is_file() or (project / MODEL) in file.parents:
            continue
        text = file.read_bytes()
        filled = _TOLERANCE.sub(f"{tolerance:.0e}".encode(), text)
        if filled != text:
            file.write_bytes(filled)


def _copy_library(folder: Path) -> bool:
    """Copy ONNX Runtime's shared library with its licence; return whether there is one."""
    library = find_library()
    if library is None:
        return False
    folder.mkdir()
    kind = next(kind for kind in (".so", ".dylib", ".dll") if kind in library.name)
    shutil.copy(library, folder / f"{'' if kind == '.dll' else 'lib'}onnxruntime{kind}")
    for name in ("LICENSE", "ThirdPartyNotices.txt"):
        if (library.parents[1] / name).is_file():
            shutil.copy(library.parents[1] / name, folder / name)
    return True


def _reduce(project: Path) -> None:
    """Replace the graphs by ones in ONNX Runtime's format, and list their operators."""
    model = project / MODEL
    tool = "onnxruntime.tools.convert_onnx_models_to_ort"
    options = ("--enable_type_reduction", "--optimization_style", "Fixed")
    shutil.rmtree(model / "forms", ignore_errors=True)
    ran = subprocess.run(
        [sys.executable, "-m", tool, str(model), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    if "No module named" in ran.stderr:
        raise MissingExtraError(
            "Reduced graphs are made with onnx and onnxruntime, which are not both installed here. "
            f"Install them: {install_command('export')}"
        )
    if ran.returncode:
        raise InputError(f"The graphs cannot be reduced: {ran.stderr.strip().splitlines()[-1]}")
    for graph in model.glob("*.onnx"):
        graph.unlink()
    operators = model / "required_operators_and_types.config"
    text = operators.read_text("utf-8").replace(str(model), MODEL)
    operators.unlink()
    (project / operators.name).write_text(text, "utf-8")
