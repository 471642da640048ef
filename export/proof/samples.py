"""What graphs are run on for the proof: data, and states that the model can reach."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.axis_sizes import evaluate_shape, evaluate_size
from edgernn.contract import BATCH, SEQUENCE, Contract, Port
from edgernn.errors import EdgernnError
from edgernn.export.proof.eager_reference import Outcome, Reference
from edgernn.export.proof.graph_runs import Arrays

__all__ = ["Samples", "Sizes"]

Sizes = Mapping[str, int]
"""Name of a dynamic axis → its size."""

_WARM_UP = (7, 1)
"""Over how many steps of random data a state is reached, where forward takes so many."""


@dataclass(frozen=True)
class Samples:
    """Draws data for the inputs of a model, and states for it to start from.

    Attributes:
        contract: The contract of the graphs; with a sequence graph's ports.
        reference: The model.
        examples: Name of a data input → an array of plausible values.
        traced: The sizes that were traced, `batch` and `sequence` always among them.
        lengths: Name of an input that holds the lengths of sequences → whether the reference wants
            the longest first.
        free: Names of the states that may be anything: h and c of layers.
        below: Name of an input of integers → the axis whose size they are below.
        rng: Where all numbers come from.
    """

    contract: Contract
    reference: Reference
    examples: Mapping[str, NDArray[Any]]
    traced: Sizes
    lengths: Mapping[str, bool] = field(default_factory=dict)
    free: Collection[str] = ()
    below: Mapping[str, str] = field(default_factory=dict)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def under(self, contract: Contract) -> Samples:
        """Return the same under another contract; what is drawn starts anew."""
        return replace(self, contract=contract, rng=np.random.default_rng(0))

    def at(self, batch: int, sequence: int) -> Sizes:
        """Return all sizes, those of further axes as they were traced."""
        return {**self.traced, BATCH: batch, SEQUENCE: sequence}

    def data(self, sizes: Sizes, uneven: bool = False, short: Collection[str] = ()) -> Arrays:
        """Return data; `uneven` gives sequences of different lengths where the model takes them.

        The longest is as long as the array. In the inputs in `short`, none is, and half of them
        are the longest: what lies after their ends is padding for all.
        """
        return self._draw(sizes, uneven, self._example_like, short)

    def start(self, batch: int) -> Arrays:
        """Return the states that a new stream starts from."""
        return {state.name: self.contract.initial(state, batch) for state in self.contract.states}

    def states(self, batch: int) -> Arrays:
        """Return states that the model can be in: random ones of layers, others after random data.

        A running power is never negative, and a count grows by one: such states cannot be drawn.
        """
        start = self.start(batch)
        reached = start if set(start) <= set(self.free) else self._reached(batch)
        return {
            name: self.rng.standard_normal(array.shape).astype(array.dtype) / 2
            if name in self.free
            else reached[name]
            for name, array in start.items()
        }

    @property
    def kind(self) -> str:
        """What `states` returns: `random` ones or `reached` ones."""
        names = {state.name for state in self.contract.states}
        return "random" if names <= set(self.free) else "reached"

    def run(
        self, data: Arrays, states: Arrays | None, reference: Reference | None = None
    ) -> tuple[Arrays, Arrays]:
        """Run the reference on data by port name.

        Args:
            data: Data by port name.
            states: States by name; None for those that a new stream starts from, of which the
                reference makes all that are no arguments itself.
            reference: Another form of the reference.
        """
        reference = reference or self.reference
        if states is None:
            start = self.start(self.batch_of(data))
            states = {name: start[name] for name in reference.arguments}
        outcome = reference(self.by_path(data), states)
        return self.outputs(outcome), outcome.states

    def by_path(self, data: Arrays) -> Arrays:
        """Return data by the paths of the arguments."""
        origins = {port.name: port.origin or "" for port in self.contract.data_inputs("sequence")}
        return {origins[name]: array for name, array in data.items()}

    def outputs(self, outcome: Outcome) -> Arrays:
        """Return what a run gave by port name; a file may not show every output of a layer."""
        ports = self.contract.data_outputs("sequence")
        given = outcome.outputs
        return {port.name: given[path] for port in ports if (path := port.origin or "") in given}

    def batch_of(self, data: Arrays) -> int:
        """Return the number of sequences in data by port name."""
        for port in self.contract.data_inputs("sequence"):
            axis = port.axis(BATCH)
            if axis is not None:
                return int(data[port.name].shape[axis])
        return self.traced[BATCH]

    def _reached(self, batch: int) -> Arrays:
        for steps in (*_WARM_UP, self.traced[SEQUENCE]):
            try:
                _, states = self.run(self.data(self.at(batch, steps)), None)
            except EdgernnError:
                raise
            except Exception:
                continue  # a number of steps that forward does not take
            if all(np.isfinite(array).all() for array in states.values()):
                return states
        return self.start(batch)

    @functools.cached_property
    def _example_like(self) -> bool:
        """Whether data must look like the example: forward has no numbers for random data."""
        sizes = self.traced
        try:
            outputs, _ = self.run(self._draw(sizes, False, False), None)
        except Exception:
            return True
        return any(np.isnan(array).any() for array in outputs.values())

    def _draw(
        self, sizes: Sizes, uneven: bool, example_like: bool, short: Collection[str] = ()
    ) -> Arrays:
        data = {
            port.name: self._array(port, sizes, example_like)
            for port in self.contract.data_inputs("sequence")
        }
        sequence = sizes[SEQUENCE]
        for name, longest_first in self.lengths.items():
            longest = int(self.rng.integers(1, sequence)) if name in short else sequence
            lengths = np.full_like(data[name], longest)
            if uneven:
                lengths[:] = self.rng.integers(1, longest + 1, lengths.shape)
                lengths[self.rng.integers(len(lengths))] = longest
            if name in short:
                lengths[::2] = longest
            data[name] = -np.sort(-lengths) if longest_first else lengths
        return data

    def _array(self, port: Port, sizes: Sizes, example_like: bool) -> NDArray[Any]:
        """Return values for a data input.

        Numbers are standard normal, ids spread over what the port takes; other integers, and all
        where data must look like the example, are entries of the example.
        """
        shape = evaluate_shape(port.shape, sizes)
        assert shape is not None
        if port.limit is not None or port.name in self.below:
            axis = evaluate_size(self.below.get(port.name, ""), sizes)
            below = min(size for size in (port.limit, axis) if size is not None)
            return self.rng.integers(below, size=shape).astype(port.dtype)
        example, real = self.examples[port.name], np.issubdtype(port.dtype, np.floating)
        if real and not example_like:
            return self.rng.standard_normal(shape, np.float32).astype(port.dtype, copy=False)
        if example.ndim < len(shape):  # an example of one step
            example = np.expand_dims(example, port.shape.index(SEQUENCE))
        for axis, size in enumerate(shape):
            count = example.shape[axis]
            if size != count:
                places = self.rng.integers(count, size=size) if real else np.arange(size) % count
                example = example.take(places, axis)
        return example.astype(port.dtype)
