"""The rules for exported layers, checked without edgernn: ONNX Runtime against torch's own layer.

One process exports every case. `pytest --full` runs the whole product instead of a cover of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

import edgernn
from tests.nets.parity_layers import (
    Net,
    eager,
    forward,
    net,
    rng,
    start,
    state_shapes,
    x_shape,
    y_width,
)
from tests.parity.design import Case, cover, product

TOLERANCE = 1e-5
TRACED = (3, 5)
SIZES = ((1, 1), TRACED, (2, 5), (3, 1), (1, 9), (4, 6), (2, 17), (5, 2), (7, 3))
DRIFT_STEPS = 1000

Array = NDArray[Any]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        full = metafunc.config.getoption("--full")
        cases = product() if full else cover(product())
        metafunc.parametrize("case", cases, ids=str, scope="module")


@dataclass(frozen=True)
class Exported:
    """A case's model and the sessions of its artifact."""

    model: Net
    path: Path
    sequence: onnxruntime.InferenceSession
    step: onnxruntime.InferenceSession | None


@pytest.fixture(scope="module")
def exported(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    model = net(case)
    path = tmp_path_factory.mktemp("parity") / "layer.edgernn"
    x = torch.randn(x_shape(case, *TRACED))
    states = tuple(torch.randn(shape) for shape in state_shapes(case, batch_of(case, TRACED[0])))
    hx = states if len(states) > 1 else states[0]
    edgernn.export_model(model, path, inputs=(x, hx) if case.style == "given" else (x,))
    step = path / "step.onnx"
    return Exported(
        model, path, session(path / "sequence.onnx"), session(step) if step.exists() else None
    )


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])


def batch_of(case: Case, batch: int) -> int | None:
    return batch if case.batched else None


def port_shapes(case: Case) -> list[tuple[Any, ...]]:
    """Return the declared shapes of the states.

    Where x has no batch axis, a state that forward takes has none either; one that it does not
    show is torch's own, which runs a batch of one.
    """
    if case.batched:
        return state_shapes(case, "batch")
    return state_shapes(case, None if case.style == "given" else 1)


def state_names(case: Case) -> list[str]:
    return ["h", "c"] if case.kind.startswith("lstm") else ["h"]


def data(case: Case, batch: int, sequence: int) -> tuple[Array, list[Array]]:
    """Return a random x and random states."""
    source = rng()
    x = source.standard_normal(x_shape(case, batch, sequence)).astype(np.float32)
    shapes = state_shapes(case, batch_of(case, batch))
    return x, [source.standard_normal(shape).astype(np.float32) for shape in shapes]


def run(runner: onnxruntime.InferenceSession, x: Array, states: list[Array]) -> list[Array]:
    """Run a graph by the places of its ports: x and the states in, y and the states out."""
    ports = runner.get_inputs()
    feeds = {ports[0].name: x}
    for port, state in zip(ports[1:], states, strict=True):
        unseen_batch = len(port.shape) > state.ndim
        feeds[port.name] = state[:, None] if unseen_batch else state
    y, *after = runner.run(None, feeds)
    return [y, *(new.reshape(old.shape) for new, old in zip(after, states, strict=True))]


def worst(got: list[Array], expected: list[Array]) -> float:
    assert [one.shape for one in got] == [one.shape for one in expected]
    return max(float(np.abs(a - b).max()) for a, b in zip(got, expected, strict=True))


def test_ports_are_those_of_the_contract(case: Case, exported: Exported):
    """Data first, then h and c; torch's shapes, with the dynamic axes named alike on every port."""
    states = list(zip(state_names(case), port_shapes(case), strict=True))
    graphs = [(exported.sequence, "sequence")]
    if exported.step is not None:
        graphs.append((exported.step, "step"))
    for runner, kind in graphs:
        x, y = ([*x_shape(case, "batch", "sequence", w)] for w in (3, y_width(case)))
        if kind == "step":
            x.remove("sequence")
            y.remove("sequence")
        assert [("x", x)] + [(f"{name}_in", [*shape]) for name, shape in states] == [
            (port.name, port.shape) for port in runner.get_inputs()
        ]
        assert [("output", y)] + [(f"{name}_out", [*shape]) for name, shape in states] == [
            (port.name, port.shape) for port in runner.get_outputs()
        ]
        flat = runner.get_modelmeta().custom_metadata_map
        pairs = ",".join(f"{name}_in:{name}_out" for name in state_names(case))
        assert (pairs, kind) == (flat["edgernn.states"], flat["edgernn.graph"])
        assert flat["edgernn.carry"] == ("no" if case.bidirectional else "yes")


def test_a_forward_layer_has_a_step_graph(case: Case, exported: Exported):
    """Only a bidirectional layer has none."""
    assert case.bidirectional == (exported.step is None)


def test_whole_sequences_agree_at_every_size(case: Case, exported: Exported):
    """From a random state, at (1, 1), the traced size and others: outputs and final states."""
    for batch, sequence in SIZES:
        x, states = data(case, batch, sequence)
        expected = eager(exported.model, x, states)
        assert worst(run(exported.sequence, x, states), expected) < TOLERANCE, (batch, sequence)


def test_the_initial_state_is_forwards_own(case: Case, exported: Exported):
    """From the state that forward starts from, the graph gives what forward gives."""
    runner = edgernn.load(exported.path)
    for batch, sequence in SIZES:
        x, _ = data(case, batch, sequence)
        states = start(exported.model, batch)
        expected = forward(exported.model, x)
        assert worst(run(exported.sequence, x, states)[:1], [expected]) < TOLERANCE
        assert worst([np.asarray(runner(x))], [expected]) < TOLERANCE


def test_a_thousand_steps_do_not_drift(case: Case, exported: Exported):
    """Over 1,000 steps, one by one and in chunks where the state is carried, whole where not."""
    x, states = data(case, 2, DRIFT_STEPS)
    expected = eager(exported.model, x, states)
    assert worst(run(exported.sequence, x, states), expected) < TOLERANCE
    if exported.step is None:
        return
    axis = 1 if case.batched and case.batch_first else 0
    for runner, chunks in (
        (exported.step, list(range(DRIFT_STEPS))),
        (exported.sequence, np.split(np.arange(DRIFT_STEPS), [1, 2, 9, 400, 401, 998])),
    ):
        after, outputs = states, []
        for chunk in chunks:
            y, *after = run(runner, x.take(chunk, axis), after)
            outputs.append(y)
        join = np.stack if runner is exported.step else np.concatenate
        assert worst([join(outputs, axis), *after], expected) < TOLERANCE
