"""Chunks as whole hops and a rest, and outputs without the steps that are not defined."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgernn.axis_sizes import evaluate_size
from edgernn.contract import BATCH, SEQUENCE, Contract, Port
from edgernn.errors import InputError, StateError
from edgernn.join_chunks import join_chunks, take_steps
from edgernn.runtime.check_inputs import InputCheck, check_finite, format_steps
from edgernn.runtime.port_axes import input_axes, output_axes

__all__ = ["HOPS_KEY", "REST_KEY", "Arrays", "HopChunks"]

Arrays = dict[str, NDArray[Any]]

HOPS_KEY = "stream.hops"
"""The key of a snapshot for the hops so far, as long as an output is not defined."""

REST_KEY = "stream.rest."
"""The prefix of the keys of a snapshot for the steps of an input that do not fill a hop yet."""


class HopChunks:
    """The whole hops of a model's inputs, and the defined steps of its outputs.

    Attributes:
        undefined: The number of first hops in which some output has a step that is not defined.
        tail: The number of hops of padding after the end that give the tails of all outputs; 0
            where padding is not exact.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._hop = contract.hop
        self._inputs = {
            name: axes.sequence
            for name, axes in input_axes(contract).items()
            if axes.sequence is not None
        }
        self._outputs = output_axes(contract)
        self._rates = {name: contract.steps_per_hop(name) for name in self._outputs}
        self.undefined = self._hops_of(contract.delays)
        self.tail = 0 if contract.missing else self._hops_of(contract.tails)

    def _hops_of(self, steps: Mapping[str, int]) -> int:
        """Return the number of hops that give so many steps of each output."""
        return max((-(-count // self._rates[name]) for name, count in steps.items()), default=0)

    def rest_steps(self, rest: Mapping[str, NDArray[Any]]) -> int:
        """Return the number of steps in a rest."""
        return next((array.shape[self._inputs[name]] for name, array in rest.items()), 0)

    def split(
        self, rest: Mapping[str, NDArray[Any]], arrays: Mapping[str, NDArray[Any]], steps: int
    ) -> tuple[Mapping[str, NDArray[Any]], int, Mapping[str, NDArray[Any]]]:
        """Return the whole hops of a rest and a chunk after it, their number, and the next rest.

        Args:
            rest: Name of an input → the steps that are kept from chunks before.
            arrays: The inputs of the chunk.
            steps: Its number of steps.

        Raises:
            InputError: A sequence ends within the chunk.
        """
        if self._hop == 1:
            return arrays, steps, {}
        for name in self._contract.lengths:
            if (arrays[name] != steps).any():
                raise InputError(
                    f"`{name}` ends sequences within a chunk of {format_steps(steps)}; a model "
                    f"that takes hops of {self._hop} steps takes sequences of one length. Run each "
                    "alone."
                )
        hops, kept = divmod(self.rest_steps(rest) + steps, self._hop)
        whole, left = dict(arrays), {}
        for name, axis in self._inputs.items():
            parts = [rest[name], arrays[name]] if rest else [arrays[name]]
            joined = np.concatenate(parts, axis) if rest else arrays[name]
            cut = joined.shape[axis] - kept
            before, after = np.split(joined, [cut], axis)
            whole[name] = np.ascontiguousarray(before)
            if kept:
                left[name] = np.array(after, order="C")
        for name in self._contract.lengths:
            whole[name] = np.full_like(arrays[name], hops * self._hop)
        return whole, hops, left

    def padding(self, steps: int, value: float | None, batch: int) -> Arrays:
        """Return steps of one value for every input that has steps.

        Args:
            steps: Their number.
            value: The value; None for the padding of the contract.
            batch: The number of sequences.

        Raises:
            InputError: An input does not take the value.
        """
        arrays = {}
        for name, axes in input_axes(self._contract).items():
            if name in self._inputs:
                port, symbols = axes.port.with_dynamic_axis(SEQUENCE), {SEQUENCE: steps}
                shape = [
                    batch if axis == BATCH else evaluate_size(size, symbols) or 1
                    for size, axis in zip(port.shape, port.axes, strict=True)
                ]
                fill = self._contract.padding[name] if value is None else value
                arrays[name] = _filled(shape, fill, port)
        return arrays

    def defined(self, outputs: Arrays, age: int, hops: int, batch: int) -> dict[str, Any]:
        """Return the outputs of a chunk without the steps that are not defined.

        Args:
            outputs: The outputs of the chunk in the shapes of the sequence graph.
            age: The hops of the sequence before the chunk.
            hops: The hops of the chunk.
            batch: The number of sequences.

        Returns:
            Name → output; None for an output without an axis of steps that is not defined.
        """
        if age >= self.undefined:
            return outputs
        return {
            name: self._cut(name, array, age, hops, self._rates[name] * hops, batch)
            for name, array in outputs.items()
        }

    def tails(self, outputs: Arrays, age: int, batch: int) -> dict[str, Any]:
        """Return the tails in the outputs of `tail` hops of padding.

        Args:
            outputs: The outputs of the padding in the shapes of the sequence graph.
            age: The hops of the sequence before its end.
            batch: The number of sequences.
        """
        tails = {name: self._contract.tails.get(name, 0) for name in outputs}
        return {
            name: self._cut(name, array, age, self.tail, tails[name], batch)
            if self._outputs[name].sequence is not None or tails[name]
            else None
            for name, array in outputs.items()
        }

    def _cut(
        self, name: str, array: NDArray[Any], age: int, hops: int, stop: int, batch: int
    ) -> Any:
        """Return the defined steps of an output before step `stop` of a chunk."""
        rate, delay = self._rates[name], self._contract.delays.get(name, 0)
        if self._outputs[name].sequence is None:
            return None if age + hops <= delay else array
        start = max(delay - rate * age, 0)
        return take_steps(self._outputs[name].port, array, start, max(start, stop), batch)

    def defined_step(self, outputs: Mapping[str, Any], age: int, batch: int) -> dict[str, Any]:
        """Return the outputs of a hop, in the step graph's shapes, without undefined steps.

        An output without an axis of steps is None until it is defined.
        """
        defined: dict[str, Any] = {}
        for name, array in outputs.items():
            rate, left = self._rates[name], self._contract.delays.get(name, 0)
            left = max(left - self._rates[name] * age, 0)
            if rate == 1:
                defined[name] = None if left else array
            else:
                defined[name] = take_steps(self._outputs[name].port, array, left, rate, batch)
        return defined

    def empty(self, batch: int) -> dict[str, Any]:
        """Return the outputs of a chunk of no hop: no steps, or None without an axis of steps."""
        return {name: self._empty(name, batch) for name in self._outputs}

    def _empty(self, name: str, batch: int) -> Any:
        axes = self._outputs[name]
        if axes.sequence is None:
            return None
        symbols = {BATCH: batch, SEQUENCE: 0}
        shape = [evaluate_size(size, symbols) or 0 for size in axes.port.shape]
        shape[axes.sequence] = 0
        return np.zeros(shape, axes.port.dtype)

    def join(self, parts: list[dict[str, Any]], batch: int) -> dict[str, Any]:
        """Return the outputs of chunks, joined; a last step is that of the last chunk with one."""
        joined = {}
        for name, axes in self._outputs.items():
            arrays = [part[name] for part in parts if part[name] is not None]
            joined[name] = join_chunks(axes.port, arrays, batch) if arrays else None
        return joined

    def place_in(
        self, snapshot: Mapping[str, ArrayLike], batch: int
    ) -> tuple[dict[str, ArrayLike], int, Arrays]:
        """Return the states of a snapshot, the hops of its sequence, and its rest.

        Raises:
            StateError: The hops or the rest are not those of a stream of this model.
        """
        states = dict(snapshot)
        age = self._age(states.pop(HOPS_KEY, self.undefined))
        given = {
            name: states.pop(REST_KEY + name) for name in self._inputs if REST_KEY + name in states
        }
        return states, age, self._rest(given, batch) if given else {}

    def _age(self, hops: ArrayLike) -> int:
        number = np.asarray(hops)
        if number.size != 1 or number.dtype.kind not in "iu" or number.item() < 0:
            raise StateError(
                f"`{HOPS_KEY}` must be an integer of at least 0, the hops of the sequence so far; "
                f"it came as {number.dtype}{list(number.shape)}. Restore what `snapshot` returned."
            )
        return int(number.item())

    def _rest(self, given: Mapping[str, ArrayLike], batch: int) -> Arrays:
        axes = input_axes(self._contract)
        ports = [axes[name].port.with_dynamic_axis(SEQUENCE) for name in self._inputs]
        try:
            rest, symbols = InputCheck(ports, "rest of a stream").check((), given, batch)
        except InputError as error:
            raise StateError(f"The rest in the snapshot does not fit: {error}") from error
        if symbols[SEQUENCE] >= self._hop:
            raise StateError(
                f"The rest in the snapshot has {format_steps(symbols[SEQUENCE])}; a rest is less "
                f"than a hop, {format_steps(self._hop)}. Restore what `snapshot` returned."
            )
        for name, array in rest.items():
            check_finite(f"`{REST_KEY}{name}`", array)
        return {name: np.array(array) for name, array in rest.items()}


def _filled(shape: list[int], value: float, port: Port) -> NDArray[Any]:
    """Return an array of one value.

    Raises:
        InputError: The port does not take the value.
    """
    is_float = np.dtype(port.dtype).kind == "f"
    if not math.isfinite(value) or not (is_float or value == int(value)):
        raise InputError(
            f"The padding of `{port}` came as {value}; it takes "
            f"{'finite numbers' if is_float else 'integers'}."
        )
    return np.full(shape, value, port.dtype)
