"""Every form of graph in every runtime of the matrix: it runs right, or fails as we say it does."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch

import edgernn
from edgernn.export.analysis.runtime_refusals import runtime_issues
from tests.matrix.board import PYTHON, SIZES, Entry, feeds_of, run_all
from tests.matrix.forms import AVOIDED, EMITTED, Form
from tests.matrix.layers import Layer
from tests.matrix.worker import RUNS, RUNTIMES
from tests.nets.matrix_models import MODELS

FORMS = {**EMITTED, **AVOIDED}
TOLERANCES = {"int4": 2e-2, "int8": 2e-2, "float16": 2e-3}
TOLERANCE = 1e-5
EXPORTED = {
    f"{name}, {graph}": (name, graph) for name, model in MODELS.items() for graph in model.graphs
}
STEPS = [
    key
    for key, (name, graph) in EXPORTED.items()
    if graph == "step" and MODELS[name].precision == "float32"
]

pytestmark = [
    pytest.mark.skipif(
        not PYTHON.exists(), reason="scripts/matrix has not made the environment .venv-matrix"
    ),
    pytest.mark.timeout(600),
]


def entry_of_form(name: str, folder: Path) -> Entry:
    """Lay out a graph that is written by hand; what must come is torch's."""
    form: Form = FORMS[name]
    model = form.graph()
    fixed = (form.frozen,) if isinstance(form, Layer) and form.frozen else None
    feeds = {f"T{steps}B{batch}": feeds_of(model, steps, batch) for steps, batch in fixed or SIZES}
    cases = {case: (arrays, form.reference(arrays)) for case, arrays in feeds.items()}
    return Entry.laid_out(folder, model, cases, tolerance_of(name))


def tolerance_of(name: str) -> float:
    """Return how far the numbers of runtimes may be from each other, by the precision."""
    return next((size for mark, size in TOLERANCES.items() if mark in name), TOLERANCE)


def entries_of_model(name: str, folder: Path) -> dict[str, Entry]:
    """Export a model and lay out its graphs.

    What must come is what ONNX Runtime gives here and, for whole sequences of any length in
    float32, what eager torch gave in the golden run; graphs of a constant size are proven instead.
    """
    torch.manual_seed(0)
    model = MODELS[name]
    sequence, batch = model.sizes or (None, None)
    artifact = edgernn.export_model(
        model.make().eval(),
        folder / "m.edgernn",
        inputs=list(model.inputs),
        steps=sequence,
        batch_size=batch,
        verify=model.sizes is not None,
        precision=model.precision,
    )
    assert tuple(artifact.contract.graphs) == model.graphs
    entries = {}
    for kind in model.graphs:
        graph = onnx.load(artifact.path / f"{kind}.onnx")
        session = onnxruntime.InferenceSession(graph.SerializeToString())
        names = [port.name for port in graph.graph.output]
        cases: dict[str, tuple[Any, Any]] = {}
        for steps, sequences in (model.sizes,) if model.sizes else SIZES:
            feeds = feeds_of(graph, steps, sequences)
            results = dict(zip(names, session.run(names, feeds), strict=True))
            cases[f"T{steps}B{sequences}"] = feeds, results
        if kind == "sequence" and model.sizes is None and model.precision == "float32":
            golden = {file.stem: np.load(file) for file in artifact.golden.glob("*.npy")}
            cases["golden"] = (
                {port.name: golden[port.name] for port in graph.graph.input},
                {port: golden[port] for port in names},
            )
        entries[f"{name}, {kind}"] = Entry.laid_out(folder / kind, graph, cases, tolerance_of(name))
    return entries


@pytest.fixture(scope="module")
def board(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Entry]:
    """Everything that the selected tests ask for, run in all runtimes."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    calls = [item.callspec.params for item in items if hasattr(item, "callspec")]
    names = {str(call["name"]) for call in calls if "name" in call}
    folder = tmp_path_factory.mktemp("matrix")
    found = {
        name: entry_of_form(name, folder / f"form{place}")
        for place, name in enumerate(FORMS)
        if name in names
    }
    for place, name in enumerate(MODELS):
        if any(EXPORTED[key][0] == name for key in names & set(EXPORTED)):
            with warnings.catch_warnings():
                found |= entries_of_model(name, folder / f"model{place}")
    run_all(found.values(), RUNTIMES)
    return found


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", [*FORMS, *EXPORTED])
def test_form(name: str, runtime: str, board: dict[str, Entry]) -> None:
    """A graph fails in a runtime in exactly the way that `inspect` tells, or runs right."""
    entry = board[name]
    model = onnx.load(entry.folder / "graph.onnx")
    told: set[str] = {
        f.effect for f in runtime_issues(ir.from_proto(model)) if f.runtime == runtime
    }
    outcome, evidence = entry.outcome(runtime)
    assert outcome in (told or {RUNS}), evidence


@pytest.mark.parametrize("name", STEPS)
def test_exported_steps_run_everywhere(name: str, board: dict[str, Entry]) -> None:
    """The step graph of whatever model runs right in every runtime, in float32."""
    outcomes = {runtime: board[name].outcome(runtime) for runtime in RUNTIMES}
    assert outcomes == dict.fromkeys(RUNTIMES, (RUNS, ""))


def test_onnx_runtime_takes_everything_emitted() -> None:
    """What edgernn emits has no finding in ONNX Runtime, where it is proven."""
    found = [f for form in EMITTED.values() for f in runtime_issues(ir.from_proto(form.graph()))]
    assert [f for f in found if f.runtime == "ONNX Runtime"] == []


def test_steps_run_everywhere() -> None:
    """The float step graph has no finding in any runtime."""
    steps = [name for name in EMITTED if "cell" in name and "Scan" not in name]
    found = {name: runtime_issues(ir.from_proto(EMITTED[name].graph())) for name in steps}
    assert {name: f for name, f in found.items() if f and "int8" not in name} == {}
