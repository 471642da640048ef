"""Where padded sequences end: masks and gathers from their lengths, in plain operators."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

__all__ = ["Ends", "ends_of", "padded"]


class Ends:
    """What depends on the lengths of a batch of padded sequences, written once per call.

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
        self._behind = self._op("GreaterOrEqual", [self._times, lengths])

    def behind(self, rank: int = 3) -> ir.Value:
        """Return (sequence, batch, 1, …) bool: whether a step is behind its sequence's end."""
        if rank == 2:
            return self._behind
        return self._op("Unsqueeze", [self._behind, self._ints(*range(2, rank))])

    def behind_as_float(self) -> ir.Value:
        """Return the same as 0.0 and 1.0."""
        return self._op("Cast", [self.behind()], {"to": ir.DataType.FLOAT})

    def last(self, y: ir.Value) -> ir.Value:
        """Return each sequence's last step of `y` (sequence, batch, size): (1, batch, size)."""
        index = self._op("Sub", [self._lengths, self._int(1)])
        index = self._op("Unsqueeze", [index, self._ints(0, 2)])
        shape = self._op("Shape", [y])
        width = self._op("Slice", [shape, self._ints(1), self._ints(3)])
        target = self._op("Concat", [self._ints(1), width], {"axis": 0})
        index = self._op("Expand", [index, target])
        return self._op("GatherElements", [y, index], {"axis": 0})

    def reversed(self, x: ir.Value) -> ir.Value:
        """Return `x` (sequence, batch, size) with each sequence reversed up to its end."""
        mirrored = self._op("Sub", [self._op("Sub", [self._lengths, self._int(1)]), self._times])
        index = self._op("Where", [self._behind, self._times, mirrored])
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


def ends_of(tape: ir.tape.Tape, node: ir.Node) -> Ends:
    """Return the ends of the sequences in a node's first input; its last one holds the lengths."""
    x, lengths = node.inputs[0], node.inputs[-1]
    assert x is not None
    assert lengths is not None
    return Ends(tape, x, lengths, str(node.outputs[0].name))


def padded(tape: ir.tape.Tape, node: ir.Node) -> ir.Value:
    """Return the output of a node that fills what is behind each sequence's end."""
    y, lengths = node.inputs[0], node.inputs[-1]
    assert y is not None
    assert lengths is not None
    dtype = (y.dtype or node.outputs[0].dtype or ir.DataType.FLOAT).numpy()
    padding = np.array(node.attributes["padding"].as_float()).astype(dtype)
    value = tape.initializer(ir.tensor(padding, name=f"{node.outputs[0].name}_padding"))
    rank = len(node.outputs[0].shape or y.shape or (0, 0, 0))
    behind = Ends(tape, y, lengths, str(node.outputs[0].name)).behind(rank)
    return tape.op("Where", [behind, value, y])
