"""The golden run of an artifact, replayed whole, by steps and by chunks."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.artifact import Artifact
from edgernn.contract import BATCH, SEQUENCE, Contract
from edgernn.errors import ContractError, ParityError
from edgernn.join_chunks import take_steps
from edgernn.report import Check, ParityReport, scaled_difference
from edgernn.runtime.golden_arrays import GoldenArrays
from edgernn.runtime.model import Model
from edgernn.runtime.port_axes import input_axes, output_axes

__all__ = ["exported_tolerance", "golden_report", "median_step_time", "replay", "require_passed"]

Arrays = dict[str, NDArray[Any]]

_WARM_UP = 50
_BUDGET_S = 0.1


class _GoldenRun:
    """The recorded arrays of one artifact, by port."""

    def __init__(self, model: Model) -> None:
        self.contract = model.contract
        recorded = GoldenArrays(_artifact(model))
        self._input_axes = input_axes(self.contract)
        self.output_axes = output_axes(self.contract)
        graph = next(iter(self.contract.graphs.values()))
        ports = self.contract.state_ports
        self.inputs = {name: recorded.read(axis.port) for name, axis in self._input_axes.items()}
        self.initial = {name: recorded.read(port) for name, port in ports.items()}
        self.final = {s.name: recorded.read(graph.output(s.output)) for s in self.contract.states}
        self.outputs = {
            name: recorded.read(axis.port, may_be_last=self.contract.sequence is None)
            for name, axis in self.output_axes.items()
        }
        steps = [
            self.inputs[name].shape[axis.sequence]
            for name, axis in self._input_axes.items()
            if axis.sequence is not None
        ]
        self.steps = max(steps, default=1)
        batches = (
            self.initial[name].shape[ports[name].axes.index(BATCH)]
            for name in ports
            if BATCH in ports[name].axes
        )
        self.batch = next(batches, 1)

    def chunk(self, start: int, stop: int) -> Arrays:
        return {
            name: self._input_axes[name].slice_steps(array, start, stop)
            for name, array in self.inputs.items()
            if name not in self.contract.lengths
        }

    def step(self, t: int) -> Arrays:
        chunk = self.chunk(t, t + self.contract.hop)
        return {name: self._input_axes[name].to_step(array) for name, array in chunk.items()}

    def join(self, parts: list[Arrays]) -> Arrays:
        return {
            name: self.output_axes[name].join_chunks([part[name] for part in parts], self.batch)
            for name in parts[0]
        }

    def check(self, name: str, graph: str, outputs: Arrays, state: Mapping[str, Any]) -> Check:
        pairs = [
            (self._defined(port, outputs[port], array), self._defined(port, array, array))
            for port, array in self.outputs.items()
        ]
        pairs += [(state[port], array) for port, array in self.final.items()]
        largest = max(scaled_difference(got, expected) for got, expected in pairs)
        return Check(
            name=name,
            graph=graph,
            batch=self.batch,
            sequence=self.steps,
            initial=self._initial_kind(),
            difference=largest,
        )

    def _defined(self, name: str, array: NDArray[Any], recorded: NDArray[Any]) -> NDArray[Any]:
        """Return the steps of an output that are recorded, and are defined in a new stream."""
        delay, port = self.contract.delays.get(name, 0), self.output_axes[name].port
        axis = self.output_axes[name].sequence
        if axis is not None and recorded.ndim < len(port.shape):
            return array.take(-1, axis) if array.ndim > recorded.ndim else array
        if not delay or axis is None:
            return array
        hops = self.steps // self.contract.hop
        stop = hops * self.contract.steps_per_hop(name)
        if stop <= delay:
            raise ContractError(
                f"The golden run has {stop} steps of `{name}`, and the first {delay} are not "
                "defined. Export the model again."
            )
        return take_steps(port, array, delay, stop, self.batch)

    def _initial_kind(self) -> str:
        if not any(array.any() for array in self.initial.values()):
            return "zero"
        learned = all(
            np.array_equal(self.initial[state.name], self.contract.initial(state, self.batch))
            for state in self.contract.states
        )
        return "learned" if learned else "random"


def replay(model: Model) -> tuple[Check, ...]:
    """Replay the golden run in every way that the model can run, and compare with its arrays.

    `whole` is one call, `steps` one call per time step or hop through the step graph where there is
    one, `chunks` calls of 1, 2, 3, … steps or hops, or of the constant number that the sequence
    graph takes. A model that gives other numbers in other chunks is replayed whole only. Steps of
    an output that are not defined in a new stream are not compared.

    Raises:
        ContractError: The model is a single graph, or its recorded run cannot be read.
    """
    golden = _GoldenRun(model)
    contract = model.contract
    size = _constant_steps(contract)
    checks = []
    if contract.sequence and size in (None, golden.steps):
        result = model.run(golden.inputs, golden.initial)
        checks.append(golden.check("whole", "sequence", result.outputs, result.state))
    in_parts = contract.carry and contract.divisible
    if in_parts and (contract.step or size in (None, contract.hop)):
        checks.append(_by_steps(model, golden))
    if in_parts and contract.sequence:
        checks.append(_by_chunks(model, golden, size))
    return tuple(checks)


def golden_report(model: Model) -> ParityReport:
    """Return the checks of `replay` with the tolerance of the artifact's export, or of its forms.

    Raises:
        ContractError: The model is a single graph, or its recorded run cannot be read.
    """
    artifact = _artifact(model)
    tuned = (artifact.tolerance_of(form) for form in artifact.forms if artifact.tuned)
    tolerance = max((exported_tolerance(artifact), *tuned))
    return ParityReport("the golden run", tolerance, replay(model))


def exported_tolerance(artifact: Artifact) -> float:
    """Return the largest difference from the golden run that passes for the portable graphs."""
    if artifact.parity is None:
        return artifact.tolerance
    checks = artifact.parity.checks
    recorded = [artifact.parity.allowed(one) for one in checks if one.name == "golden"]
    return max(recorded, default=artifact.parity.tolerance)


def require_passed(report: ParityReport) -> None:
    """Check that every check passed.

    Raises:
        ParityError: One exceeds its tolerance, or there is none.
    """
    if not report.checks:
        raise ParityError(f"Nothing could be compared with {report.reference}.")
    check = report.first_failure
    if check is not None:
        raise ParityError(
            f"`{check.name}` through the {check.graph} graph differs from {report.reference} "
            f"by {check.difference:.1e} at batch {check.batch}, sequence {check.sequence}; at "
            f"most {report.allowed(check):.1e} passes. Export the model again."
        )


def median_step_time(model: Model) -> float | None:
    """Return the median time of one step of the golden run in seconds.

    None for a model whose state cannot be carried on, or whose steps are not those of a sequence.
    """
    contract = model.contract
    in_parts = contract.carry and contract.divisible
    if not in_parts or not (contract.step or _constant_steps(contract) in (None, contract.hop)):
        return None
    golden = _GoldenRun(model)
    stream = model.stream(golden.batch)
    starts = range(0, golden.steps, contract.hop)
    steps = itertools.cycle([[*golden.step(t).values()] for t in starts])
    for inputs in itertools.islice(steps, _WARM_UP):
        stream.step(*inputs)
    times: list[float] = []
    end = time.perf_counter() + _BUDGET_S
    while not times or time.perf_counter() < end:
        inputs = next(steps)
        start = time.perf_counter()
        stream.step(*inputs)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _by_steps(model: Model, golden: _GoldenRun) -> Check:
    axes = golden.output_axes
    stream = model.stream(golden.batch)
    stream.restore(golden.initial)
    parts: list[Arrays] = []
    for t in range(0, golden.steps, golden.contract.hop):
        outputs = stream.step(**golden.step(t))
        table = outputs if isinstance(outputs, dict) else {next(iter(axes)): outputs}
        parts.append({name: axes[name].from_step(array) for name, array in table.items()})
    graph = "step" if golden.contract.step else "sequence"
    return golden.check("steps", graph, golden.join(parts), stream.snapshot())


def _by_chunks(model: Model, golden: _GoldenRun, size: int | None) -> Check:
    parts: list[Arrays] = []
    state: Mapping[str, NDArray[Any]] = golden.initial
    for start, stop in _chunk_bounds(golden.steps, size, golden.contract.hop):
        result = model.run(golden.chunk(start, stop), state)
        parts.append(result.outputs)
        state = result.state
    return golden.check("chunks", "sequence", golden.join(parts), state)


def _chunk_bounds(steps: int, size: int | None, hop: int) -> Iterator[tuple[int, int]]:
    """Yield chunks of 1, 2, 3, … hops, or of `size` steps, as (start, stop)."""
    lengths = itertools.count(hop, hop) if size is None else itertools.repeat(size)
    starts = itertools.takewhile(
        lambda start: start < steps, itertools.accumulate(lengths, initial=0)
    )
    return itertools.pairwise([*starts, steps])


def _constant_steps(contract: Contract) -> int | None:
    """Return the number of steps that the sequence graph takes, or None where it takes any."""
    return contract.constants.get(SEQUENCE) if contract.sequence else None


def _artifact(model: Model) -> Artifact:
    if model.artifact is None:
        raise ContractError(
            f"`{model.contract.source}` was loaded from a single graph, which carries no golden "
            "run. Load the whole artifact."
        )
    return model.artifact
