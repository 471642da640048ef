"""Whether a forward is one step or takes whole sequences, and why some have no step graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from edgernn.contract import SEQUENCE
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import ForwardRun
from edgernn.export.ir.call_nodes import call_nodes
from edgernn.export.lower.loops import Iteration
from edgernn.export.states.state_port import StatePort

__all__ = ["constant_steps", "has_sequence", "longest_call", "looks_ahead", "loops_from_own_state"]


def has_sequence(example: ExampleCall) -> bool:
    """Return whether an input has an axis of steps."""
    return any(SEQUENCE in shape for shape in example.shapes.values())


def longest_call(run: ForwardRun) -> int:
    """Return the most steps that a layer runs in one call."""
    return max((call.sizes[0] for call in run.calls), default=1)


def loops_from_own_state(run: ForwardRun, states: Sequence[StatePort]) -> bool:
    """Return whether forward calls a cell several times from a state that it makes itself.

    Then a call of forward is all steps of a sequence, not one of them.
    """
    layers = [call.layer for call in run.calls]
    own = (one.call for one in states if one.argument is None and one.call is not None)
    return any(sum(one is layers[call] for one in layers) > 1 for call in own)


def constant_steps(run: ForwardRun, states: Sequence[StatePort]) -> str:
    """Say why a forward without an axis of steps, which runs several, has no step graph."""
    if loops_from_own_state(run, states):
        return (
            "forward loops over a constant number of steps, from a state of its own at every call."
        )
    return f"forward fixes its sequences to {longest_call(run)} steps."


def looks_ahead(graph: ir.Graph, loops: Mapping[int, Iteration], example: ExampleCall) -> str:
    """Say why no state can be carried from chunk to chunk; nothing where one can.

    Args:
        graph: The trace of the model.
        loops: Its loops by the places of their calls.
        example: The call that was traced.
    """
    return _backward(graph, loops) or _several_entries(example)


def _backward(graph: ir.Graph, loops: Mapping[int, Iteration]) -> str:
    """Say what runs from the last step of the sequence to the first."""
    for node in call_nodes(graph):
        loop = loops.get(node.attributes["call"].as_int())
        if loop is not None:
            if loop.loop.backward and loop.loop.along == SEQUENCE:
                return "forward loops from the last step of the sequence to the first."
        elif node.attributes["bidirectional"].as_int() and _runs_along_sequence(node):
            return (
                f"layer `{node.metadata_props['layer']}` is bidirectional: its backward direction "
                "starts from the last step of the sequence."
            )
    return ""


def _several_entries(example: ExampleCall) -> str:
    """Say which input has several entries for every step."""
    for (path, _), size in example.derived_axes.items():
        if SEQUENCE in size:
            return (
                f"`{path}` has `{size}` entries where others have `{SEQUENCE}`: a step of it is "
                "not one entry."
            )
    return ""


def _runs_along_sequence(node: ir.Node) -> bool:
    """Return whether a layer's own steps are the sequence, or may be."""
    x = node.inputs[0]
    if x is None or x.shape is None:
        return True
    size = x.shape[1 if node.attributes["batch_first"].as_int() else 0]
    return isinstance(size, ir.SymbolicDim) and (size.value is None or SEQUENCE in size.value)
