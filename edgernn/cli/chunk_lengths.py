"""The lengths of sequences that are run chunk by chunk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.contract import SEQUENCE, Contract
from edgernn.errors import InputError
from edgernn.runtime.check_inputs import format_steps

__all__ = ["ChunkLengths"]

Arrays = Mapping[str, NDArray[Any]]


class ChunkLengths:
    """Lengths that count the steps of all chunks, converted to lengths in each chunk."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._steps_so_far = 0
        self._last_lengths: dict[str, NDArray[Any]] = {}

    def advance(self, chunk: Arrays, steps: int) -> dict[str, NDArray[Any]]:
        """Go on to the next chunk, and return the lengths of the sequences in it.

        Args:
            chunk: Its inputs by name, among them the lengths, (batch,), of all chunks together.
            steps: The number of its steps.

        Returns:
            Name → the number of steps that each sequence has in this chunk, 0 to `steps`; empty
            where every sequence has all of them.

        Raises:
            InputError: A length is below 1; or a sequence ends before the last chunk, and the graph
                takes a constant number of steps, or the model pads to the longest of a call.
        """
        given = {name: chunk[name] for name in self._contract.lengths if name in chunk}
        left = {
            name: np.clip(array - self._steps_so_far, 0, steps) for name, array in given.items()
        }
        for name, array in given.items():
            if (array < 1).any():
                index = int((array < 1).argmax())
                raise InputError(
                    f"`{name}` has length {array.flat[index]} at {index}; a sequence has at least "
                    "1 step."
                )
            only = self._contract.constants.get(SEQUENCE)
            if only is not None and self._steps_so_far and (left[name] < steps).any():
                raise InputError(
                    f"`{name}` ends sequences before the last chunk, but the graph takes {only} "
                    "steps at a time. Give the sequences one by one, without lengths."
                )
            if name in self._contract.full_lengths and (left[name] == 0).any():
                raise InputError(
                    f"`{name}` ends sequences before the last chunk, but the model pads to the "
                    "longest of a call. Give all steps in one chunk."
                )
        self._last_lengths = given
        self._steps_so_far += steps
        return left if any((array < steps).any() for array in left.values()) else {}

    def check_total(self) -> None:
        """Check that no sequence is longer than all chunks together.

        Raises:
            InputError: A length is larger than the number of steps.
        """
        for name, array in self._last_lengths.items():
            if (array > self._steps_so_far).any():
                index = int((array > self._steps_so_far).argmax())
                raise InputError(
                    f"`{name}` has length {array.flat[index]} at {index}; the input has "
                    f"{format_steps(self._steps_so_far)}."
                )
