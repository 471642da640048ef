"""The frames of outputs that graphs and the model have in common.

A frame is one step of an output. Where the graphs take chunks, the first frames of a new stream are
undefined (the delay), and the last frames of the model depend on what follows the end (the tail):

    graph     -    -    y0   y1   y2   y3        delay 2
    model               y0   y1   y2   y3   y4   tail 1
    compared            y0   y1   y2   y3
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.contract import BATCH, SEQUENCE, Contract, Port
from edgernn.export.ir.onnx_session import Arrays
from edgernn.streaming_rules import steps_axis, steps_per_hop

__all__ = ["OutputFrames"]


@dataclass(frozen=True)
class OutputFrames:
    """The frames of each output, counted in hops of the input.

    Attributes:
        contract: The contract of the graphs, with the ports of a sequence graph.
        undefined_in_reference: Whether the reference returns the frames of the delay too and none
            of the tail, as an ONNX file does that takes chunks itself.
    """

    contract: Contract
    undefined_in_reference: bool = False

    @property
    def hop(self) -> int:
        """The number of steps of the input that the step graph takes."""
        return self.contract.hop

    @functools.cached_property
    def axes(self) -> Mapping[str, int]:
        """Name of each data output whose frames are along an axis of their own → that axis."""
        return {
            port.name: axis
            for port in self.contract.data_outputs("sequence")
            if (axis := self._axis(port)) is not None
        }

    @functools.cached_property
    def first_hops(self) -> int:
        """The number of hops after which a new stream has a frame of every output.

        An output without frames of its own, such as the last one alone, may have a delay too.
        """
        delays = self.contract.delays
        return max(
            (-(-(delays.get(name, 0) + 1) // self.per_hop(name)) for name in {*self.axes, *delays}),
            default=1,
        )

    def per_hop(self, name: str) -> int:
        """Return the number of frames of an output for each hop."""
        return self.contract.steps_per_hop(name)

    def steps(self, hops: int) -> int:
        """Return the number of steps at which every output has the frames of so many hops."""
        return self.hop * (hops + self.first_hops - 1)

    def whole_hops(self, steps: int) -> int:
        """Return the least number of steps that are whole hops, not fewer than `steps`.

        Every output has a frame at so many steps, unless a bound of the contract is below them.
        """
        hops = max(math.ceil(steps / self.hop), self.first_hops)
        most = self.contract.most.get(SEQUENCE, hops * self.hop)
        return min(hops, most // self.hop) * self.hop

    def undefined(self, name: str, hops_before: int = 0) -> int:
        """Return the number of undefined frames of an output that come after so many hops."""
        delay = self.contract.delays.get(name, 0)
        return max(0, delay - hops_before * self.per_hop(name)) if delay else 0

    def of_graph(self, outputs: Arrays, hops_before: int = 0) -> Arrays:
        """Return the outputs of a graph without undefined frames.

        Args:
            outputs: What a run of whole hops returned.
            hops_before: The number of hops that the stream had run before.
        """
        return self._cut(outputs, {name: self.undefined(name, hops_before) for name in self.axes})

    def of_reference(self, outputs: Arrays) -> Arrays:
        """Return the outputs of the reference, over a whole sequence, that the graphs give too."""
        if self.undefined_in_reference:
            return self.of_graph(outputs)
        return self._cut(outputs, {}, self.contract.tails)

    def with_delay(self, outputs: Arrays) -> Arrays:
        """Return what `of_graph` returned for a new stream, with zeros for undefined frames."""
        padded = dict(outputs)
        for name, axis in self.axes.items():
            if name in padded and (delay := self.undefined(name)):
                widths = [(0, 0)] * padded[name].ndim
                widths[axis] = (delay, 0)
                padded[name] = np.pad(padded[name], widths)
        return padded

    def with_axis(self, outputs: Arrays) -> Arrays:
        """Return the outputs of a step graph with the axis of frames where it has none."""
        ranks = {port.name: len(port.shape) for port in self.contract.data_outputs("sequence")}
        return {
            name: np.expand_dims(array, self.axes[name])
            if name in self.axes and array.ndim < ranks[name]
            else array
            for name, array in outputs.items()
        }

    def _axis(self, port: Port) -> int | None:
        """Return the axis whose size is a multiple of the number of hops alone."""
        axis = steps_axis(port)
        if axis is None or steps_per_hop(port, self.hop) is None:
            return None
        return None if BATCH in (port.axes[axis] or "") else axis

    def _cut(
        self, outputs: Arrays, first: Mapping[str, int], last: Mapping[str, int] | None = None
    ) -> Arrays:
        """Return outputs without so many of their first and last frames."""
        cut: dict[str, NDArray[Any]] = {}
        for name, array in outputs.items():
            start, less = first.get(name, 0), (last or {}).get(name, 0)
            axis = self.axes.get(name)
            if axis is not None and (start or less):
                stop = max(start, array.shape[axis] - less)
                array = array[(*(slice(None),) * axis, slice(start, stop))]
            cut[name] = array
        return cut
