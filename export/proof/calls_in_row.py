"""A graph call after call, its states carried on, beside the user's module called the same way.

graph      state → x[0] → y[0], state → x[1] → y[1], state → …
module             x[0] → y[0]          x[1] → y[1]          …     remembers by itself
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgernn.contract import SEQUENCE
from edgernn.export.ir.onnx_session import Arrays
from edgernn.export.proof.comparison_cases import LONGEST, ComparisonCases
from edgernn.export.proof.difference import Comparison
from edgernn.export.proof.graph_function import GraphFunction, feature_ports
from edgernn.export.proof.input_sampler import InputSampler
from edgernn.export.proof.module_calls import ModuleCalls
from edgernn.export.states.state_port import StatePort

__all__ = ["ROWS", "CallsInRow", "call_plan"]

ROWS = 3
"""The rows of calls in which a graph is compared."""

_FEW_CALLS = 24
_LONGEST_CHUNK = 80


def call_plan(kind: str, cases: ComparisonCases) -> Iterator[tuple[int, Sequence[int]]]:
    """Yield the batch and the steps of each call of the `ROWS` in which a graph is compared.

    The last row has 1,000 steps or a little more.
    """
    rng = cases.sampler.rng
    few = rng.integers(1, 9, _FEW_CALLS).tolist()
    many = rng.integers(1, _LONGEST_CHUNK, 4 * LONGEST // _LONGEST_CHUNK).tolist()
    while sum(many[:-1]) >= LONGEST:
        many.pop()
    if kind == "step":
        few, many = [1] * _FEW_CALLS, [1] * LONGEST
    else:
        few, many = (list(map(cases.call_steps, row)) for row in (few, many))
    for batch, lengths in ((1, few), (3, few), (1, many)):
        yield cases.allowed_batch(batch), lengths


@dataclass(frozen=True)
class CallsInRow:
    """Compares graphs with a module that keeps memory from call to call.

    Attributes:
        sampler: The ports and the data.
        calls: The module.
        states: The states; of those that forward takes as arguments, the module's results go back
            in. One that it does not return starts anew at every call, of the graph too; so do all
            others where the module does not remember.
        step_axes: Where forward is one step, path of an input or output → the axis of steps.
    """

    sampler: InputSampler
    calls: ModuleCalls
    states: Sequence[StatePort]
    step_axes: Mapping[str, int] | None

    def compare(
        self, kind: str, run: GraphFunction, batch: int, lengths: Sequence[int]
    ) -> tuple[Comparison, Callable[[str], float]]:
        """Compare the outputs of calls with chunks of some lengths, from the initial state.

        Returns:
            The comparison with the module; and from the name of a port to the error of the module
            in float32 there, 0 where it does not run in float64.
        """
        drawn = [self.sampler.draw_data(self.sampler.sizes_at(batch, n)) for n in lengths]
        data, expected = self._with_random_flags(batch, drawn)
        comparison = Comparison(feature_ports(self.sampler.contract))
        for got, wanted in zip(self._run(kind, run, batch, data), expected, strict=True):
            comparison.add(got, {name: array for name, array in wanted.items() if name in got})
        return comparison, lambda port: self._rounding(port, batch, data, expected)

    def _with_random_flags(
        self, batch: int, data: Sequence[Arrays]
    ) -> tuple[Sequence[Arrays], Sequence[Arrays]]:
        """Return the data with random flags, and what the module returns for each call.

        Flags stay those of the example where the module fails on others, or returns NaN, as for a
        mask that leaves nothing.
        """
        rng = self.sampler.rng
        flagged = [
            {n: rng.random(a.shape) < 0.5 if a.dtype == bool else a for n, a in one.items()}
            for one in data
        ]
        if any(array.dtype == bool for one in data for array in one.values()):
            with contextlib.suppress(Exception):
                expected = list(self._outputs(self.calls, batch, flagged))
                if not any(np.isnan(a).any() for one in expected for a in one.values()):
                    return flagged, expected
        return data, list(self._outputs(self.calls, batch, data))

    @property
    def _arguments(self) -> list[StatePort]:
        """The states that forward takes as arguments."""
        return [one for one in self.states if one.argument is not None and not one.memory]

    def _outputs(self, calls: ModuleCalls, batch: int, data: Sequence[Arrays]) -> Iterator[Arrays]:
        """Yield what the module returns for each call, by port."""
        ports = {
            port.name: port.origin or "" for port in self.sampler.contract.data_outputs("sequence")
        }
        inputs = (self.sampler.inputs_by_path(one) for one in data)
        initial = self.sampler.initial_states(batch)
        states = {one.argument or "": initial[one.name] for one in self._arguments}
        results = {
            one.argument or "": one.result for one in self._arguments if one.result is not None
        }
        for outputs in calls(inputs, states, results, self.step_axes):
            by_port = {name: outputs[path] for name, path in ports.items() if path in outputs}
            yield self.sampler.frames.of_reference(by_port)

    def _run(
        self, kind: str, run: GraphFunction, batch: int, data: Sequence[Arrays]
    ) -> Iterator[Arrays]:
        """Yield what the graph returns for each call; of the step graph with an axis of steps."""
        contract = self.sampler.contract
        states = initial = self.sampler.initial_states(batch)
        anew = {one.name: initial[one.name] for one in self.states if not self._goes_on(one)}
        before = {port.name: port.axis(SEQUENCE) for port in contract.data_inputs("sequence")}
        after = {port.name: port.axis(SEQUENCE) for port in contract.data_outputs("sequence")}
        for chunk in data:
            if kind == "step":
                chunk = {
                    name: array if (axis := before[name]) is None else array.take(0, axis)
                    for name, array in chunk.items()
                }
            result = run(chunk, states)
            states = {**result.states, **anew}
            if kind == "sequence":
                yield self.sampler.frames.of_graph(result.outputs)
            else:
                yield {
                    name: array if (axis := after[name]) is None else np.expand_dims(array, axis)
                    for name, array in result.outputs.items()
                }

    def _goes_on(self, state: StatePort) -> bool:
        """Return whether a call starts where the one before it left a state."""
        if state in self._arguments:
            return state.result is not None
        return self.calls.remembers

    def _rounding(
        self, port: str, batch: int, data: Sequence[Arrays], expected: Sequence[Arrays]
    ) -> float:
        comparison = Comparison(feature_ports(self.sampler.contract))
        try:
            double = self._outputs(self.calls.double(), batch, data)
            for one, exact in zip(expected, double, strict=True):
                comparison.add(one, exact)
            return comparison.rounding(port)
        except Exception:
            return 0.0
