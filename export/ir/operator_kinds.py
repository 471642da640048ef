"""What operators do with the elements of their inputs: move them, or compute one at a time.

Where an operator only moves elements, every element of an output is one of an input:

    Reshape(x, size)       reshapes x; its other input says how
    Concat(x, y, z)        joins x, y and z
    Gather(table, ids)     selects from the table

Also the names of the operators that edgernn writes while a graph is made, and lowers before it is
finished.
"""

from __future__ import annotations

import enum

import onnx_ir as ir

__all__ = [
    "EDGERNN",
    "ELEMENTWISE",
    "LOOP",
    "PAD",
    "RUNNING",
    "TORCH",
    "Movement",
    "moved_inputs",
    "movement_of",
    "operators_of",
]

TORCH = "torch"
"""Domain of recurrent calls as torch makes them: one node per call, with torch's arguments."""

LOOP = "loop"
"""`torch::loop`: one loop over time."""

PAD = "pad_packed_sequence"
"""`torch::pad_packed_sequence`: zeros after the end of each sequence."""

EDGERNN = "edgernn"
"""Domain of what ONNX has no operator for: an LSTM with a projection, and `Running`."""

RUNNING = "Running"
"""`edgernn::Running`: running results along an axis."""

# fmt: off
ELEMENTWISE = frozenset((
    "Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "Cast", "Ceil",
    "Celu", "Clip", "Cos", "Cosh", "Div", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu",
    "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "IsInf", "IsNaN", "LeakyRelu",
    "Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "Not",
    "Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin",
    "Sinh", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Tan", "Tanh", "ThresholdedRelu",
    "Where", "Xor",
))
# fmt: on
"""Operators that broadcast their inputs and compute every element of one output by itself."""


class Movement(enum.Enum):
    """What an operator does with the elements that it moves."""

    RESHAPES = enum.auto()
    """It keeps all of them in their order, in another shape."""
    PERMUTES = enum.auto()
    """It keeps all of them in another order."""
    JOINS = enum.auto()
    """It keeps all of them, those of several inputs in one output."""
    SELECTS = enum.auto()
    """An output has some of them, in any order."""
    REPEATS = enum.auto()
    """It keeps all of them and has some several times, along axes of size 1 before."""


_RESHAPES = ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze")

_MOVEMENTS = {
    **dict.fromkeys(_RESHAPES, Movement.RESHAPES),
    "Transpose": Movement.PERMUTES,
    "Concat": Movement.JOINS,
    **dict.fromkeys(("Slice", "Split", "Gather"), Movement.SELECTS),
    "Expand": Movement.REPEATS,
}


def movement_of(node: ir.Node) -> Movement | None:
    """Return how `node` moves elements, or None where it computes new ones."""
    return None if node.domain else _MOVEMENTS.get(node.op_type)


def moved_inputs(node: ir.Node) -> list[ir.Value]:
    """Return the inputs whose elements `node` moves; the other ones say where to."""
    movement = movement_of(node)
    count = None if movement is Movement.JOINS else int(movement is not None)
    return [value for value in node.inputs[:count] if value is not None]


def operators_of(*movements: Movement) -> frozenset[str]:
    """Return the operators that move elements in one of these ways."""
    return frozenset(name for name, movement in _MOVEMENTS.items() if movement in movements)
