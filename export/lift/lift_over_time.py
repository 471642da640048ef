"""Lift a step graph over time: from one step to a sequence of any length.

    step graph                       x_t, h_in → LSTM → y_t, h_out
    sequence graph, `operator`       x, h_in   → LSTM over all steps → y, h_out
    sequence graph, `scan`           x, h_in   → Scan of the step → y, h_out

Where the recurrent nodes are layers, each of which starts a step with the state that it ended the
step before with, the ONNX operator runs over the whole sequence. Otherwise what passes from step to
step becomes the body of an ONNX Scan. Everything else runs on all steps at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import onnx_ir as ir

from edgernn.export.ir.shapes import refine_shapes
from edgernn.export.lift.batching_rules import MixedBatchError
from edgernn.export.lift.operator_form import operator_form
from edgernn.export.lift.scan_form import scan_form
from edgernn.export.lift.state_flow import ChangedStateError
from edgernn.export.lift.step_graph import StepGraph
from edgernn.export.step.at_one_step import gemm_form
from edgernn.export.step.products import separate_products

__all__ = ["LiftedGraph", "lift_over_time"]


@dataclass(frozen=True)
class LiftedGraph:
    """A sequence graph made from a step graph, its form, and why it is not the operator form."""

    model: ir.Model
    form: Literal["operator", "scan"]
    reason: str = ""


def lift_over_time(
    model: ir.Model,
    states: Sequence[tuple[str, str]],
    *,
    sequence_axes: Mapping[str, int] | None = None,
    constants: Collection[str] = (),
) -> LiftedGraph:
    """Return the sequence graph of a step graph.

    Every data input and every data output gets an axis named `sequence`. States keep their shapes.

    Args:
        model: A graph of opset 18 whose data ports have no sequence axis; it is not changed.
        states: Pairs of a state's input port and output port.
        sequence_axes: The place of the new axis in a port's new shape, by the port's name. By
            default it comes after the batch axis, or first where there is none.
        constants: Names of inputs that are the same at all steps; they keep their shapes.

    Raises:
        UnsupportedModelError: A port does not exist or has an unknown shape, or the graph holds
            something that has no one-step form.
    """
    step_graph = partial(
        StepGraph, states=states, sequence_axes=sequence_axes or {}, constants=constants
    )
    try:
        return LiftedGraph(operator_form(step_graph(model)), "operator")
    except (MixedBatchError, ChangedStateError) as reason:
        model = model.clone()
        refine_shapes(model)
        separate_products(model.graph, {before for before, _ in states})
        return LiftedGraph(scan_form(step_graph(gemm_form(model))), "scan", str(reason))
