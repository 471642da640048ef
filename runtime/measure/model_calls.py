"""Calls of a loaded model with data of any size, for measuring them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.axis_sizes import evaluate_size
from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import ContractError, InputError
from edgernn.forms import choose_form
from edgernn.runtime.golden_arrays import GoldenArrays
from edgernn.runtime.model import Model
from edgernn.runtime.port_axes import PortAxes, input_axes, required_axes
from edgernn.runtime.stream import Stream

__all__ = ["ModelCalls"]

_HOPS = 100


class ModelCalls:
    """Calls of a model as its user makes them, with the inputs of its golden run.

    The inputs are repeated, or cut, to the size of a call. Lengths are left out, so every sequence
    has all steps.

    Args:
        model: The model.
        has_forms: Whether it was loaded with its forms.

    Raises:
        ContractError: The model is a single graph, or its golden run cannot be read.
    """

    def __init__(self, model: Model, has_forms: bool = True) -> None:
        if model.artifact is None:
            raise ContractError(
                f"`{model.contract.source}` was loaded from a single graph, which carries no "
                "golden run. Load the whole artifact."
            )
        self._model, self._has_forms = model, has_forms
        self._contract = model.contract
        recorded = GoldenArrays(model.artifact)
        self._axes = required_axes(input_axes(model.contract))
        self._recorded = {name: recorded.read(axis.port) for name, axis in self._axes.items()}

    @property
    def default_batch(self) -> int:
        """The number of sequences that the model takes, or 1."""
        return self._contract.constants.get(BATCH, 1)

    @property
    def default_chunks(self) -> tuple[int, ...]:
        """One step and 100, or what comes nearest to them in this model: hops, constant steps."""
        contract, hop = self._contract, self._contract.hop
        constant = contract.constants.get(SEQUENCE) if contract.sequence else None
        limits = contract.limited_states.values()
        many = constant or contract.within(SEQUENCE, min([_HOPS, *limits]) * hop) // hop * hop
        if not contract.carry:
            return (many,)
        if contract.sequence is None:
            return (hop,)
        is_any = constant is None and contract.least.get(SEQUENCE, hop) <= hop
        return tuple(dict.fromkeys((hop, many))) if contract.step or is_any else (many,)

    def call(self, batch: int, chunk: int) -> Callable[[], Any]:
        """Return a call that runs a chunk of a stream; of a model without streams, a sequence.

        Args:
            batch: The number of sequences.
            chunk: The number of steps of each: one hop goes through the step graph.

        Raises:
            InputError: The model does not take that size.
        """
        contract = self._contract
        if chunk % contract.hop:
            raise InputError(
                f"`chunk` is {chunk}; the model takes hops of {contract.hop} steps. Give a "
                f"multiple of {contract.hop}."
            )
        arrays = self._inputs(batch, chunk)
        if not contract.carry:
            return partial(self._model, **arrays)
        stream = self._model.stream(batch)
        run: Callable[[], Any] = partial(stream.feed, **arrays)
        if contract.step is not None and chunk == contract.hop:
            ports = [port for port in contract.data_inputs("step") if port.name in arrays]
            run = partial(stream.step, *(self._step(port.name, arrays) for port in ports))
        most = min(contract.limited_states.values(), default=0)
        return _restarting(stream, run, chunk // contract.hop, most) if most else run

    def graph(self, batch: int, chunk: int) -> str:
        """Return which graph runs such a call: `step`, `sequence` or the name of a form of one."""
        contract, artifact = self._contract, self._model.artifact
        runs_step = contract.step is not None and contract.carry and chunk == contract.hop
        kind = "step" if runs_step or contract.sequence is None else "sequence"
        forms = artifact.forms if artifact is not None and self._has_forms else ()
        sizes = {BATCH: batch, SEQUENCE: chunk}
        form = choose_form(forms, kind, self._model.provider, sizes)
        return kind if form is None else form.name

    def _step(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        return np.ascontiguousarray(self._axes[name].to_step(arrays[name]))

    def _inputs(self, batch: int, chunk: int) -> dict[str, NDArray[Any]]:
        sizes = self._recorded_sizes() | {BATCH: batch, SEQUENCE: chunk}
        return {
            name: _resized(self._axes[name], array, sizes) for name, array in self._recorded.items()
        }

    def _recorded_sizes(self) -> dict[str, int]:
        """Return the sizes that the dynamic axes have in the golden run."""
        return {
            str(size): length
            for name, array in self._recorded.items()
            for size, length in zip(self._axes[name].port.shape, array.shape, strict=True)
        }


def _resized(axes: PortAxes, array: NDArray[Any], sizes: Mapping[str, int]) -> NDArray[Any]:
    """Return an array with its axes at other sizes, its numbers repeated to fill them.

    An axis of steps that is constant in the graph is filled as well, as it is in several calls.
    """
    for axis, size in enumerate(axes.port.shape):
        number = sizes[SEQUENCE] if axes.port.axes[axis] == SEQUENCE else None
        length = number or evaluate_size(size, sizes) or array.shape[axis]
        array = array.take(np.arange(length) % array.shape[axis], axis)
    return np.ascontiguousarray(array)


def _restarting(stream: Stream, run: Callable[[], Any], hops: int, most: int) -> Callable[[], Any]:
    """Return a call that starts a new sequence where the stream has no room left for its hops."""
    left = most

    def call() -> Any:
        nonlocal left
        if left < hops:
            stream.reset()
            left = most
        left -= hops
        return run()

    return call
