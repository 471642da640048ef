"""Which runtimes refuse a graph or return wrong numbers for it, and why.

`_RULES` lists for every runtime the patterns that it cannot run. `tests/matrix` runs them: a listed
pattern must fail as listed, and every other must return the right numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from edgernn.export.analysis.graph_patterns import find_patterns

__all__ = ["RuntimeIssue", "refusals_of", "runtime_issues"]

Effect = Literal["refuses", "aborts", "moves", "misreads"]


@dataclass(frozen=True)
class RuntimeIssue:
    """One pattern in a graph that one runtime cannot run.

    Attributes:
        runtime: The name of the runtime.
        effect: `refuses`: an error at loading or at the first run; `aborts`: the process ends;
            `moves`: right numbers, but computed on the CPU; `misreads`: it runs, and the numbers
            are wrong without any message.
        pattern: The name of the pattern; see `find_patterns`.
        where: The nodes concerned, such as "LSTM `encoder`, `decoder`", or the file.
        reason: What the runtime lacks.
    """

    runtime: str
    effect: Effect
    pattern: str
    where: str
    reason: str

    def __str__(self) -> str:
        return _SENTENCES[self.effect].format(where=self.where, reason=self.reason)


_SENTENCES: Mapping[Effect, str] = {
    "refuses": "It refuses {where}: {reason}.",
    "aborts": "It aborts the process on {where}: {reason}.",
    "moves": "It runs {where} on the CPU: {reason}.",
    "misreads": "It runs {where} with wrong numbers, silently: {reason}.",
}


def refusals_of(model: ir.Model) -> dict[str, str]:
    """Return every runtime that cannot run `model` as it is: its name → why."""
    refusals: dict[str, list[str]] = {}
    for issue in runtime_issues(model):
        refusals.setdefault(issue.runtime, []).append(str(issue))
    return {runtime: " ".join(sentences) for runtime, sentences in refusals.items()}


def runtime_issues(model: ir.Model) -> tuple[RuntimeIssue, ...]:
    """Return all known issues of runtimes with `model`, in the order of `_RULES`."""
    patterns = find_patterns(model)
    return tuple(
        RuntimeIssue(runtime, effect, pattern, patterns[pattern], reason)
        for runtime, rules in _RULES.items()
        for pattern, (effect, reason) in rules.items()
        if pattern in patterns
    )


_RULES: Mapping[str, Mapping[str, tuple[Effect, str]]] = {
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
        "sequence_lens, dynamic": ("misreads", "it ignores `sequence_lens` where axes are dynamic"),
        "layout=1": ("misreads", "its outputs come in another layout"),
        "input_forget": ("misreads", "it ignores `input_forget`"),
        "unpacked weights": ("refuses", "it takes no weights that are unpacked from int4"),
        "int8 weights beside QuantizeLinear": (
            "refuses",
            "where a graph has QuantizeLinear, it takes no int8 weights of LSTM and GRU",
        ),
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
        "com.microsoft, but MatMulNBits of 4 bits": (
            "refuses",
            "of the domain com.microsoft, it has MatMulNBits of 4 bits only",
        ),
    },
    "OpenCV": {
        "sequence_lens": ("misreads", "it ignores `sequence_lens`"),
        "reverse": ("misreads", "it runs a single reverse direction forward"),
        "layout=1": ("refuses", "it has `layout=0` only"),
        "no LSTM bias": ("refuses", "it needs a bias"),
        "no GRU initial state": ("refuses", "it needs initial states where the batch is dynamic"),
        "LSTM activations": ("refuses", "it has the default activations only"),
        "GRU activations named": ("refuses", "its GRU takes no `activations`, be they the default"),
        "LSTM or GRU clip": ("misreads", "it ignores `clip`"),
        "input_forget": ("misreads", "it ignores `input_forget`"),
        "LSTM in float64": ("misreads", "it has them in float32 and float16 only"),
        "GRU in float64": ("refuses", "it has them in float32 and float16 only"),
        "RNN": ("refuses", "it has LSTM and GRU only"),
        "Scan": ("refuses", "it has no Scan"),
        "GELU, halved first": ("aborts", "it looks for GELU and does not take this order of it"),
        "MatMulInteger": ("refuses", "it has no MatMulInteger"),
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
