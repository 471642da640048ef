"""Sequences of a batch that end at their own lengths, in plain operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir
import pytest

from edgernn.export.ir.onnx_session import OnnxSession
from edgernn.export.ir.recurrent_operators import OPERATORS
from edgernn.export.lower.sequence_mask import SequenceEnds, split_directions

LENGTHS = np.array([4, 1, 3])
X = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
"""(sequence, batch, features)."""
W = np.ones((1, 3, 2), np.float32)


def results(
    write: Callable[[ir.tape.Tape, ir.Value, SequenceEnds], Sequence[ir.Value]],
) -> list[np.ndarray]:
    """Run what `write` writes for `X` and `LENGTHS`, and return all of its values."""
    tape = ir.tape.Tape()
    x = ir.Value(
        name="x",
        shape=ir.Shape(["sequence", "batch", 2]),
        type=ir.TensorType(ir.DataType.FLOAT),
    )
    lengths = ir.Value(
        name="lengths", shape=ir.Shape(["batch"]), type=ir.TensorType(ir.DataType.INT64)
    )
    written = write(tape, x, SequenceEnds(tape, x, lengths, "n"))
    outputs = [tape.op("Cast", [one], {"to": ir.DataType.FLOAT}) for one in written]
    for place, output in enumerate(outputs):
        output.name, output.type = f"out_{place}", ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph(
        [x, lengths],
        outputs,
        nodes=tape.nodes,
        initializers=tape.initializers,
        opset_imports={"": 18},
        name="g",
    )
    session = OnnxSession(ir.to_proto(ir.Model(graph, ir_version=8)).SerializeToString())
    return list(session({"x": X, "lengths": LENGTHS}).values())


def reversed_within(x: np.ndarray) -> np.ndarray:
    turned = x.copy()
    for row, length in enumerate(LENGTHS):
        turned[:length, row] = x[:length, row][::-1]
    return turned


@pytest.mark.parametrize("rank", [2, 3, 4])
def test_a_mask_is_true_after_the_end(rank):
    """It has an axis of size 1 for each axis of the features."""

    def write(tape: ir.tape.Tape, x: ir.Value, ends: SequenceEnds) -> list[ir.Value]:
        return [ends.after_end(rank)]

    (mask,) = results(write)
    assert mask.shape == (4, 3, *(1,) * (rank - 2))
    np.testing.assert_array_equal(mask.reshape(4, 3), np.arange(4)[:, None] >= LENGTHS)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_a_direction_runs_within_the_lengths(backward):
    """The backward one takes each sequence from its own end; its output is turned round again."""

    def write(tape: ir.tape.Tape, x: ir.Value, ends: SequenceEnds) -> list[ir.Value]:
        seen: list[ir.Value] = []

        def layer(x: ir.Value, w: np.ndarray) -> list[ir.Value]:
            np.testing.assert_array_equal(w, W)
            seen.append(x)
            return [x, x]

        y, h = ends.run_direction(OPERATORS["RNN"], x, W, layer, backward)
        return [y, h, *seen]

    y, h, seen = results(write)
    np.testing.assert_array_equal(y, X)
    np.testing.assert_array_equal(seen, reversed_within(X) if backward else X)
    last = seen[LENGTHS - 1, np.arange(3)]
    np.testing.assert_array_equal(h, last[None])


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_gates_hold_a_state_after_the_end(kind):
    """One more feature is 1 there; its weights are what keeps the state that gates can keep."""
    known = OPERATORS[kind]
    gates = len(known.onnx_gates)
    w = np.ones((1, 5 * gates, 2), np.float32)
    widened: list[np.ndarray] = []

    def write(tape: ir.tape.Tape, x: ir.Value, ends: SequenceEnds) -> list[ir.Value]:
        seen: list[ir.Value] = []

        def layer(x: ir.Value, w: np.ndarray) -> list[ir.Value]:
            seen.append(x)
            widened.append(w)
            return [x, x, x][: 1 + len(known.states)]

        ends.run_direction(known, x, w, layer, backward=False)
        return seen

    (seen,) = results(write)
    np.testing.assert_array_equal(seen[..., :2], X)
    np.testing.assert_array_equal(seen[..., 2], np.arange(4)[:, None] >= LENGTHS)
    np.testing.assert_array_equal(widened[0][..., :2], w)
    np.testing.assert_array_equal(
        widened[0][0, :, 2].reshape(gates, 5), np.repeat(known.still_numbers, 5).reshape(gates, 5)
    )


def test_states_are_split_by_direction():
    """One direction keeps its states as they are; of two, each gets its half of h and of c."""
    tape = ir.tape.Tape()
    h, c, ones = (ir.Value(name=name) for name in ("h", "c", "ones"))
    assert split_directions(tape, [h, c], 1, lambda: ones) == [[h, c]]
    forward, backward = split_directions(tape, [h, c], 2, lambda: ones)
    assert [node.op_type for node in tape.nodes] == ["Split", "Split"]
    splits = list(tape.nodes)
    assert [node.inputs[0] for node in splits] == [h, c]
    assert [list(forward), list(backward)] == [
        [node.outputs[half] for node in splits] for half in (0, 1)
    ]
