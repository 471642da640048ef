"""Data of the user's for a model, and what its outputs should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.contract import BATCH, SEQUENCE, Contract

__all__ = ["UserData"]


@dataclass(frozen=True)
class UserData:
    """Data of the user's for a model.

    Attributes:
        source: The name of the file that they are from, or `arrays`.
        data: Name of a data input → its array, in the port's shape and dtype.
        sizes: Name of a dynamic axis of the inputs → its size; always with `batch` and `sequence`.
        expected: Name of a data output → what is expected of it; may be empty.
    """

    source: str
    data: Mapping[str, NDArray[Any]]
    sizes: Mapping[str, int]
    expected: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        contract: Contract,
        source: str,
        data: Mapping[str, NDArray[Any]],
        expected: Mapping[str, NDArray[Any]],
    ) -> UserData:
        """Return data with the sizes of their axes."""
        sizes = {BATCH: 1, SEQUENCE: 1}
        for port in contract.data_inputs("sequence"):
            shape = data[port.name].shape
            sizes |= {name: size for name, size in zip(port.axes, shape, strict=True) if name}
        return cls(source, data, sizes, expected)

    @property
    def batch(self) -> int:
        """The number of sequences."""
        return self.sizes[BATCH]

    @property
    def steps(self) -> int:
        """The number of steps of each sequence."""
        return self.sizes[SEQUENCE]

    def next_ids(self, contract: Contract, output: str) -> NDArray[np.int64] | None:
        """Return the ids that follow each step, `(sequence, …)`, if an output scores them.

        That is so where the model has one input of ids besides lengths, one id at a step, and the
        output has one score for each of them, at the same steps.

        Args:
            contract: The contract of the model, with a sequence graph.
            output: The name of a data output.

        Returns:
            One step less than the data has, -1 after the end of a sequence; None where the output
            scores something else.
        """
        ports, steps = contract.data_inputs("sequence"), self.steps
        inputs = [port for port in ports if port.name not in contract.lengths]
        (port,) = [one for one in contract.data_outputs("sequence") if one.name == output]
        if len(inputs) != 1 or steps < 2 or contract.hop != 1 or output in contract.delays:
            return None
        ids = inputs[0]
        axis = ids.axis(SEQUENCE)
        symbols = len(contract.vocabulary) if contract.vocabulary else ids.limit
        without_scores = port.axes[:-1] == ids.axes and port.shape[-1:] == (symbols,)
        if np.dtype(ids.dtype).kind != "i" or axis is None or not without_scores:
            return None
        following = np.moveaxis(self.data[ids.name], axis, 0)[1:].astype(np.int64)
        for name in contract.lengths:
            if following.ndim != 2:
                return None
            following[np.arange(1, steps)[:, None] >= self.data[name]] = -1
        return following if (following >= 0).any() else None
