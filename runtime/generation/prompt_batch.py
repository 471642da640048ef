"""Prompts that a model reads and continues side by side, as the batch of one stream."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgernn.contract import BATCH, Contract
from edgernn.runtime.generation.text_ports import TextPorts
from edgernn.runtime.model import Model
from edgernn.runtime.port_axes import output_axes

__all__ = ["Observer", "PromptBatch", "largest_batch"]

Arrays = Mapping[str, NDArray[Any]]
Observer = Callable[[Arrays, Arrays], None]


class PromptBatch:
    """Some prompts of a list, each in a row of one stream's batch.

    Attributes:
        rows: The places of the prompts in the list.
        scores: (batch, symbols): the scores of what follows; there after `feed` and `step`.
        observe: Called with the inputs and outputs of every run, if it is set.
    """

    def __init__(
        self, model: Model, ports: TextPorts, rows: Sequence[int], state: Mapping[str, ArrayLike]
    ) -> None:
        """Start a stream.

        Args:
            model: The model.
            ports: Its ports for text.
            rows: The places of the prompts.
            state: Name of a state → its value, for this batch or, to start all of its rows from,
                for one sequence; empty for the initial state.

        Raises:
            StateError: It is not a state of the model.
        """
        self.rows = list(rows)
        self.scores: NDArray[Any] = np.zeros((0, len(ports.vocabulary)))
        self.observe: Observer | None = None
        self._model, self._ports = model, ports
        self._axes = output_axes(model.contract)
        self._scores_name, self._one_output = ports.scores.port.name, len(self._axes) == 1
        self._ids = np.zeros(len(rows), ports.ids.port.dtype)
        shape = [1] * ports.ids.step.step_rank
        if ports.ids.step.batch is not None:
            shape[ports.ids.step.batch] = len(rows)
        self._step_input = self._ids.reshape(shape)  # shares its memory
        self._stream = model.stream(len(rows))
        if state:
            self._stream.restore(self._spread(state))

    def feed(self, ids: NDArray[Any]) -> None:
        """Run (batch, steps) ids through the sequence graph."""
        axes = self._ports.ids
        sizes = {axes.batch: ids.shape[0], axes.sequence: ids.shape[1]}
        shape = [sizes.get(axis, 1) for axis in range(len(axes.port.shape))]
        in_order = ids if (axes.batch or 0) <= (axes.sequence or 0) else ids.T
        chunk = {axes.port.name: in_order.astype(axes.port.dtype).reshape(shape)}
        outputs = self._by_name(self._stream.feed(**chunk))
        if self.observe is not None:
            self.observe(chunk, outputs)
        scores = outputs[self._scores_name]
        sequence = self._ports.scores.sequence
        if len(self.rows) > 1 and sequence is not None:
            scores = scores.take(-1, sequence)
        self.scores = self._by_row(scores)

    def step(self, ids: Sequence[int] | int) -> None:
        """Run one id for each prompt, or for all, through the step graph."""
        self._ids[...] = ids
        outputs = self._stream.step(self._step_input)
        if self.observe is not None:
            self._observe_step(self._by_name(outputs))
        self.scores = self._by_row(outputs if self._one_output else outputs[self._scores_name])

    def _observe_step(self, outputs: Arrays) -> None:
        assert self.observe is not None
        port, sequence = self._ports.ids.port, self._ports.ids.sequence or 0
        chunk = np.expand_dims(self._step_input.copy(), sequence)
        whole = {name: self._axes[name].from_step(one) for name, one in outputs.items()}
        self.observe({port.name: chunk}, whole)

    @property
    def state(self) -> dict[str, NDArray[Any]]:
        """A copy of the states of all prompts."""
        return self._stream.snapshot()

    def select(self, places: Sequence[int]) -> PromptBatch:
        """Return a batch of the prompts at some places of this one, which goes on from here."""
        state = {
            name: array.take(places, self._batch_axis(name)) for name, array in self.state.items()
        }
        rows = [self.rows[place] for place in places]
        part = PromptBatch(self._model, self._ports, rows, state)
        part.scores = self.scores[places]
        return part

    @staticmethod
    def join(parts: Sequence[PromptBatch]) -> PromptBatch:
        """Return one batch of the prompts of several, which goes on from where they are."""
        first, *others = parts
        if not others:
            return first
        states = [part.state for part in parts]
        state = {
            name: np.concatenate([one[name] for one in states], first._batch_axis(name))
            for name in states[0]
        }
        rows = [row for part in parts for row in part.rows]
        whole = PromptBatch(first._model, first._ports, rows, state)
        whole.scores = np.concatenate([part.scores for part in parts])
        return whole

    def _batch_axis(self, state: str) -> int:
        axis = self._model.contract.state_ports[state].axis(BATCH)
        assert axis is not None, "a batch of several prompts has states with a batch axis"
        return axis

    def _spread(self, state: Mapping[str, ArrayLike]) -> dict[str, ArrayLike]:
        """Return the state for all rows, where it is that of one sequence."""
        batch = len(self.rows)
        if batch == 1:
            return dict(state)
        ports = self._model.contract.state_ports
        spread: dict[str, ArrayLike] = {}
        for name, given in state.items():
            array = np.asarray(given)
            axis = ports[name].axis(BATCH) if name in ports else None
            alone = axis is not None and axis < array.ndim and array.shape[axis] == 1
            spread[name] = array.repeat(batch, axis) if alone else array
        return spread

    def _by_name(self, outputs: Any) -> Arrays:
        return outputs if isinstance(outputs, dict) else {next(iter(self._axes)): outputs}

    def _by_row(self, scores: NDArray[Any]) -> NDArray[Any]:
        """Return the scores of the last step as (batch, symbols)."""
        if len(self.rows) == 1:
            return scores.reshape(-1, scores.shape[-1])[-1:]
        return np.moveaxis(scores, self._ports.scores.step.batch or 0, 0)


def largest_batch(contract: Contract, ports: TextPorts) -> int:
    """Return how many prompts a model can read and continue side by side, each as if alone."""
    together = (
        contract.divisible
        and BATCH not in contract.constants
        and BATCH in ports.ids.port.axes
        and ports.scores.step.batch is not None
        and not ports.scores.flattened
        and all(BATCH in port.axes for port in contract.state_ports.values())
    )
    return contract.most.get(BATCH, sys.maxsize) if together else 1
