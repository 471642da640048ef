"""What each kind of recurrent cell is, in torch and in ONNX.

Everything that depends on the kind of a cell is read from this table: its gates and their order,
its states, its activations, the inputs of its operator. Only the equations of one step are in
`step/cells`. A row is one function of torch; nn.RNN has two, which share an operator:

    torch.lstm, torch.lstm_cell  →  LSTM(X, W, R, B, sequence_lens, initial_h, initial_c, P)
                                    → Y, Y_h, Y_c
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.export.ir.operator_kinds import EDGERNN

__all__ = [
    "CELL_FUNCTIONS",
    "DIRECTIONS",
    "FUNCTIONS",
    "KINDS",
    "LAYER_FUNCTIONS",
    "LSTM",
    "OPERATORS",
    "PROJECTION",
    "STATES",
    "TORCH_WEIGHTS",
    "Input",
    "RecurrentKind",
    "activations_of",
    "direction_of",
    "directions_of",
    "input_of",
    "is_recurrent",
    "kind_of",
    "recurrent_nodes",
]


class Input(IntEnum):
    """The inputs of ONNX's recurrent operators; GRU and RNN end with INITIAL_H.

    X is (sequence, batch, input_size), W (directions, gates · hidden_size, input_size), R
    (directions, gates · hidden_size, hidden_size), B (directions, 2 · gates · hidden_size), of
    which the first half is added to W·x and the second to R·h. P are peepholes.
    """

    X = 0
    W = 1
    R = 2
    B = 3
    SEQUENCE_LENS = 4
    INITIAL_H = 5
    INITIAL_C = 6
    P = 7


PROJECTION = 4
"""The input of `edgernn::LSTM` that holds its projection, in the place of `sequence_lens`."""

STATES = ("h", "c")
"""The names of states; a kind has the first one or both."""

TORCH_WEIGHTS = ("w_ih", "w_hh", "b_ih", "b_hh", "w_hr")
"""The weights of one layer and direction in torch's order, with biases and a projection."""

DIRECTIONS: Mapping[str, tuple[bool, ...]] = {
    "forward": (False,),
    "reverse": (True,),
    "bidirectional": (False, True),
}
"""For each value of the attribute `direction`, whether each of its parts runs backward in time."""


@dataclass(frozen=True)
class RecurrentKind:
    """One kind of recurrent cell.

    Attributes:
        function: torch's function for a layer, such as `lstm`.
        operator: ONNX's operator, which is also the name of torch's module: `LSTM`, nn.LSTM.
        states: What a cell carries from step to step: h, and c where there is one.
        torch_gates: The gates in the order of torch's weights.
        onnx_gates: The same in the order of ONNX's W, R and B.
        activations: ONNX's activations of one direction.
        attributes: Attributes with which the operator computes what torch computes.
        still_gates: What to add to gates to keep a state as it is; empty where no gate can.
        kept_state: The state that these gates keep.
    """

    function: str
    operator: str
    states: tuple[str, ...]
    torch_gates: tuple[str, ...]
    onnx_gates: tuple[str, ...]
    activations: tuple[str, ...]
    attributes: Mapping[str, int] = field(default_factory=dict)
    still_gates: Mapping[str, float] = field(default_factory=dict)
    kept_state: str = ""

    @property
    def cell_function(self) -> str:
        """Torch's function for one step."""
        return f"{self.function}_cell"

    @property
    def initial_states(self) -> tuple[int, ...]:
        """The inputs of the operator that hold the initial states."""
        return tuple(range(Input.INITIAL_H, Input.INITIAL_H + len(self.states)))

    @property
    def still_numbers(self) -> tuple[float, ...]:
        """What keeps a state as it is, for each gate in ONNX's order; empty where nothing does."""
        gates = self.onnx_gates if self.still_gates else ()
        return tuple(self.still_gates.get(gate, 0.0) for gate in gates)

    def torch_attributes(self, directions: int) -> dict[str, int | list[str]]:
        """Return the attributes with which the operator computes what torch computes."""
        if len(activations_of(self.operator)) == 1:
            return dict(self.attributes)
        return {**self.attributes, "activations": [*self.activations] * directions}

    def to_onnx_order(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return weights (gates · hidden_size, …) in torch's order of gates in ONNX's."""
        gates = dict(zip(self.torch_gates, np.split(rows, len(self.torch_gates)), strict=True))
        return np.concatenate([gates[gate] for gate in self.onnx_gates])


LSTM = RecurrentKind(
    function="lstm",
    operator="LSTM",
    states=("h", "c"),
    torch_gates=("i", "f", "g", "o"),
    onnx_gates=("i", "o", "f", "g"),
    activations=("Sigmoid", "Tanh", "Tanh"),
    still_gates={"i": -1e4, "f": 1e4},
    kept_state="c",
)
GRU = RecurrentKind(
    function="gru",
    operator="GRU",
    states=("h",),
    torch_gates=("r", "z", "n"),
    onnx_gates=("z", "r", "n"),
    activations=("Sigmoid", "Tanh"),
    attributes={"linear_before_reset": 1},
    still_gates={"z": 1e4},
    kept_state="h",
)
RNN_TANH, RNN_RELU = (
    RecurrentKind(
        function=f"rnn_{activation.lower()}",
        operator="RNN",
        states=("h",),
        torch_gates=("h",),
        onnx_gates=("h",),
        activations=(activation,),
    )
    for activation in ("Tanh", "Relu")
)

KINDS = (LSTM, GRU, RNN_TANH, RNN_RELU)

LAYER_FUNCTIONS: Mapping[str, RecurrentKind] = {kind.function: kind for kind in KINDS}
"""torch's functions that run layers over a sequence."""

CELL_FUNCTIONS: Mapping[str, RecurrentKind] = {kind.cell_function: kind for kind in KINDS}
"""torch's functions that run one step of a cell."""

FUNCTIONS: Mapping[str, RecurrentKind] = {**LAYER_FUNCTIONS, **CELL_FUNCTIONS}
"""torch's recurrent functions."""

OPERATORS: Mapping[str, RecurrentKind] = {k.operator: k for k in (LSTM, GRU, RNN_TANH)}
"""ONNX's operators, each with its kind; of several, the one with ONNX's default activations."""


def is_recurrent(node: ir.Node) -> bool:
    """Return whether a node is one of ONNX's recurrent operators or `edgernn::LSTM`."""
    return node.op_type in OPERATORS and node.domain in ("", EDGERNN)


def recurrent_nodes(graph: ir.Graph) -> list[ir.Node]:
    """Return the recurrent nodes of `graph`, without those in bodies, in its order."""
    return [node for node in graph if is_recurrent(node)]


def kind_of(node: ir.Node) -> RecurrentKind:
    """Return the kind of a recurrent node."""
    return OPERATORS[node.op_type]


def activations_of(operator: str) -> Sequence[tuple[str, ...]]:
    """Return the activations of one direction that an operator may have, the default first."""
    return [kind.activations for kind in KINDS if kind.operator == operator]


def direction_of(node: ir.Node) -> str:
    """Return `forward`, `reverse` or `bidirectional`."""
    return node.attributes.get_string("direction", "forward")


def directions_of(node: ir.Node) -> tuple[bool, ...]:
    """Return for each direction of a node whether it runs backward; an unknown one is forward."""
    return DIRECTIONS.get(direction_of(node), DIRECTIONS["forward"])


def input_of(node: ir.Node, place: int) -> ir.Value | None:
    """Return an input of a node, or None where it is left out."""
    return node.inputs[place] if place < len(node.inputs) else None
