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
    """Where sequences end, counted in steps from the first chunk on."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._done = 0
        self._given: dict[str, NDArray[Any]] = {}

    def within(self, chunk: Arrays, steps: int) -> dict[str, NDArray[Any]]:
        """Count the next chunk, and return where sequences end in it.

        Args:
            chunk: Its inputs by name, among them the lengths, (batch,), of all chunks together.
            steps: The number of its steps.

        Returns:
            Name → how many steps of this chunk each sequence has, 0 to `steps`; nothing where all
            have all of them.

        Raises:
            InputError: A length is not positive, or ends before a chunk of the only number of steps
                that the graph takes, or of a model that pads to the longest of a call.
        """
        given = {name: chunk[name] for name in self._contract.lengths if name in chunk}
        left = {name: np.clip(array - self._done, 0, steps) for name, array in given.items()}
        for name, array in given.items():
            if (array < 1).any():
                place = int((array < 1).argmax())
                raise InputError(
                    f"`{name}` has length {array.flat[place]} at {place}; a sequence has at least "
                    "1 step."
                )
            only = self._contract.constants.get(SEQUENCE)
            if only is not None and self._done and (left[name] < steps).any():
                raise InputError(
                    f"`{name}` ends sequences before the last chunk, but the graph takes {only} "
                    "steps at a time. Give the sequences one by one, without lengths."
                )
            if name in self._contract.full_lengths and (left[name] == 0).any():
                raise InputError(
                    f"`{name}` ends sequences before the last chunk, but the model pads to the "
                    "longest of a call. Give all steps in one chunk."
                )
        self._given = given
        self._done += steps
        return left if any((array < steps).any() for array in left.values()) else {}

    def check_reached(self) -> None:
        """Check the last lengths against the number of all steps.

        Raises:
            InputError: A sequence is said to be longer.
        """
        for name, array in self._given.items():
            if (array > self._done).any():
                place = int((array > self._done).argmax())
                raise InputError(
                    f"`{name}` has length {array.flat[place]} at {place}; the input has "
                    f"{format_steps(self._done)}."
                )
