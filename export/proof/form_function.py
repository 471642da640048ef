"""A form of a graph as a function of the ports of the portable graph."""

from __future__ import annotations

import numpy as np

from edgernn.contract import Contract, Graph
from edgernn.export.ir.onnx_session import Arrays
from edgernn.export.proof.graph_function import GraphFunction, graph_function
from edgernn.export.proof.reference import RunResult
from edgernn.forms import unit_axes

__all__ = ["form_function"]


def form_function(kind: str, contract: Contract, ports: Graph, file: str) -> GraphFunction:
    """Return a form as a function of what the portable graph takes and returns.

    Args:
        kind: The portable graph, `sequence` or `step`.
        contract: Its contract.
        ports: The ports of the form, with its additional axes of size 1.
        file: The form's file.
    """
    portable = contract.graphs[kind]
    added = {
        port.name: unit_axes(port, form.shape) or ()
        for role in ("input", "output")
        for form in getattr(ports, f"{role}s")
        for port in [getattr(portable, role)(form.name)]
    }
    run = graph_function(kind, contract, file)

    def function(data: Arrays, states: Arrays) -> RunResult:
        given = {name: np.expand_dims(array, added[name]) for name, array in data.items()}
        outputs, final = run(given, states)
        return RunResult(
            {name: np.squeeze(array, added[name]) for name, array in outputs.items()}, final
        )

    return function
