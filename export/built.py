"""What is built from a model: its graphs, and what is known of them before they are run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx_ir as ir
from torch import nn

from edgernn.contract import SEQUENCE, Graph
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.proof.module_calls import ModuleCalls
from edgernn.export.states.contract_ports import Origins, graph_ports
from edgernn.export.states.hop_and_delay import Streaming
from edgernn.export.states.state_port import StatePort
from edgernn.export.trace.bounds import Bounds
from edgernn.layer import Layer

__all__ = ["Built"]


@dataclass(frozen=True, kw_only=True)
class Built:
    """The graphs of one model.

    Attributes:
        sequence: The sequence graph.
        step: The step graph, or None.
        no_step: Why there is no step graph; empty where there is one.
        states: The states of both.
        origins: Where their ports come from.
        module: The module that was traced: the one given, or its like whose loops are one call
            each. None for an ONNX file.
        example: The call that was traced.
        is_step: Whether forward is one step, without a sequence axis.
        carry: Whether a state may be carried on, as far as the graph tells.
        constant_batch: The batch where it is a constant.
        layers: Name of a state → the number of layers of the call that takes it.
        model_layers: The layers of the model that have weights.
        lengths: Name of an input that holds the lengths of sequences → whether forward wants the
            longest first.
        full_lengths: Those of `lengths` whose longest is known to be the number of steps.
        no_chunks: Why the graphs have no contexts, where they may need some.
        notes: For people.
        streaming: The hop of the graphs and the delays of their outputs.
        module_calls: What calls the user's module again and again, where forward changes it.
        bounds: The sizes of dynamic axes for which the sequence graph agrees with the model.
    """

    sequence: ir.Model
    step: ir.Model | None
    no_step: str
    states: tuple[StatePort, ...]
    origins: Origins
    module: nn.Module | None
    example: ExampleCall
    is_step: bool
    carry: bool
    constant_batch: int
    layers: Mapping[str, int]
    model_layers: tuple[Layer, ...]
    lengths: Mapping[str, bool]
    full_lengths: tuple[str, ...] = ()
    no_chunks: str = ""
    notes: tuple[str, ...] = ()
    bounds: Bounds = field(default_factory=Bounds)
    streaming: Streaming = field(default_factory=Streaming)
    module_calls: ModuleCalls | None = None

    @property
    def remembers(self) -> bool:
        """Whether the module keeps memory from call to call, which the graphs carry as states."""
        return self.module_calls is not None and self.module_calls.remembers

    @property
    def graphs(self) -> dict[str, ir.Model]:
        """`sequence` and, where there is one, `step` → the graph."""
        return {"sequence": self.sequence} | ({} if self.step is None else {"step": self.step})

    @property
    def ports(self) -> dict[str, Graph]:
        """The ports of each graph as the contract states them."""
        return {kind: graph_ports(model, self.origins) for kind, model in self.graphs.items()}

    @property
    def stacked_axes(self) -> dict[str, int] | None:
        """Path of each input and output of a model of one step → the axis that steps stack along.

        None for a model that takes whole sequences.
        """
        if not self.is_step:
            return None
        graph = self.ports["sequence"]
        return {
            port.origin: port.shape.index(SEQUENCE)
            for port in (*graph.inputs, *graph.outputs)
            if port.origin is not None and SEQUENCE in port.shape
        }
