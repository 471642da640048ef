"""The quality of a model on the user's data, in float32 and as an exported graph."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.contract import SEQUENCE
from edgernn.errors import InputError, ParityError
from edgernn.export.calibration.measures import measure, relative_loss
from edgernn.export.calibration.user_data import UserData
from edgernn.export.ir.onnx_session import Arrays
from edgernn.export.proof.chunked_comparison import run_chunks
from edgernn.export.proof.comparison_cases import ComparisonCase
from edgernn.export.proof.graph_function import GraphFunction, graph_function
from edgernn.export.proof.input_sampler import InputSampler
from edgernn.export.proof.port_adapter import PortAdapter
from edgernn.option_names import option
from edgernn.precision_report import Calibration

__all__ = ["check_loss", "measure_quality", "runs_in_steps"]

_LOG = logging.getLogger("edgernn.export")


def measure_quality(
    sampler: InputSampler, user: UserData, graphs: Mapping[str, str], adapter: PortAdapter
) -> Calibration:
    """Run the model and an exported graph on the user's data, and measure both.

    The step graph runs, each step from the states before it, where there is one and a sequence may
    be divided; else the sequence graph in one call.

    Args:
        sampler: The model.
        user: The data.
        graphs: `sequence` and, where there is one, `step` → the file.
        adapter: From the model's ports to those of the graphs.

    Raises:
        InputError: What is expected of an output does not fit it, or is not finite.
        ParityError: A graph fails on the data, or returns NaN where the model does not.
    """
    _LOG.info("running the calibration data")
    contract = sampler.contract
    before = sampler.run_reference(user.data, None).outputs
    kind = "step" if "step" in graphs and runs_in_steps(sampler) else "sequence"
    run = adapter.adapt(graph_function(kind, adapter.exported, graphs[kind]))
    after = _run(sampler, run, user, stepwise=kind == "step")
    measures = measure(
        contract, user, sampler.frames.axes, before, {name: after[name] for name in before}
    )
    if not np.isfinite([(one.before, one.after) for one in measures]).all():
        raise InputError(
            f"The {measures[0].name} on the calibration data ({user.source}) is NaN or infinite: "
            "what is expected of an output, or what the model itself gives, is not finite. Give "
            "finite numbers, or leave out what is expected."
        )
    loss = relative_loss(measures, user)
    return Calibration(user.source, kind, user.batch, user.steps, measures, loss)


def check_loss(calibration: Calibration | None, most: float | None) -> None:
    """Refuse a loss above what the user allows, in percent.

    Raises:
        ParityError: The loss is above it.
    """
    if calibration is None or most is None or calibration.loss <= most:
        return
    raise ParityError(
        f"The loss on the calibration data ({calibration.source}) is {calibration.loss:.2f} %, and "
        f"{option('max_loss')} is {most:g} %: {calibration.measures[0]}. Nothing was written. "
        f"Choose another {option('precision')}, or allow more."
    )


def runs_in_steps(sampler: InputSampler) -> bool:
    """Return whether steps, one after the other, give all outputs of a whole sequence."""
    contract, axes = sampler.contract, sampler.frames.axes
    ports = [port for port in contract.data_outputs("sequence") if port.name not in axes]
    merged = any(SEQUENCE in (axis or "") for port in ports for axis in port.axes)
    return contract.carry and contract.divisible and not contract.lengths and not merged


def _run(sampler: InputSampler, run: GraphFunction, user: UserData, stepwise: bool) -> Arrays:
    """Return the outputs of a graph over all steps, in one call or in calls of one hop."""
    frames = sampler.frames
    if not stepwise:
        states = sampler.initial_states(user.batch)
        return frames.of_graph(run(user.data, states).outputs, 0)
    case = ComparisonCase(user.sizes, user.data)
    lengths = [frames.hop] * (user.sizes[SEQUENCE] // frames.hop)
    parts: dict[str, list[NDArray[Any]]] = {}
    for _, result in run_chunks(sampler, run, case, lengths, stepwise=True):
        for name, array in frames.with_axis(result.outputs).items():
            kept = parts.setdefault(name, [])
            if name not in frames.axes:
                kept.clear()
            kept.append(array)
    joined = {
        name: np.concatenate(arrays, frames.axes[name]) if name in frames.axes else arrays[0]
        for name, arrays in parts.items()
    }
    return frames.of_graph(joined, 0)
