"""Options of the whole test run, and what its processes share."""

from __future__ import annotations

import gc
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from filelock import FileLock

hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

Once = Callable[[str, Callable[[Path], None]], Path]
"""From a name, and what fills a folder, to that folder: filled once in a test run."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the test run."""
    parser.addoption(
        "--full", action="store_true", help="Run the whole product of the parity suite (slow)."
    )


def pytest_collection_finish() -> None:
    """Let garbage collections pass over the modules that are imported by now."""
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Give torch's log of its own traces no handlers, before fixtures are made."""
    _close_trace_log()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """Give torch's log of its own traces no handlers, before the test runs."""
    _close_trace_log()


def _close_trace_log() -> None:
    """Remove pytest's handlers: for them torch would write down every step of a trace."""
    logging.getLogger("torch.__trace").handlers.clear()


@pytest.fixture(scope="module", autouse=True)
def forms_on_request(request: pytest.FixtureRequest) -> Iterator[None]:
    """Write forms in modules that are marked `forms` alone: to prove them doubles small exports."""
    if request.node.get_closest_marker("forms"):
        yield
        return
    from edgernn.export import prove_forms

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prove_forms, "make_forms", lambda *_: [])
        yield


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """What takes long and only serves as input: made by the first process that asks for it."""
    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    shared.mkdir(exist_ok=True)

    def folder_of(name: str, fill: Callable[[Path], None]) -> Path:
        folder = shared / name
        with FileLock(shared / f"{name}.lock"):
            if not folder.exists():
                unfinished = shared / f"{name}.unfinished"
                shutil.rmtree(unfinished, ignore_errors=True)  # of a process that failed
                unfinished.mkdir()
                fill(unfinished)
                unfinished.rename(folder)
        return folder

    return folder_of
