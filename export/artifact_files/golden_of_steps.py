"""The golden run of an artifact that has a step graph only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.contract import Contract
from edgernn.streaming_rules import over_chunks, steps_axis

__all__ = ["golden_of_steps"]


def golden_of_steps(
    golden: Mapping[str, NDArray[Any]], contract: Contract
) -> dict[str, NDArray[Any]]:
    """Return the golden run with the axis of steps where the step graph alone has it.

    That is in front: (batch, sequence, size) becomes (sequence, batch, size). A port of several
    steps per hop keeps its place. An output without that axis, which is that of the last step,
    stays as it is.

    Args:
        golden: The arrays by port name, in the shapes of the sequence graph.
        contract: The contract of both graphs.
    """
    hop, arrays = contract.hop, dict(golden)
    for is_output, data in ((False, contract.data_inputs), (True, contract.data_outputs)):
        after = {port.name: over_chunks(port, hop, is_output) for port in data("step")}
        for port in data("sequence"):
            if port.name not in after:
                continue
            axis, target = steps_axis(port), steps_axis(after[port.name])
            if axis is not None and target is not None:
                arrays[port.name] = np.moveaxis(arrays[port.name], axis, target)
    return arrays
