"""Which runtimes refuse a graph or misread it, and why.

`_RULES` is the whole knowledge: for every runtime its own list of forms that it cannot take. The
matrix (`tests/matrix`) holds it to account: a form on a runtime's list must really fail there in
the way that stands here, and every other form must run and give the right numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from edgernn.export.analysis.patterns import FORMS

__all__ = ["Finding", "findings_of", "refusals_of"]

Outcome = Literal["refuses", "aborts", "moves", "misreads"]


@dataclass(frozen=True)
class Finding:
    """One thing in a graph that one runtime cannot take.

    Attributes:
        runtime: The name of the runtime.
        outcome: `refuses`: an error at loading or at the first run; `aborts`: the process ends;
            `moves`: right numbers, not from where they were asked for; `misreads`: it runs, and
            the numbers are wrong without any message.
        form: The name of the form, a key of `forms.FORMS`.
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
    present = {form: where for form, find in FORMS.items() if (where := find(model))}
    return tuple(
        Finding(runtime, outcome, form, present[form], reason)
        for runtime, rules in _RULES.items()
        for form, (outcome, reason) in rules.items()
        if form in present
    )


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
        "sequence_lens, dynamic": (
            "misreads",
            "it ignores `sequence_lens` where axes are dynamic",
        ),
        "layout=1": ("misreads", "its outputs come in another layout"),
        "input_forget": ("misreads", "it ignores `input_forget`"),
    },
    "tract": {
        "sequence_lens": ("refuses", "it has no `sequence_lens`"),
        "reverse": ("misreads", "it runs a single reverse direction forward"),
        "no initial state": ("aborts", "it needs initial states where the batch is dynamic"),
        "no LSTM initial state, fixed batch": (
            "refuses",
            "it needs initial states where the batch is above 1",
        ),
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
        "GELU, halved first": ("aborts", "it looks for GELU and does not take this order of it"),
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
