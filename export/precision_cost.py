"""What a precision costs: in notes for people, and as a report."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from edgernn.export.analysis.stored_weights import stored_weights
from edgernn.precision_report import Calibration, ChainedRun, PrecisionReport
from edgernn.report import ParityReport

__all__ = ["precision_notes", "precision_report"]

_NOTES = {
    "float16": "Weights, states, real inputs and outputs are float16.",
    "int4": (
        "Weights are int4 in blocks, tables int8. The graphs need ONNX Runtime: MatMulNBits and "
        "GatherBlockQuantized are of its domain com.microsoft. Layers of the sequence graph that "
        "are faster as LSTM, GRU and RNN compute in float32 with the same weights."
    ),
    "int8": (
        "Weights are int8, multiplied in integers that saturate on no CPU, with one scale for each "
        "row or a constant one; layers of the sequence graph that are faster as LSTM, GRU and RNN "
        "compute in float32 with them. A state is taken within ±1."
    ),
}


def precision_notes(precision: str, report: ParityReport | None) -> tuple[str, ...]:
    """Return what people should know of a precision, with what it costs if measured."""
    if precision not in _NOTES:
        return ()
    if report is None:
        return (_NOTES[precision],)
    worst: dict[str, float] = {}
    for check in report.checks:
        worst[check.graph] = max(check.difference, worst.get(check.graph, 0.0))
    graphs = " and ".join(f"{gap:.1e} in the {kind} graph" for kind, gap in worst.items())
    steps = max((check.sequence for check in report.checks), default=0)
    return (
        f"{_NOTES[precision]} Parity is with float32: the difference is at most {graphs}, over up "
        f"to {steps:,} steps.",
    )


def precision_report(
    precision: str,
    graphs: Mapping[str, ir.Model],
    report: ParityReport | None,
    calibration: Calibration | None,
) -> PrecisionReport | None:
    """Return how the weights of graphs are stored and what that costs, if there is anything to say.

    Args:
        precision: `float32`, `float16`, `int8` or `int4`.
        graphs: `sequence` and `step` → the finished graph.
        report: The parity with the model; None where it was not proven.
        calibration: The quality on the user's data; None where none were given.
    """
    if precision == "float32" and calibration is None:
        return None
    return PrecisionReport(
        precision,
        {
            kind: stored_weights(model, precision.startswith("int"))
            for kind, model in graphs.items()
        },
        () if report is None else _chained_runs(report),
        calibration,
    )


def _chained_runs(report: ParityReport) -> tuple[ChainedRun, ...]:
    """Return the longest run of each graph, each chunk or step from the states before it."""
    runs = [check for check in report.checks if check.name in ("drift", "steps", "chunks")]
    longest = {check.graph: check for check in sorted(runs, key=lambda check: check.sequence)}
    return tuple(
        ChainedRun(graph, check.sequence, check.difference) for graph, check in longest.items()
    )
