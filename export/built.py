"""What is built from a model: its graphs, and all that is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx_ir as ir
from torch import nn

from edgernn.contract import SEQUENCE
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.states.contract_ports import Origins, graph_ports
from edgernn.export.states.slots import StatePort
from edgernn.export.trace.bounds import Bounds

__all__ = ["Built", "stacked_axes"]


@dataclass(frozen=True)
class Built:
    """The graphs of one model.

    Attributes:
        sequence: The sequence graph.
        step: The step graph, or None.
        no_step: Why there is none.
        states: The states of both.
        origins: Where their ports come from.
        module: The model that was traced: the one given, or its like whose loops are one call
            each.
        traced: The example that was traced.
        form: What forward is: `whole` takes whole sequences, `step` is one step without a
            sequence axis.
        carry: Whether a state may be carried on, as far as the graph tells.
        constant_batch: The batch where it is a constant.
        layers: Name of a state → the number of layers of the call that takes it.
        lengths: Name of an input that holds the lengths of sequences → whether forward wants the
            longest first.
        notes: For people.
        bounds: For which sizes of its dynamic axes the sequence graph is the model.
    """

    sequence: ir.Model
    step: ir.Model | None
    no_step: str
    states: tuple[StatePort, ...]
    origins: Origins
    module: nn.Module | None
    traced: ExampleCall
    form: str
    carry: bool
    constant_batch: int
    layers: Mapping[str, int]
    lengths: Mapping[str, bool]
    notes: tuple[str, ...]
    bounds: Bounds = field(default_factory=Bounds)


def stacked_axes(built: Built) -> dict[str, int] | None:
    """Return, for a model that is one step, by path the axis that steps are stacked along."""
    if built.form != "step":
        return None
    graph = graph_ports(built.sequence, built.origins)
    stacked = [port for port in (*graph.inputs, *graph.outputs) if SEQUENCE in port.shape]
    return {port.origin: port.shape.index(SEQUENCE) for port in stacked if port.origin is not None}
