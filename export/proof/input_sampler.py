"""Data and states for the proof: drawn at random, or reached by running the model."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.axis_sizes import evaluate_shape, evaluate_size
from edgernn.contract import BATCH, SEQUENCE, Contract, Port
from edgernn.errors import EdgernnError
from edgernn.export.ir.onnx_session import Arrays
from edgernn.export.proof.graph_function import batch_of
from edgernn.export.proof.output_frames import OutputFrames
from edgernn.export.proof.reference import Reference, RunResult

__all__ = ["AxisSizes", "InputSampler"]

AxisSizes = Mapping[str, int]
"""Name of a dynamic axis → its size."""

_WARM_UP = (7, 1)
"""Steps of random data before a state is taken, where forward takes so many."""


@dataclass(frozen=True)
class InputSampler:
    """Draws data and states for a model, and runs it on them by the names of ports.

    Attributes:
        contract: The contract of the graphs, with the ports of a sequence graph.
        reference: The model.
        examples: Name of a data input → an array of plausible values.
        traced_sizes: The sizes that were traced, always with `batch` and `sequence`.
        lengths: Name of an input that holds the lengths of sequences → whether the reference needs
            the longest first.
        free_states: Names of the states that may have any value: h and c of layers.
        index_axes: Name of an input of indices → the axis that they index.
        contexts: Names of the states that only the graphs have: the reference takes a whole
            sequence, and cannot be given them.
        largest_state: The largest magnitude of random states: 1 where graphs take no larger ones.
        rng: The source of all random numbers.
    """

    contract: Contract
    reference: Reference
    examples: Mapping[str, NDArray[Any]]
    traced_sizes: AxisSizes
    lengths: Mapping[str, bool] = field(default_factory=dict)
    free_states: Collection[str] = ()
    index_axes: Mapping[str, str] = field(default_factory=dict)
    contexts: Collection[str] = ()
    largest_state: float = math.inf
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def with_contract(self, contract: Contract) -> InputSampler:
        """Return the same with another contract and with a new source of random numbers."""
        return replace(self, contract=contract, rng=np.random.default_rng(0))

    @functools.cached_property
    def frames(self) -> OutputFrames:
        """The frames of the outputs that graphs and the reference have in common."""
        return OutputFrames(self.contract, undefined_in_reference=not self.contexts)

    def sizes_at(self, batch: int, sequence: int) -> AxisSizes:
        """Return the sizes of all axes; those besides batch and sequence are as traced."""
        return {**self.traced_sizes, BATCH: batch, SEQUENCE: sequence}

    def draw_data(
        self, sizes: AxisSizes, uneven: bool = False, short: Collection[str] = ()
    ) -> Arrays:
        """Return data by port name.

        Args:
            sizes: The size of every dynamic axis.
            uneven: Whether sequences have different lengths, where the model takes lengths. The
                longest is as long as the array.
            short: Inputs of lengths that all end before the last step. Half of their sequences
                have the length of the longest; the steps after it are padding in all.
        """
        return self._draw(sizes, uneven, self._needs_example_values, short)

    def initial_states(self, batch: int) -> Arrays:
        """Return the states that a new stream starts from."""
        return {state.name: self.contract.initial(state, batch) for state in self.contract.states}

    def draw_states(self, batch: int, steps: int) -> Arrays:
        """Return states that the model can be in: random ones of layers, others after random data.

        A running power is never negative and a count grows by one, so such states are not drawn.
        Contexts are those of a new stream.

        Args:
            batch: The number of sequences.
            steps: The number of steps that a run from these states has. A state that counts hops
                leaves room for them below its limit.
        """
        initial = self.initial_states(batch)
        drawn = {*self.free_states, *self.contexts}
        reached = initial if drawn.issuperset(initial) else self._reach_states(batch, steps)
        return self.with_random_layers({**initial, **reached})

    def with_random_layers(self, states: Arrays) -> Arrays:
        """Return states with random values in those that may have any."""
        return {
            name: self._random_state(array) if name in self.free_states else array
            for name, array in states.items()
        }

    def _random_state(self, like: NDArray[Any]) -> NDArray[Any]:
        drawn = self.rng.standard_normal(like.shape).astype(like.dtype) / 2
        return np.clip(drawn, -self.largest_state, self.largest_state)

    @property
    def state_kind(self) -> str:
        """What `draw_states` returns: `random` states or `reached` ones."""
        names = {state.name for state in self.contract.states} - set(self.contexts)
        return "random" if names <= set(self.free_states) else "reached"

    def run_reference(
        self, data: Arrays, states: Arrays | None, reference: Reference | None = None
    ) -> RunResult:
        """Run the reference, or another form of it; return outputs by port name, and final states.

        Where `states` is None, the run starts from the initial states; the reference creates those
        that are not its arguments. Outputs that a file lacks are left out, and so is what the
        graphs do not give: frames of the tail, and the states after them.

        Args:
            data: Data by port name, of a new stream.
            states: The states to start from. The reference makes contexts itself.
            reference: The other form.
        """
        outputs, final_states = self._run(data, states, reference or self.reference)
        if self.contract.tails and self.contexts:
            final_states = {}
        return RunResult(self.frames.of_reference(outputs), final_states)

    def run_to_end(self, data: Arrays, states: Arrays | None) -> Arrays:
        """Run the reference; return all frames of its outputs, the tail too, by port name."""
        return self._run(data, states, self.reference).outputs

    def _run(self, data: Arrays, states: Arrays | None, reference: Reference) -> RunResult:
        """Run a reference; return all its outputs by port name, and all final states."""
        if states is None:
            initial = self.initial_states(batch_of(self.contract, data, self.traced_sizes[BATCH]))
            states = {name: initial[name] for name in reference.arguments}
        given = {name: array for name, array in states.items() if name not in self.contexts}
        outputs, final_states = reference(self.inputs_by_path(data), given)
        paths = {port.name: port.origin or "" for port in self.contract.data_outputs("sequence")}
        by_port = {name: outputs[path] for name, path in paths.items() if path in outputs}
        return RunResult(by_port, final_states)

    def inputs_by_path(self, data: Arrays) -> Arrays:
        """Return data by the paths of the reference's arguments."""
        paths = {port.name: port.origin or "" for port in self.contract.data_inputs("sequence")}
        return {paths[name]: array for name, array in data.items()}

    def _reach_states(self, batch: int, steps: int) -> Arrays:
        """Return the states after random data, or the initial ones where they are not finite."""
        limits = self.contract.limited_states.values()
        most = min(limits, default=math.inf) * self.frames.hop - steps
        warm_up = (*map(self.frames.steps, _WARM_UP), self.traced_sizes[SEQUENCE])
        for before in map(self.frames.whole_hops, warm_up):
            if before > most:
                continue
            try:
                data = self.draw_data(self.sizes_at(batch, before))
                _, states = self._run(data, None, self.reference)
            except EdgernnError:
                raise
            except Exception:
                continue  # a number of steps that forward does not take
            if all(np.isfinite(array).all() for array in states.values()):
                return states
        return self.initial_states(batch)

    @functools.cached_property
    def _needs_example_values(self) -> bool:
        """Whether the model fails or returns NaN on random numbers: its data are from examples."""
        try:
            data = self._draw(self.traced_sizes, uneven=False, example_values=False)
            outputs, _ = self.run_reference(data, None)
        except Exception:
            return True
        return any(np.isnan(array).any() for array in outputs.values())

    def _draw(
        self, sizes: AxisSizes, uneven: bool, example_values: bool, short: Collection[str] = ()
    ) -> Arrays:
        data = {
            port.name: self._draw_array(port, sizes, example_values)
            for port in self.contract.data_inputs("sequence")
        }
        for name, longest_first in self.lengths.items():
            lengths = self._draw_lengths(data[name], sizes[SEQUENCE], uneven, name in short)
            data[name] = -np.sort(-lengths) if longest_first else lengths
        return data

    def _draw_lengths(
        self, example: NDArray[Any], sequence: int, uneven: bool, short: bool
    ) -> NDArray[Any]:
        """Return lengths, (batch,), of sequences in `sequence` steps; see `draw_data`."""
        longest = int(self.rng.integers(1, sequence)) if short else sequence
        lengths = np.full_like(example, longest)
        if uneven:
            lengths[:] = self.rng.integers(1, longest + 1, lengths.shape)
            lengths[self.rng.integers(len(lengths))] = longest
        if short:
            lengths[::2] = longest
        return lengths

    def _draw_array(self, port: Port, sizes: AxisSizes, example_values: bool) -> NDArray[Any]:
        """Return values for a data input.

        Floats are standard normal, and ids and indices uniform in their range. Other integers are
        elements of the example, as are floats where `example_values` is true.
        """
        shape = evaluate_shape(port.shape, sizes)
        assert shape is not None
        if port.limit is not None or port.name in self.index_axes:
            entries = evaluate_size(self.index_axes.get(port.name, ""), sizes)
            limit = min(size for size in (port.limit, entries) if size is not None)
            return self.rng.integers(limit, size=shape).astype(port.dtype)
        is_float = np.issubdtype(port.dtype, np.floating)
        if is_float and not example_values:
            return self.rng.standard_normal(shape, np.float32).astype(port.dtype, copy=False)
        values = self.examples[port.name]
        if values.ndim < len(shape):  # an example of one step
            values = np.expand_dims(values, port.shape.index(SEQUENCE))
        for axis, size in enumerate(shape):
            count = values.shape[axis]
            if size != count:
                drawn = self.rng.integers(count, size=size) if is_float else np.arange(size) % count
                values = values.take(drawn, axis)
        return values.astype(port.dtype)
