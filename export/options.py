"""What the user may ask of the graphs beyond torch's own form."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from edgernn.contract import BATCH, SEQUENCE, Contract, Graph, Port, State
from edgernn.errors import InputError, UnsupportedModelError
from edgernn.export.ir.initializer_names import drop_unused
from edgernn.export.passes.batch_major import batch_major
from edgernn.export.passes.constant_axes import constant_axes
from edgernn.export.passes.float16 import to_float16
from edgernn.export.passes.int8 import to_int8
from edgernn.export.passes.int32_ids import int32_ids
from edgernn.export.passes.opset import OPSETS, to_opset
from edgernn.export.passes.per_layer import state_per_layer
from edgernn.export.passes.reset import reset_mask
from edgernn.export.passes.share_weights import share_weights
from edgernn.export.proof.difference import TOLERANCE
from edgernn.report import ParityReport

__all__ = ["Options", "tolerance_of"]

# precision → the largest difference from eager torch in float32 that passes
_TOLERANCES = {"float32": TOLERANCE, "float16": 2e-2, "int8": 5e-2}
_DTYPES = {ir.DataType.INT8: "int8", ir.DataType.FLOAT16: "float16"}
_NOTES = {
    "float16": "Weights, states, real inputs and outputs are float16.",
    "int8": (
        "Weights are int8; LSTM, GRU and RNN of the sequence graph compute in float32 with them, "
        "products in integers that saturate on no CPU, one scale for each row."
    ),
}
_LAYOUTS = ("torch", "batch-major")

_Shape = tuple[int | str, ...]


@dataclass(frozen=True)
class Options:
    """The options of the contract, as `export_model` takes them.

    Attributes:
        precision: Of weights and computation: `float32`, `float16` or `int8`.
        opset: The ONNX operator set.
        state_layout: `torch`, (layers, batch, size); or `batch-major`, (batch, layers, size).
        state_per_layer: Whether every layer of a stack has a state of its own.
        int32_ids: Whether whole numbers come in as int32 instead of int64.
        reset: Whether there is an input `reset`, bool (batch,), that says which sequences start
            anew from their initial state.
        batch: The only number of sequences that the graphs take; None for any.
        sequence: The only number of steps that the sequence graph takes; None for any.
    """

    precision: str = "float32"
    opset: int = 18
    state_layout: str = "torch"
    state_per_layer: bool = False
    int32_ids: bool = False
    reset: bool = False
    batch: int | None = None
    sequence: int | None = None

    def __post_init__(self) -> None:
        for axis, size in ((BATCH, self.batch), (SEQUENCE, self.sequence)):
            if size is not None and size < 1:
                raise InputError(f"`{axis}` is {size}; it must be at least 1.")
        _check_choice("precision", self.precision, _TOLERANCES)
        _check_choice("state layout", self.state_layout, _LAYOUTS)
        if self.opset not in OPSETS:
            raise UnsupportedModelError(
                f"Opset {self.opset} is not one that graphs can be written in; known are: "
                f"{', '.join(map(str, OPSETS))}."
            )

    @property
    def tolerance(self) -> float:
        """The largest difference from eager torch in float32 that passes."""
        return _TOLERANCES[self.precision]

    @property
    def sizes(self) -> dict[str, int]:
        """Name of an axis → the number that it is to be."""
        sizes = {BATCH: self.batch, SEQUENCE: self.sequence}
        return {axis: size for axis, size in sizes.items() if size is not None}

    def at(self, constants: Mapping[str, int]) -> Options:
        """Return the options with the steps that an input spec gives as a number.

        Raises:
            InputError: The options have another number.
        """
        given = constants.get(SEQUENCE)
        if None not in (given, self.sequence) and given != self.sequence:
            raise InputError(
                f"`{SEQUENCE}` is {self.sequence}, but the inputs are given with {given} steps. "
                "Give one number, in one place."
            )
        return replace(self, sequence=self.sequence or given)

    def apply(
        self, models: Mapping[str, ir.Model], contract: Contract, layers: Mapping[str, int]
    ) -> Contract:
        """Write the graphs as asked, in place, and return their contract.

        Args:
            models: `sequence` and, where there is one, `step` → the graph in torch's own form.
            contract: Their contract.
            layers: Name of a state → the number of layers that it is of.

        Raises:
            UnsupportedModelError: A graph cannot be written so.
        """
        graphs = tuple(models.values())
        states = self._shaped(graphs, contract.states, layers)
        named = {kind: _shapes(model) for kind, model in models.items()}
        stay = self._settled(graphs)
        if self.precision == "float16":
            states = tuple(_half(state) for state in states)
        free = any(BATCH in shape for shapes in named.values() for shape in shapes.values())
        ends = () if free else {end for one in states for end in (one.input, one.output)}
        ports = {
            kind: _ports(model, contract.graphs[kind], named[kind], ends)
            for kind, model in models.items()
        }
        notes = (f"Float32 stay the weights {', '.join(stay)}.",) if stay else ()
        return replace(
            contract,
            states=states,
            graphs=ports,
            most=self._of_dynamic(contract.most),
            least=self._of_dynamic(contract.least),
            notes=(*contract.notes, *notes),
        )

    def _of_dynamic(self, bounds: Mapping[str, int]) -> dict[str, int]:
        """Return the bounds of the axes that stay dynamic."""
        return {axis: size for axis, size in bounds.items() if axis not in self.sizes}

    def _shaped(
        self, graphs: Sequence[ir.Model], states: tuple[State, ...], layers: Mapping[str, int]
    ) -> tuple[State, ...]:
        """Give the graphs the ports that were asked for, in place, and return their states."""
        if self.state_per_layer:
            states = state_per_layer(graphs, states, layers)
        if self.state_layout == "batch-major":
            states = batch_major(graphs, states)
        if self.reset:
            reset_mask(graphs, states)
        if self.int32_ids:
            int32_ids(graphs)
        return states

    def _settled(self, graphs: Sequence[ir.Model]) -> tuple[str, ...]:
        """Write the graphs in the sizes, the numbers and the operators asked for, in place.

        Returns:
            The weights that int8 leaves in float32.
        """
        for graph in graphs if self.sizes else ():
            constant_axes(graph, self.sizes)
        if self.precision == "float16":
            to_float16(graphs)
        stay = to_int8(graphs) if self.precision == "int8" else ()
        for graph in graphs:
            to_opset(graph, self.opset)
            drop_unused(graph)
            share_weights(graph)
        return stay

    def notes(self, report: ParityReport | None) -> tuple[str, ...]:
        """Return what people should know of the precision, with what it costs if measured."""
        if self.precision not in _NOTES:
            return ()
        cost = "" if report is None else f": the difference is at most {_differences(report)}"
        return (f"{_NOTES[self.precision]} Parity is with float32{cost}.",)


def _differences(report: ParityReport) -> str:
    """Say how far each graph is from the reference, and over how many steps that was seen."""
    worst: dict[str, float] = {}
    for check in report.checks:
        worst[check.graph] = max(check.difference, worst.get(check.graph, 0.0))
    graphs = " and ".join(f"{gap:.1e} in the {kind} graph" for kind, gap in worst.items())
    steps = max((check.sequence for check in report.checks), default=0)
    return f"{graphs}, over up to {steps:,} steps"


def tolerance_of(models: Iterable[ir.Model]) -> float:
    """Return the largest difference that passes for graphs by the precision of their weights."""
    dtypes = {
        value.dtype
        for model in models
        for graph in model.graphs()
        for value in (*graph.inputs, *graph.initializers.values())
    }
    precisions = [precision for dtype, precision in _DTYPES.items() if dtype in dtypes]
    return _TOLERANCES[precisions[0] if precisions else "float32"]


def _half(state: State) -> State:
    initial = state.initial
    return replace(state, initial=None if initial is None else initial.astype(np.float16))


def _check_choice(name: str, value: str, known: Mapping[str, float] | tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"`{value}` is not a choice of {name}; known are: {', '.join(known)}.")


def _shapes(model: ir.Model) -> dict[str, _Shape]:
    """Return name of a port → its shape."""
    return {
        value.name or "": _shape(value) for value in (*model.graph.inputs, *model.graph.outputs)
    }


def _ports(
    model: ir.Model, before: Graph, named: Mapping[str, _Shape], states: Collection[str]
) -> Graph:
    """Return the ports of `model`; those that torch's call has too keep where they come from."""

    def port(value: ir.Value, known: tuple[Port, ...]) -> Port:
        assert value.dtype is not None
        name = value.name or ""
        port = Port(name, value.dtype.numpy().name, named[name])
        old = next((one for one in known if one.name == name), port)
        port = port.with_batch() if name in states else port
        origin = old.origin if old.shape == port.shape else None
        axes, port = port.axes, replace(port, shape=_shape(value), origin=origin, limit=old.limit)
        return port.with_axes(axes)

    return Graph(
        tuple(port(value, before.inputs) for value in model.graph.inputs),
        tuple(port(value, before.outputs) for value in model.graph.outputs),
    )


def _shape(value: ir.Value) -> _Shape:
    assert value.shape is not None
    return tuple(dim if isinstance(dim, int) else str(dim.value) for dim in value.shape)
