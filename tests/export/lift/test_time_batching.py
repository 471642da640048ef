"""Values of one step, computed for all steps at once as rows of one batch."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgernn.export.lift.batching_rules import MixedBatchError
from edgernn.export.lift.step_graph import NodeCopier, StepGraph
from edgernn.export.lift.time_batching import BatchedValue, TimeBatcher
from tests.nets.one_step import run, session

STEPS, BATCH = 4, 3
WEIGHT = np.random.default_rng(0).standard_normal((2, 5)).astype(np.float32)
STEP = """<ir_version: 8, opset_import: ["": 18]> g (float[batch, 2] x, float[batch, 5] shift)
    => (float[batch, 5] y, float[batch, 5] mixed) <int64[1] zero = {0}> {
    product = MatMul(x, w)
    sum = Add(product, shift)
    y = Tanh(sum)
    mean = ReduceMean(x, zero)
    mixed = Add(product, mean)
}"""


def step_graph() -> StepGraph:
    """Return `tanh(x · w + shift)` of one step, and a sum that mixes its rows."""
    proto = onnx.parser.parse_model(STEP)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(WEIGHT, "w"))
    return StepGraph(ir.from_proto(proto), [], {}, ["shift"])


def whole_model(sequence: int) -> ir.Model:
    """Return a graph that computes `y` at all steps; x and y have their steps at `sequence`.

    `shift` is the same at all steps.
    """
    step = step_graph()
    x, shift = step.graph.inputs
    shape: list[int | str] = ["batch", 2]
    shape.insert(sequence, "sequence")
    whole = ir.Value(name="xs", shape=ir.Shape(shape), type=x.type)
    once = ir.Value(name="shift", shape=shift.shape, type=shift.type)
    tape = ir.tape.Tape()
    copier = NodeCopier(tape, {shift: once})
    sizes = tape.op("Shape", [whole])
    steps, batch = (
        tape.op("Slice", [sizes, copier.integers([axis]), copier.integers([axis + 1])])
        for axis in (sequence, 1 - sequence)
    )

    def source(value: ir.Value) -> BatchedValue | None:
        return batcher.from_sequence_axis(x, whole, 0, sequence) if value is x else None

    batcher = TimeBatcher(step, copier, batch, steps, source)
    y = batcher.with_sequence_axis(batcher(step.results[0]), sequence)
    shape[-1] = 5
    y.name, y.shape, y.type = "ys", ir.Shape(shape), x.type
    graph = ir.Graph(
        [whole, once],
        [y],
        nodes=tape.nodes,
        initializers=tape.initializers,
        opset_imports={"": 18},
        name="whole",
    )
    return ir.Model(graph, ir_version=8)


@pytest.mark.parametrize("sequence", [0, 1], ids=["time-major", "batch-first"])
def test_all_steps_at_once_are_each_step(sequence):
    """Rows of different steps stay apart, and what is the same at all steps is repeated."""
    random = np.random.default_rng(1)
    xs = random.standard_normal((STEPS, BATCH, 2)).astype(np.float32)
    shift = random.standard_normal((BATCH, 5)).astype(np.float32)
    given = xs if sequence == 0 else xs.transpose(1, 0, 2)
    (got,) = run(session(whole_model(sequence)), {"xs": given, "shift": shift})
    expected = np.stack([np.tanh(x @ WEIGHT + shift) for x in xs], sequence)
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_an_operator_over_the_batch_is_refused():
    """A mean over the batch would mix the steps that are merged with it."""
    step = step_graph()
    x = step.data[0]
    mean = next(node for node in step.graph if node.op_type == "ReduceMean").outputs[0]
    copier = NodeCopier(ir.tape.Tape())
    whole = ir.Value(name="xs", shape=ir.Shape(["sequence", "batch", 2]), type=x.type)

    def source(value: ir.Value) -> BatchedValue | None:
        return batcher.from_sequence_axis(x, whole, 0, 0) if value is x else None

    batcher = TimeBatcher(step, copier, BATCH, copier.integers([STEPS]), source)
    with pytest.raises(MixedBatchError):
        batcher(mean)
