"""A model's graphs, run over whole hops or over one, from one set of states to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import UnsupportedModelError
from edgernn.runtime.chunk_calls import ChunkCalls, GraphCall
from edgernn.runtime.io_binding import Buffers, run_graph, state_buffers
from edgernn.runtime.port_axes import output_axes
from edgernn.runtime.sessions import Sessions

__all__ = ["GraphRunner"]

Arrays = Mapping[str, NDArray[Any]]


class GraphRunner:
    """Runs the graphs of a model over checked data, in as many calls as that takes."""

    def __init__(self, sessions: Sessions, batch: int) -> None:
        self._sessions = sessions
        self._contract = sessions.contract
        self._batch = batch
        self._calls = ChunkCalls(sessions.contract)
        self._outputs = output_axes(sessions.contract)

    def run_hops(
        self, arrays: Arrays, hops: int, before: Buffers, after: Buffers
    ) -> dict[str, NDArray[Any]]:
        """Run whole hops; return the outputs in the shapes of the sequence graph.

        Args:
            arrays: The data of the hops by port name.
            hops: Their number, at least 1.
            before: Buffers of the states before them; not changed.
            after: Buffers for the states after them.

        Raises:
            InputError: Hops remain after the last full call, and there is no step graph.
            ProviderError: ONNX Runtime failed.
        """
        steps = hops * self._contract.hop
        calls = self._calls.calls(steps)
        if [call.kind for call in calls] == ["sequence"]:
            sizes = {BATCH: self._batch, SEQUENCE: steps}
            return run_graph(self._sessions, "sequence", arrays, before, after, sizes)
        return self._run_calls(arrays, calls, steps, before, after)

    def run_step(self, arrays: Arrays, before: Buffers, after: Buffers) -> dict[str, NDArray[Any]]:
        """Run one hop; return the outputs in the shapes of the step graph, also without one.

        Raises:
            UnsupportedModelError: There is no step graph, and the sequence graph takes no single
                hop.
            ProviderError: ONNX Runtime failed.
        """
        if self._contract.step is not None:
            return run_graph(self._sessions, "step", arrays, before, after)
        self._check_single_hop()
        graph = self._contract.graphs["sequence"]
        chunk: dict[str, NDArray[Any]] = {}
        for name, array in arrays.items():
            axis = graph.input(name).axis(SEQUENCE) if self._contract.hop == 1 else None
            chunk[name] = array if axis is None else np.expand_dims(array, axis)
        outputs = run_graph(self._sessions, "sequence", chunk, before, after)
        for name, axes in self._outputs.items():
            axis = axes.sequence
            if axis is not None and not axes.flattened and outputs[name].shape[axis] == 1:
                outputs[name] = outputs[name].squeeze(axis)
        return outputs

    def _check_single_hop(self) -> None:
        hop, size = self._contract.hop, self._calls.size
        least = self._contract.least.get(SEQUENCE, hop)
        if size not in (None, hop):
            takes = f"{size} steps at a time"
        elif least > hop:
            takes = f"at least {least} steps"
        else:
            return
        raise UnsupportedModelError(
            f"`{self._contract.source}` has no step graph, and its sequence graph takes {takes}. "
            "Feed it chunks: stream.feed(x)."
        )

    @cached_property
    def _between(self) -> Buffers:
        """Buffers for states within a chunk that takes several calls."""
        return state_buffers(self._contract, self._batch, self._sessions.provider.device)

    def _run_calls(
        self,
        arrays: Arrays,
        calls: Sequence[GraphCall],
        steps: int,
        before: Buffers,
        after: Buffers,
    ) -> dict[str, NDArray[Any]]:
        self._calls.check_lengths(arrays, steps)
        outputs = []
        for left, call in zip(reversed(range(len(calls))), calls, strict=True):
            target = self._between if left % 2 else after  # the last writes the states after
            part = self._calls.inputs(arrays, call)
            outputs.append(run_graph(self._sessions, call.kind, part, before, target))
            before = target
        return self._calls.join(calls, outputs, self._batch)
