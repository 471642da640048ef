"""A model that goes on by itself: its last output is its next input."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.cli.chunk_runner import Arrays, ChunkRunner
from edgernn.cli.data_files.output_layout import OutputLayout
from edgernn.contract import SEQUENCE, Contract
from edgernn.errors import InputError
from edgernn.runtime.port_axes import PortAxes, input_axes, output_axes, required_axes

__all__ = ["Forecast", "check_no_lengths"]


class Forecast:
    """Steps that a model generates after the data: the outputs that it feeds back.

    The output at the last step of the data is the first of them, as it is the model's forecast for
    the step after the data.

    Attributes:
        output: The name of the output that is fed back.
    """

    def __init__(self, contract: Contract) -> None:
        """Find the output that can be fed back.

        Raises:
            InputError: The model has not one input, or not one output that fits it.
        """
        self._contract = contract
        self._outputs = output_axes(contract)
        inputs = required_axes(input_axes(contract))
        if len(inputs) != 1:
            raise InputError(
                f"--generate feeds an output back as the only input; the model has {len(inputs)}: "
                f"{', '.join(f'`{axis.port}`' for axis in inputs.values())}. Leave out --generate, "
                "and give the inputs of all steps."
            )
        ((self._input, self._axis),) = inputs.items()
        fitting = [name for name, axis in self._outputs.items() if _fits(axis, self._axis)]
        if len(fitting) != 1:
            raise self._does_not_fit(fitting)
        (self.output,) = fitting
        only = contract.constants.get(SEQUENCE, 1)
        if only != 1 and not contract.step:
            raise InputError(
                f"--generate runs single steps, but the graph takes {only} at a time. Leave out "
                "--generate, or export the model with a step graph."
            )

    def _does_not_fit(self, fitting: list[str]) -> InputError:
        names = fitting or self._outputs
        outputs = " and ".join(f"`{self._outputs[name].port}`" for name in names)
        if fitting:
            return InputError(
                f"--generate feeds one output back as `{self._axis.port}`, and {outputs} all fit. "
                "Leave out --generate, or export a model that returns one of them."
            )
        text = self._contract.vocabulary is not None
        remedy = "Give --text" if text else "Leave out --generate"
        return InputError(
            f"--generate feeds an output back as `{self._axis.port}`, and {outputs} "
            f"{'does' if len(self._outputs) == 1 else 'do'} not have its dtype and features. "
            f"{remedy}{' to continue a text' * text}, or export a model that returns its next "
            "input."
        )

    def layout(self, batched: bool, steps: int, columns: Sequence[str] | None) -> OutputLayout:
        """Return the layout of the steps that are generated: every output has an axis of steps.

        Args:
            batched: Whether to keep a batch axis of size 1.
            steps: The number of steps to generate.
            columns: The names of the input's features, which are then those of what is fed back.
        """
        layout = OutputLayout.of(self._contract, batched, header=columns is not None)
        axes = {name: axis.with_steps() for name, axis in layout.axes.items()}
        names = {self.output: columns or ()}
        return replace(layout, axes=axes, steps=dict.fromkeys(axes, steps), names=names)

    def run(self, runner: ChunkRunner, answers: Iterable[Arrays], count: int) -> Iterator[Arrays]:
        """Run the data, then `count` times the output before it; yield what was fed, step by step.

        Args:
            runner: Runs the model.
            answers: The outputs for the data, chunk by chunk.
            count: The number of steps to generate.

        Raises:
            InputError: A step is not finite.
        """
        (outputs,) = deque(answers, maxlen=1)
        for step in range(1, count + 1):
            last = {name: self._last_step(name, array) for name, array in outputs.items()}
            yield last
            values = last[self.output]
            if not np.isfinite(values).all():
                raise InputError(
                    f"Step {step} that the model generated has values that are NaN or infinite, "
                    "which it cannot go on from. Generate fewer steps."
                )
            outputs = runner.run({self._input: self._to_input(values)})

    def _last_step(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        axis = self._outputs[name]
        if axis.sequence is None:
            return np.expand_dims(array, axis.with_steps().sequence or 0)
        steps = array.shape[axis.sequence]
        return axis.slice_steps(array, steps - 1, steps)

    def _to_input(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return one step of the output in the input's full shape."""
        given, taken = self._outputs[self.output].with_steps(), self._axis
        step = values.squeeze(given.sequence)
        sequences = (
            step[None] if given.step.batch is None else np.moveaxis(step, given.step.batch, 0)
        )
        sequences = sequences.reshape(len(sequences), *taken.features)
        batch = taken.step.batch
        step = sequences[0] if batch is None else np.moveaxis(sequences, 0, batch)
        return taken.stack_steps([step])


def check_no_lengths(contract: Contract, chunk: Arrays) -> None:
    """Check that all sequences of a chunk end at its last step, where a forecast begins.

    Raises:
        InputError: The chunk has lengths.
    """
    for name in contract.lengths:
        if name in chunk:
            raise InputError(
                f"`{name}` ends sequences before the last step, and --generate goes on after it. "
                f"Leave out `{name}`, and give sequences of one length."
            )


def _fits(given: PortAxes, taken: PortAxes) -> bool:
    """Return whether steps of an output can be those of an input; axes of size 1 may differ."""
    shapes = [[size for size in axis.features if size != 1] for axis in (given, taken)]
    return (
        given.port.dtype == taken.port.dtype
        and shapes[0] == shapes[1]
        and all(isinstance(size, int) for size in shapes[0])
    )
