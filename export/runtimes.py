"""Which runtimes refuse a graph or misread it, and why.

`_RULES` is the whole knowledge: for every runtime its own list of forms that it cannot take. The
matrix (`tests/matrix`) holds it to account: a form on a runtime's list must really fail there in
the way that stands here, and every other form must run and give the right numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

__all__ = ["Finding", "all_nodes", "direction_of", "findings_of", "label", "refusals_of"]

Outcome = Literal["refuses", "aborts", "moves", "misreads"]

RECURRENT = ("LSTM", "GRU", "RNN")
_BIAS, _SEQUENCE_LENS, _INITIAL_H, _INITIAL_C = 3, 4, 5, 6
_DEFAULT_ACTIVATIONS = {"LSTM": "sigmoid tanh tanh", "GRU": "sigmoid tanh", "RNN": "tanh"}


@dataclass(frozen=True)
class Finding:
    """One thing in a graph that one runtime cannot take.

    Attributes:
        runtime: The name of the runtime.
        outcome: `refuses`: an error at loading or at the first run; `aborts`: the process ends;
            `moves`: right numbers, not from where they were asked for; `misreads`: it runs, and
            the numbers are wrong without any message.
        form: The name of the form, a key of `_FORMS`.
        where: The nodes concerned, such as "LSTM `encoder`, `decoder`", or the file.
        reason: What the runtime lacks.
    """

    runtime: str
    outcome: Outcome
    form: str
    where: str
    reason: str

    def __str__(self) -> str:
        return _SENTENCES[self.outcome].format(where=self.where, reason=self.reason)


_SENTENCES: Mapping[Outcome, str] = {
    "refuses": "It refuses {where}: {reason}.",
    "aborts": "It aborts the process on {where}: {reason}.",
    "moves": "It runs {where} on the CPU: {reason}.",
    "misreads": "It runs {where} with wrong numbers, silently: {reason}.",
}


def refusals_of(model: ir.Model) -> dict[str, str]:
    """Return the name of every runtime that cannot take `model` as it is, and why.

    A runtime that is missing from the answer has no known trouble with the graph.
    """
    refusals: dict[str, list[str]] = {}
    for finding in findings_of(model):
        refusals.setdefault(finding.runtime, []).append(str(finding))
    return {runtime: " ".join(sentences) for runtime, sentences in refusals.items()}


def findings_of(model: ir.Model) -> tuple[Finding, ...]:
    """Return everything in `model` that a runtime cannot take, by runtime as in `_RULES`."""
    present = {form: where for form, find in _FORMS.items() if (where := find(model))}
    return tuple(
        Finding(runtime, outcome, form, present[form], reason)
        for runtime, rules in _RULES.items()
        for form, (outcome, reason) in rules.items()
        if form in present
    )


# --- forms: what is looked for in a graph --------------------------------------------------------


def _nodes(holds: Callable[[ir.Node], bool]) -> Callable[[ir.Model], str]:
    """Return a search for nodes that says which were found, or nothing."""

    def find(model: ir.Model) -> str:
        found: dict[str, list[str]] = {}
        for node in all_nodes(model):
            if holds(node):
                found.setdefault(node.op_type, []).append(f"`{label(node)}`")
        return " and ".join(f"{op} {', '.join(names)}" for op, names in found.items())

    return find


def label(node: ir.Node) -> str:
    """Return the name of `node`, or that of its first output where it has none."""
    return node.name or next((value.name for value in node.outputs if value.name), "") or "?"


def all_nodes(model: ir.Model) -> Iterator[ir.Node]:
    """Yield the nodes of `model`, of the bodies in it and of its functions."""
    yield from model.graph.all_nodes()
    for function in model.functions.values():
        yield from function.all_nodes()


def _op(*ops: str) -> Callable[[ir.Node], bool]:
    return lambda node: node.domain == "" and node.op_type in ops


def _recurrent(holds: Callable[[ir.Node], bool], *kinds: str) -> Callable[[ir.Node], bool]:
    is_kind = _op(*(kinds or RECURRENT))
    return lambda node: is_kind(node) and holds(node)


def has_input(node: ir.Node, place: int) -> bool:
    """Return whether input `place` of `node` is given."""
    return len(node.inputs) > place and node.inputs[place] is not None


def _lacks_initial_state(node: ir.Node) -> bool:
    places = (_INITIAL_H, _INITIAL_C) if node.op_type == "LSTM" else (_INITIAL_H,)
    return not all(has_input(node, place) for place in places)


def _batch_is_dynamic(node: ir.Node) -> bool:
    value = node.inputs[0]
    if value is None or value.shape is None or len(value.shape) != 3:
        return True
    return not isinstance(value.shape[1 - node.attributes.get_int("layout", 0)], int)


def direction_of(node: ir.Node) -> str:
    """Return `forward`, `reverse` or `bidirectional`."""
    return node.attributes.get_string("direction", "forward")


def _activations(node: ir.Node) -> list[str]:
    given = node.attributes.get_strings("activations", ())
    return [name.lower() for name in given] or _DEFAULT_ACTIVATIONS[node.op_type].split()


def _names_activations(node: ir.Node) -> bool:
    return "activations" in node.attributes


def _has_other_activations(node: ir.Node) -> bool:
    default = _DEFAULT_ACTIVATIONS[node.op_type].split()
    directions = 2 if direction_of(node) == "bidirectional" else 1
    return _activations(node) not in (default, default * directions)


def _differs_by_direction(node: ir.Node) -> bool:
    names = _activations(node)
    if direction_of(node) != "bidirectional" or not _names_activations(node):
        return False
    half = len(names) // 2
    return names[:half] != names[half:]


def _is_float64(node: ir.Node) -> bool:
    weights = node.inputs[1]
    return weights is not None and weights.dtype == ir.DataType.DOUBLE


_FORMS: Mapping[str, Callable[[ir.Model], str]] = {
    "sequence_lens": _nodes(_recurrent(lambda node: has_input(node, _SEQUENCE_LENS))),
    "reverse": _nodes(_recurrent(lambda node: direction_of(node) == "reverse")),
    "layout=1": _nodes(_recurrent(lambda node: node.attributes.get_int("layout", 0) == 1)),
    "no LSTM bias": _nodes(_recurrent(lambda node: not has_input(node, _BIAS), "LSTM")),
    "no initial state": _nodes(
        _recurrent(lambda node: _lacks_initial_state(node) and _batch_is_dynamic(node))
    ),
    "no GRU initial state": _nodes(
        _recurrent(lambda node: _lacks_initial_state(node) and _batch_is_dynamic(node), "GRU")
    ),
    "linear_before_reset=0": _nodes(
        _recurrent(lambda node: node.attributes.get_int("linear_before_reset", 0) == 0, "GRU")
    ),
    "clip": _nodes(_recurrent(lambda node: "clip" in node.attributes)),
    "LSTM or GRU clip": _nodes(_recurrent(lambda node: "clip" in node.attributes, "LSTM", "GRU")),
    "input_forget": _nodes(
        _recurrent(lambda node: node.attributes.get_int("input_forget", 0) == 1, "LSTM")
    ),
    "activations": _nodes(_recurrent(_has_other_activations)),
    "LSTM activations": _nodes(_recurrent(_has_other_activations, "LSTM")),
    "GRU activations named": _nodes(
        _recurrent(lambda node: "activations" in node.attributes, "GRU")
    ),
    "directions differ": _nodes(_recurrent(_differs_by_direction)),
    "LSTM, GRU or RNN in float64": _nodes(_recurrent(_is_float64)),
    "LSTM or GRU in float64": _nodes(_recurrent(_is_float64, "LSTM", "GRU")),
    "LSTM in float64": _nodes(_recurrent(_is_float64, "LSTM")),
    "GRU in float64": _nodes(_recurrent(_is_float64, "GRU")),
    "RNN": _nodes(_op("RNN")),
    "Scan": _nodes(_op("Scan")),
    "Loop": _nodes(_op("Loop")),
    "If": _nodes(_op("If")),
    "com.microsoft": _nodes(lambda node: node.domain == "com.microsoft"),
    "IR version": lambda model: f"IR version {model.ir_version}" if model.ir_version > 13 else "",
}

# --- rules: what each runtime cannot take --------------------------------------------------------

_RULES: Mapping[str, Mapping[str, tuple[Outcome, str]]] = {
    "ONNX Runtime": {
        "layout=1": ("refuses", "it has `layout=0` only"),
        "LSTM, GRU or RNN in float64": ("refuses", "it has them in float32 and float16 only"),
        "IR version": ("refuses", "version 1.31 reads up to 13"),
    },
    "ONNX Runtime with CUDA": {
        "activations": ("moves", "cuDNN has the default activations only"),
        "clip": ("moves", "cuDNN has no `clip`"),
        "linear_before_reset=0": ("moves", "cuDNN has `linear_before_reset=1` only"),
    },
    "ONNX Runtime Web with WebGPU": {
        "RNN": ("moves", "WebGPU has LSTM and GRU only"),
        "Scan": ("moves", "WebGPU has no Scan"),
        "Loop": ("moves", "WebGPU has no Loop"),
    },
    "OpenVINO": {
        "sequence_lens": ("misreads", "it ignores `sequence_lens` where axes are dynamic"),
        "layout=1": ("misreads", "its outputs come in another layout"),
        "input_forget": ("misreads", "it ignores `input_forget`"),
    },
    "tract": {
        "sequence_lens": ("refuses", "it has no `sequence_lens`"),
        "reverse": ("misreads", "it runs a single reverse direction forward"),
        "no initial state": ("aborts", "it needs initial states where the batch is dynamic"),
        "activations": ("misreads", "it always takes the default activations"),
        "clip": ("misreads", "it ignores `clip`"),
        "input_forget": ("misreads", "it ignores `input_forget`"),
        "LSTM or GRU in float64": ("refuses", "it has them in float32 and float16 only"),
        "Loop": ("refuses", "it has no Loop"),
        "com.microsoft": ("refuses", "it does not know the domain com.microsoft"),
    },
    "OpenCV": {
        "sequence_lens": ("misreads", "it ignores `sequence_lens`"),
        "reverse": ("misreads", "it runs a single reverse direction forward"),
        "layout=1": ("refuses", "it has `layout=0` only"),
        "no LSTM bias": ("refuses", "it needs a bias"),
        "no GRU initial state": ("refuses", "it needs initial states where the batch is dynamic"),
        "LSTM activations": ("refuses", "it has the default activations only"),
        "GRU activations named": (
            "refuses",
            "its GRU takes no `activations`, be they the default",
        ),
        "LSTM or GRU clip": ("misreads", "it ignores `clip`"),
        "input_forget": ("misreads", "it ignores `input_forget`"),
        "LSTM in float64": ("misreads", "it has them in float32 and float16 only"),
        "GRU in float64": ("refuses", "it has them in float32 and float16 only"),
        "RNN": ("refuses", "it has LSTM and GRU only"),
        "Scan": ("refuses", "it has no Scan"),
        "Loop": ("refuses", "it counts steps in an array, which gives a step one axis too many"),
        "com.microsoft": ("refuses", "it does not know the domain com.microsoft"),
    },
    "TensorRT": {
        "sequence_lens": ("refuses", "it has no `sequence_lens`"),
        "layout=1": ("refuses", "it has `layout=0` only"),
        "directions differ": ("refuses", "both directions must have the same activations"),
        "If": ("refuses", "both branches of its If must have the same shapes"),
    },
}
