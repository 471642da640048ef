"""Every form of graph in every runtime of the matrix: it runs right, or fails as we say it does."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgernn.export.runtimes import findings_of
from tests.matrix.cells import Cell
from tests.matrix.forms import AVOIDED, EMITTED
from tests.matrix.layers import SYMBOLS, Layer
from tests.matrix.worker import REFUSED, RUNTIMES

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-matrix" / "bin" / "python"
WORKER = Path(__file__).with_name("worker.py")
SIZES = ((6, 2), (9, 3), (1, 1))
TOLERANCES = {"int8": 2e-2, "float16": 2e-3}

pytestmark = pytest.mark.skipif(
    not PYTHON.exists(), reason="scripts/matrix has not made the environment .venv-matrix"
)


def sizes_of(form: Layer | Cell) -> tuple[tuple[int, int], ...]:
    """Return the (steps, batch) that `form` can take: all of SIZES, or the one it is fixed to."""
    return (form.frozen,) if isinstance(form, Layer) and form.frozen else SIZES


def feeds_of(model: onnx.ModelProto, steps: int, batch: int) -> dict[str, Any]:
    """Return random inputs for the ports of `model`, (steps, batch) in place of its symbols."""
    generator = np.random.default_rng(steps)
    sizes = {"batch": batch, "sequence": steps}
    feeds = {}
    for port in model.graph.input:
        tensor = port.type.tensor_type
        shape = [sizes.get(axis.dim_param) or axis.dim_value for axis in tensor.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        if port.name == "lengths":
            feeds[port.name] = np.linspace(steps, 1, batch).astype(dtype)
        elif dtype.kind == "i":
            feeds[port.name] = generator.integers(0, SYMBOLS, shape).astype(dtype)
        else:
            feeds[port.name] = generator.standard_normal(shape).astype(dtype)
    return feeds


def outcome_of(
    runtime: str, form: Layer | Cell, model: onnx.ModelProto, tolerance: float, folder: Path
) -> tuple[str, str]:
    """Run `form` in `runtime`; return what became of it and the text that shows it."""
    onnx.save(model, folder / "graph.onnx")
    expected = {}
    for steps, batch in sizes_of(form):
        case = folder / "cases" / f"T{steps}B{batch}"
        case.mkdir(parents=True)
        feeds = feeds_of(model, steps, batch)
        for name, array in feeds.items():
            np.save(case / f"{name}.npy", array)
        expected[case] = form.reference(feeds)
    worker = subprocess.run(
        [PYTHON, WORKER, runtime, folder / "graph.onnx", folder / "cases"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if worker.returncode == REFUSED:
        return "refuses", worker.stderr
    if worker.returncode < 0:
        return "aborts", worker.stderr
    assert worker.returncode == 0, worker.stderr
    return compare(expected, tolerance)


def compare(expected: dict[Path, dict[str, Any]], tolerance: float) -> tuple[str, str]:
    """Return `runs` or `misreads` and the first result outside the tolerance."""
    for case, arrays in expected.items():
        for name, wanted in arrays.items():
            came = np.load(case / f"{name}.out.npy")
            if came.shape != wanted.shape:
                return "misreads", f"{case.name} `{name}`: {came.shape}, not {wanted.shape}"
            difference = np.abs(came - wanted).max()
            if not difference <= tolerance:
                return "misreads", f"{case.name} `{name}`: off by {difference}"
    return "runs", ""


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", [*EMITTED, *AVOIDED])
def test_form(name: str, runtime: str, tmp_path: Path) -> None:
    """A form fails in a runtime in exactly the way that `inspect` tells, or runs right."""
    form = {**EMITTED, **AVOIDED}[name]
    model = form.graph()
    tolerance = next((size for mark, size in TOLERANCES.items() if mark in name), 1e-5)
    told: set[str] = {f.outcome for f in findings_of(ir.from_proto(model)) if f.runtime == runtime}
    outcome, evidence = outcome_of(runtime, form, model, tolerance, tmp_path)
    assert outcome in (told or {"runs"}), evidence


def test_onnx_runtime_takes_everything_emitted() -> None:
    """What edgernn emits has no finding in ONNX Runtime, where it is proven."""
    found = [f for form in EMITTED.values() for f in findings_of(ir.from_proto(form.graph()))]
    assert [f for f in found if f.runtime == "ONNX Runtime"] == []


def test_steps_run_everywhere() -> None:
    """The float step graph has no finding in any runtime."""
    steps = [name for name in EMITTED if "cell" in name and "Scan" not in name]
    found = {name: findings_of(ir.from_proto(EMITTED[name].graph())) for name in steps}
    assert {name: f for name, f in found.items() if f and "int8" not in name} == {}
