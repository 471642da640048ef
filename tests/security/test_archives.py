"""No archive runs code, or touches a file, while it is opened or run."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import pytest
import torch

from edgernn.errors import SourceError
from edgernn.export.source.load_source import load_source
from tests.archive_entries import written
from tests.security.hostile import EXPORTED, IGNORED, RUN_BY_TORCH, SCRIPTED, exported, scripted

Honest = dict[str, dict[str, bytes]]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    """An honest archive of each kind, by its entries."""
    folder = tmp_path_factory.mktemp("honest")
    return {"exported": exported(folder / "m.pt2"), "scripted": scripted(folder / "m.pt")}


@pytest.mark.parametrize("what", EXPORTED)
def test_a_torch_export_archive_runs_no_code(what: str, tmp_path: Path, honest: Honest) -> None:
    """What would run is named with the option that lets it, and nothing runs."""
    put, named = EXPORTED[what]
    entries = dict(honest["exported"])
    put(entries, tmp_path / "canary")
    path = written(tmp_path / "m.pt2", entries)
    with pytest.raises(SourceError) as info:
        load_source(path)
    assert named in str(info.value)
    assert "trust=True" in str(info.value)
    assert not (tmp_path / "canary").exists()


def test_the_refusal_of_a_torch_export_archive(tmp_path: Path, honest: Honest) -> None:
    """The message says what is in the archive, and what can be done."""
    entries = {**honest["exported"], "data/aotinductor/model/code.so": b"\x7fELF"}
    path = written(tmp_path / "m.pt2", entries)
    with pytest.raises(SourceError) as info:
        load_source(path)
    assert str(info.value) == (
        f"`{path}` is a torch.export archive with compiled code, `data/aotinductor/model/code.so`. "
        "Opening it would run what its maker wrote, so it is not done unasked. If you trust its "
        "origin, repeat with trust=True; or export the model's code anew with torch.export.save."
    )


@pytest.mark.parametrize("what", IGNORED)
def test_sample_inputs_and_guards_are_not_read(what: str, tmp_path: Path, honest: Honest) -> None:
    """An archive loads without what the model does not need."""
    entries = dict(honest["exported"])
    IGNORED[what](entries, tmp_path / "canary")
    source = load_source(written(tmp_path / "m.pt2", entries))
    assert source.description.startswith("torch.export archive m.pt2")
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("what", SCRIPTED)
def test_a_torchscript_archive_runs_no_code(what: str, tmp_path: Path, honest: Honest) -> None:
    """What would run while it is loaded, or acts when forward runs, is named; nothing runs."""
    put, named = SCRIPTED[what]
    entries = dict(honest["scripted"])
    put(entries, tmp_path / "canary")
    path = written(tmp_path / "m.pt", entries)
    with pytest.raises(SourceError) as info:
        load_source(path)
    assert named in str(info.value)
    assert "trust=True" in str(info.value)
    assert not (tmp_path / "canary").exists()


def test_the_refusal_of_a_torchscript_archive(tmp_path: Path, honest: Honest) -> None:
    """The message names the operator, the file, the line and what can be done."""
    entries = dict(honest["scripted"])
    SCRIPTED["forward"][0](entries, Path("canary"))
    path = written(tmp_path / "m.pt", entries)
    with pytest.raises(SourceError) as info:
        load_source(path)
    assert str(info.value) == (
        f"`{path}` is a TorchScript archive whose code calls `from_file` in "
        "`code/__torch__/tests/security/hostile.py`, line 13: "
        '`return torch.add(y, torch.from_file("canary", True, 3))`. Loading or running it could '
        "touch files or the process, so it is not done unasked. If you trust its origin, repeat "
        "with trust=True; or export the model from its code."
    )


@pytest.mark.parametrize("what", sorted(RUN_BY_TORCH))
@pytest.mark.filterwarnings("ignore")
def test_torch_itself_runs_it(
    what: str, tmp_path: Path, honest: Honest, caplog: pytest.LogCaptureFixture
) -> None:
    """The archives above do act, where torch opens them as they are."""
    kind = "scripted" if what in SCRIPTED else "exported"
    puts = {**IGNORED, **{name: put for name, (put, _) in {**EXPORTED, **SCRIPTED}.items()}}
    entries = dict(honest[kind])
    puts[what](entries, tmp_path / "canary")
    path = written(tmp_path / "m.pt2", entries)
    caplog.set_level(logging.CRITICAL)
    with contextlib.suppress(Exception):
        if kind == "scripted":
            torch.jit.load(path)(torch.zeros(2, 5, 4))
        else:
            torch.export.load(path).module()(torch.zeros(2, 5, 4))
    assert (tmp_path / "canary").exists()
