"""The maps of the code: all that they name exists, and all that exists is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("edgernn", "export", "runtime")


def rows() -> dict[str, set[str]]:
    """Return the map in CONTRIBUTING.md: a file or folder from the root → names in its text."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## Map of the code")[2]
    found: dict[str, set[str]] = {}
    top = ""
    for first, second in re.findall(r"^\| (.*`.*?) \| (.*) \|$", text, re.M):
        if first.startswith("**"):
            top = first.strip("*`")
            found[top] = set()
            continue
        for name in re.findall(r"`(.+?)`", first):
            found[top + name] = set(re.findall(r"`(\w+)`", second))
    return found


def modules(folder: str) -> set[str]:
    """Return the names of the modules in a folder."""
    return {file.stem for file in (ROOT / folder).glob("*.py")} - {"__init__"}


def test_what_the_map_names_exists() -> None:
    """Every file and folder in the map is there, and every module that stands beside one."""
    for path, names in rows().items():
        assert (ROOT / path).exists(), path
        if path.endswith("/") and path.startswith(PACKAGES):
            assert names - modules(path) == set(), path


@pytest.mark.parametrize("package", PACKAGES)
def test_what_exists_is_in_the_map(package: str) -> None:
    """Every module of the package stands in the map: as a file, or in the row of its folder."""
    named = rows()
    missing = {}
    for folder in [package, *(f"{package}/{path.parent.name}" for path in inner(package))]:
        beside = {Path(path).stem for path in named if Path(path).parent == Path(folder)}
        missing[folder] = modules(folder) - named.get(f"{folder}/", set()) - beside
    assert {folder: names for folder, names in missing.items() if names} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_folders_are_in_the_readme(package: str) -> None:
    """The map in README.md leads to every folder of the package."""
    text = (ROOT / "README.md").read_text("utf-8").partition("## The code")[2]
    assert f"]({package})" in text
    missing = [
        path.parent.name for path in inner(package) if f"({package}/{path.parent.name})" not in text
    ]
    assert missing == []


def test_every_script_is_in_the_table() -> None:
    """CONTRIBUTING.md says of every script what it does, and of none that is not there."""
    said = set(re.findall(r"^\| `scripts/(\w+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.M))
    assert said == {file.name for file in (ROOT / "scripts").iterdir()}


def test_every_path_in_the_guide_exists() -> None:
    """CONTRIBUTING.md names files that are there, but for those in `build/` and of a NAME."""
    paths = re.findall(r"`([\w.]+/[\w./]*)`", (ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    named = {path for path in paths if not path.startswith("build/") and "NAME" not in path}
    assert {path for path in named if not found(path)} == set()


def found(path: str) -> bool:
    """Say whether a file or folder exists, in the root, in a package or in the tests."""
    return any((ROOT / folder / path).exists() for folder in ("", "tests", *PACKAGES))


def inner(package: str) -> list[Path]:
    """Return the `__init__.py` of each folder in a package; links are not followed."""
    return [
        path
        for path in sorted((ROOT / package).glob("*/__init__.py"))
        if not path.parent.is_symlink()
    ]
