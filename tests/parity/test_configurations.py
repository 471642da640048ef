"""The rule for what torch's own test suites try: a sample of it passes, all in one process."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "configurations.py"
SAMPLE = 12


def load() -> Any:
    """Return the benchmark as a module."""
    spec = importlib.util.spec_from_file_location("configurations", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks there
    spec.loader.exec_module(module)
    return module


BENCHMARK = load()


@pytest.fixture
def _log() -> Iterator[None]:
    """Undo that the benchmark keeps logs quiet."""
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "configuration", BENCHMARK.sample(BENCHMARK.configurations(), SAMPLE), ids=str
)
def test_a_configuration_comes_out_right(configuration: Any) -> None:
    """Edgernn exports it, and ONNX Runtime gives what eager torch gives at every size."""
    assert BENCHMARK.failure(configuration, BENCHMARK.with_edgernn) == ""


def test_wrong_numbers_are_a_failure() -> None:
    """The benchmark finds results that are off, of another shape or missing."""
    (configuration,) = BENCHMARK.sample(BENCHMARK.configurations(), 1)

    def off(net: Any, given: Any) -> Any:
        return lambda arguments: [one.numpy() + 1e-3 for one in net(**arguments)]

    def cut(net: Any, given: Any) -> Any:
        return lambda arguments: [one.numpy()[:0] for one in net(**arguments)]

    assert BENCHMARK.failure(configuration, off).startswith("wrong numbers at batch 3, sequence 5")
    assert BENCHMARK.failure(configuration, cut) == "wrong shape at batch 3, sequence 5"


@pytest.mark.usefixtures("_log")
@pytest.mark.filterwarnings("ignore")
def test_the_benchmark_says_by_its_exit_code_whether_all_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is 1 where edgernn misses one, which is printed on request."""

    def fails(net: Any, given: Any) -> Any:
        raise ValueError("no way")

    run = CliRunner().invoke
    assert run(BENCHMARK.main, ["--limit", "1"]).exit_code == 0
    monkeypatch.setitem(BENCHMARK.WAYS, "edgernn", fails)
    failed = run(BENCHMARK.main, ["--limit", "1", "--failures"])
    assert failed.exit_code == 1
    assert "export: ValueError: no way" in failed.stderr
