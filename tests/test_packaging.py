"""What is packed: the list of packages, the sdist, and a wheel at work outside the checkout."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import pytest

from edgernn.extras import EXTRAS
from edgernn.hosts import HOSTS
from tests.nets.host_lstm import write_lstm

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
FOLDERS = SETTINGS["tool"]["setuptools"]["package-dir"]
BIN = "Scripts" if os.name == "nt" else "bin"


def packages() -> dict[str, Path]:
    """Return every package of the tree, found by its `__init__.py`: name → folder."""
    found = {}
    for package, folder in FOLDERS.items():
        for path, folders, files in os.walk(ROOT / folder):  # does not follow the links
            folders[:] = [name for name in folders if name != "__pycache__"]
            if "__init__.py" in files:
                inner = Path(path).relative_to(ROOT / folder).parts
                found[".".join([package, *inner])] = Path(path)
    return found


def modules() -> set[str]:
    """Return the path in a wheel of every module of the tree."""
    return {
        f"{package.replace('.', '/')}/{file.name}"
        for package, folder in packages().items()
        for file in folder.glob("*.py")
    }


def run(*command: str | Path, cwd: Path, status: int = 0) -> tuple[str, str]:
    """Run a command without the checkout on its path; return its output and its errors."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist of a clean copy of the checkout, and the wheel built from that sdist."""
    folder = tmp_path_factory.mktemp("dist")
    copy = folder / "checkout"
    left_out = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, copy, symlinks=True, ignore=left_out)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, copy, cwd=folder)
    shutil.rmtree(copy)
    return folder


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a new environment that holds the wheel with the extra `cpu` alone."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False)
    (wheel,) = dist.glob("*.whl")
    run(
        *(sys.executable, "-m", "pip", "--python", folder / BIN / "python", "install", "--quiet"),
        *("--constraint", ROOT / "constraints.txt", f"{wheel}[cpu]"),
        cwd=folder,
    )
    return folder / BIN


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lstm(tmp_path_factory.mktemp("artifact") / "lstm.edgernn").path


def test_every_package_is_listed() -> None:
    """A package missing from the list passes every editable test and vanishes from the wheel."""
    assert sorted(SETTINGS["tool"]["setuptools"]["packages"]) == sorted(packages())


def imported_packages(folder: str) -> set[str]:
    """Return the packages of others that the modules in a folder import, by their first name."""
    names = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {one.name for one in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(str(node.module))
    firsts = {name.partition(".")[0] for name in names}
    return firsts - sys.stdlib_module_names - {"edgernn"}


def declared(*extras: str) -> set[str]:
    """Return the distributions that edgernn depends on, by itself and with extras."""
    project = SETTINGS["project"]
    lists = [project["dependencies"], *(project["optional-dependencies"][one] for one in extras)]
    return {re.split(r"[^\w-]", line)[0] for lines in lists for line in lines}


@pytest.mark.parametrize(
    ("folder", "extras"),
    [("edgernn", ("audio", "plot")), ("runtime", ("cpu",)), ("export", ("export",))],
)
def test_imported_packages_are_declared(folder: str, extras: tuple[str, ...]) -> None:
    """Each half imports what the core or its own extra installs, never what came along."""
    distributions = packages_distributions()
    imported = {distributions[name][0] for name in imported_packages(folder)}
    assert imported - declared(*extras) == set()


def test_optional_packages_have_their_extra() -> None:
    """Where an import of one fails, the message knows the extra that installs it."""
    distributions = packages_distributions()
    imported = set().union(*map(imported_packages, ("edgernn", "runtime", "export")))
    assert {name for name in imported if distributions[name][0] not in declared()} == {*EXTRAS}
    for name, extra in EXTRAS.items():
        assert distributions[name][0] in declared(extra)


def test_declared_packages_are_pinned() -> None:
    """`constraints.txt` holds the version of every dependency that the tests ran with."""
    pins = re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text("utf-8"), re.M)
    assert declared("audio", "cpu", "export", "plot") - {*pins} == set()


def test_both_folders_are_in_the_sdist(dist: Path) -> None:
    """The sdist holds each module once, in the folder where the checkout has it."""
    (file,) = dist.glob("*.tar.gz")
    with tarfile.open(file) as sdist:
        names = [member.name.partition("/")[2] for member in sdist if member.isfile()]
    expected = [
        str(module.relative_to(ROOT))
        for folder in packages().values()
        for module in folder.glob("*.py")
    ]
    assert set(expected) <= set(names)
    assert [name for name in names if name.startswith(("edgernn/export", "edgernn/runtime"))] == []


def test_wheel_holds_the_package_alone(dist: Path) -> None:
    """The wheel holds every module, the type marker and the licence, and no tests or examples."""
    (file,) = dist.glob("*.whl")
    with zipfile.ZipFile(file) as wheel:
        names = wheel.namelist()
    ours = {name for name in names if ".dist-info/" not in name}
    data = {name for name in ours if not name.endswith(".py")}
    assert ours - data == modules()
    assert "edgernn/py.typed" in data
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_no_torch_comes_with_the_runtime(installed: Path, tmp_path: Path) -> None:
    """The extra `cpu` brings what runs a model and nothing that exports one."""
    script = """
from importlib.util import find_spec
names = ["edgernn", "onnxruntime", "torch", "onnx", "onnxscript"]
print([name for name in names if find_spec(name)])
"""
    output, _ = run(installed / "python", "-c", script, cwd=tmp_path)
    assert output == "['edgernn', 'onnxruntime']\n"


def test_export_without_its_extra_names_the_remedy(installed: Path, tmp_path: Path) -> None:
    """Where the extra `export` is missing, the command says in one sentence how to get it."""
    (tmp_path / "model.pt").write_bytes(b"\x80\x02}.")
    output, errors = run(installed / "edgernn", "export", "model.pt", cwd=tmp_path, status=1)
    assert output == ""
    message = r'Error: Exporting needs `\w+`: pip install "edgernn\[export\] @ file://.+\.whl"'
    first, last = errors.splitlines()
    assert first == "Exporting model.pt …"
    assert re.fullmatch(message, last)


def test_command_line_runs(installed: Path, artifact: Path, tmp_path: Path) -> None:
    """The installed command shows its help, inspects an artifact and replays its golden run."""
    edgernn, x = installed / "edgernn", artifact / "golden" / "x.npy"
    assert run(edgernn, "--help", cwd=tmp_path)[0].startswith("Usage: edgernn ")
    assert "h_in" in run(edgernn, "inspect", artifact, cwd=tmp_path)[0]
    assert "difference" in run(edgernn, "run", artifact, cwd=tmp_path)[0]
    run(edgernn, "run", artifact, "--input", x, "--output", "y.npz", cwd=tmp_path)
    assert np.load(tmp_path / "y.npz")["output"].shape == (2, 7, 4)


def test_projects_are_written(installed: Path, artifact: Path, tmp_path: Path) -> None:
    """The templates of all hosts are in the wheel: `edgernn embed` copies them."""
    for host in HOSTS.values():
        folder = tmp_path / host.name
        run(
            installed / "edgernn",
            "embed",
            artifact,
            "--host",
            host.name,
            "-o",
            folder,
            cwd=tmp_path,
        )
        template = ROOT / "runtime" / "hosts" / (host.template or host.name)
        for file in template.rglob("*"):
            if not {"build", "target", "node_modules", "lib", "obj"} & {*file.parts}:
                assert (folder / file.relative_to(template)).exists(), file


def test_library_runs(installed: Path, artifact: Path, tmp_path: Path) -> None:
    """The installed library steps through the golden run from its initial state."""
    script = """
import sys
from pathlib import Path
import edgernn, numpy as np
golden = {file.stem: np.load(file) for file in Path(sys.argv[1], "golden").glob("*.npy")}
stream = edgernn.load(sys.argv[1]).stream(batch=2)
stream.restore({"h": golden["h_in"], "c": golden["c_in"]})
for t in range(7):
    step = stream.step(golden["x"][:, t])
    np.testing.assert_allclose(step["output"], golden["output"][:, t], atol=1e-6)
for name, value in stream.snapshot().items():
    np.testing.assert_allclose(value, golden[f"{name}_out"], atol=1e-6)
print("torch" in sys.modules, edgernn.__file__.startswith(sys.prefix))
"""
    output, _ = run(installed / "python", "-c", script, artifact, cwd=tmp_path)
    assert output == "False True\n"
