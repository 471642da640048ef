"""Recurrent layers on padded sequences that end at their own lengths, in plain operators.

ONNX's `sequence_lens` is ignored by several runtimes without a word. In its place:

- After its end a sequence is held still: one more feature of the input is 1 there, and its weights
  drive the gates. A state that no gate keeps (an LSTM's h, an RNN's) is taken from the output at
  each sequence's last step.
- The backward direction is a forward one on the sequences reversed within their lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.export.ir.recurrent_operators import RecurrentKind

__all__ = ["SequenceEnds", "fill_padding", "sequence_ends", "split_directions"]

Array = NDArray[np.float32]
WriteOperator = Callable[[ir.Value, Array], Sequence[ir.Value]]
"""Writes the operator of one direction for its X and W; returns its output (sequence, batch, size)
and its final states (1, batch, size)."""


class SequenceEnds:
    """The ends of a batch of padded sequences, computed once per call.

    Args:
        tape: Where nodes go.
        x: A padded tensor (sequence, batch, features).
        lengths: (batch,) int64, each at least 1.
        name: What the names of constants start with.
    """

    def __init__(self, tape: ir.tape.Tape, x: ir.Value, lengths: ir.Value, name: str) -> None:
        self._op = tape.op
        self._constant: Callable[..., ir.Value] = tape.initializer
        self._prefix = f"{name}_ends"
        self._made = 0
        self._lengths = lengths
        shape = self._op("Shape", [x])
        steps = self._op("Gather", [shape, self._int(0)], {"axis": 0})
        times = self._op("Range", [self._int(0), steps, self._int(1)])
        self._times = self._op("Unsqueeze", [times, self._ints(1)])
        self._after_end = self._op("GreaterOrEqual", [self._times, lengths])

    def run_direction(
        self, kind: RecurrentKind, x: ir.Value, w: Array, run: WriteOperator, backward: bool
    ) -> Sequence[ir.Value]:
        """Run one direction of a layer; return its output and its final states.

        `x` is (sequence, batch, input_size), `w` (1, gates · hidden_size, input_size).
        """
        x = self._reverse(x) if backward else x
        if kind.still_numbers:
            numbers = np.array(kind.still_numbers, np.float32)
            column = np.repeat(numbers, w.shape[1] // len(numbers))
            w = np.concatenate([w, column[None, :, None]], axis=2)
            after_end = self._op("Cast", [self.after_end()], {"to": ir.DataType.FLOAT})
            x = self._op("Concat", [x, after_end], {"axis": 2})
        y, h, *others = run(x, w)
        h = h if kind.kept_state == "h" else self._last(y)
        return [self._reverse(y) if backward else y, h, *others]

    def after_end(self, rank: int = 3) -> ir.Value:
        """Return (sequence, batch, 1, …) bool: whether a step is after its sequence's end."""
        if rank == 2:
            return self._after_end
        return self._op("Unsqueeze", [self._after_end, self._ints(*range(2, rank))])

    def _last(self, y: ir.Value) -> ir.Value:
        """Return each sequence's last step of `y` (sequence, batch, size): (1, batch, size)."""
        index = self._op("Sub", [self._lengths, self._int(1)])
        index = self._op("Unsqueeze", [index, self._ints(0, 2)])
        shape = self._op("Shape", [y])
        width = self._op("Slice", [shape, self._ints(1), self._ints(3)])
        target = self._op("Concat", [self._ints(1), width], {"axis": 0})
        index = self._op("Expand", [index, target])
        return self._op("GatherElements", [y, index], {"axis": 0})

    def _reverse(self, x: ir.Value) -> ir.Value:
        """Return `x` (sequence, batch, size) with each sequence reversed up to its end."""
        mirrored = self._op("Sub", [self._op("Sub", [self._lengths, self._int(1)]), self._times])
        index = self._op("Where", [self._after_end, self._times, mirrored])
        index = self._op("Unsqueeze", [index, self._ints(2)])
        index = self._op("Expand", [index, self._op("Shape", [x])])
        return self._op("GatherElements", [x, index], {"axis": 0})

    def _int(self, number: int) -> ir.Value:
        return self._tensor(np.array(number, np.int64))

    def _ints(self, *numbers: int) -> ir.Value:
        return self._tensor(np.array(numbers, np.int64))

    def _tensor(self, array: np.ndarray) -> ir.Value:
        self._made += 1
        return self._constant(ir.tensor(array, name=f"{self._prefix}_{self._made}"))


def sequence_ends(tape: ir.tape.Tape, node: ir.Node) -> SequenceEnds:
    """Return the ends of the sequences in a node's first input; its last input has the lengths."""
    x, lengths = node.inputs[0], node.inputs[-1]
    assert x is not None
    assert lengths is not None
    return SequenceEnds(tape, x, lengths, str(node.outputs[0].name))


def fill_padding(tape: ir.tape.Tape, node: ir.Node) -> ir.Value:
    """Return the output of a `torch::pad_packed_sequence`: its input, filled after the ends."""
    y = node.inputs[0]
    assert y is not None
    dtype = (y.dtype or node.outputs[0].dtype or ir.DataType.FLOAT).numpy()
    padding = np.array(node.attributes["padding"].as_float()).astype(dtype)
    value = tape.initializer(ir.tensor(padding, name=f"{node.outputs[0].name}_padding"))
    rank = len(node.outputs[0].shape or y.shape or (0, 0, 0))
    return tape.op("Where", [sequence_ends(tape, node).after_end(rank), value, y])


def split_directions(
    tape: ir.tape.Tape, states: Sequence[ir.Value], directions: int, sizes: Callable[[], ir.Value]
) -> list[Sequence[ir.Value]]:
    """Return the initial states of each direction, (1, batch, size) each.

    `states` are h, and c where there is one, (directions, batch, size); `sizes` writes [1, 1].
    """
    if directions == 1:
        return [states]
    halves = [
        tape.op_multi_out("Split", [state, sizes()], {"axis": 0}, num_outputs=2) for state in states
    ]
    return list(zip(*halves, strict=True))
