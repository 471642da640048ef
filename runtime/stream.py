"""A stream: one running state of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgernn.contract import BATCH, SEQUENCE, Contract, Port
from edgernn.errors import InputError, UnsupportedModelError
from edgernn.facts import Facts, ShownAsFacts, state_bytes
from edgernn.runtime.bound_step import BoundStep
from edgernn.runtime.check_inputs import InputCheck, check_states
from edgernn.runtime.chunk_calls import ChunkCalls, GraphCall
from edgernn.runtime.io_binding import Buffers, Outputs, run_error, run_graph, state_buffers
from edgernn.runtime.sessions import Sessions

__all__ = ["Outputs", "Stream", "chunk_ports", "unwrap_single"]


class Stream(ShownAsFacts):
    """One running state of a model; `Model.stream` returns it.

    A stream belongs to one thread at a time; streams of one model run in parallel. A call that
    fails or is interrupted does not change the state. `copy.copy` and `copy.deepcopy` return a
    `fork`; to pickle a stream, pickle its `snapshot`.

    Attributes:
        batch: The number of sequences that run side by side.
    """

    def __init__(self, sessions: Sessions, batch: int = 1) -> None:
        contract = sessions.contract
        _check_carry(contract)
        kind = "sequence" if contract.sequence else "step"
        self.batch = _check_batch(contract, batch)
        self._sessions = sessions
        self._contract = contract
        self._buffers = (
            state_buffers(contract, batch, sessions.provider.device),
            state_buffers(contract, batch, sessions.provider.device),
        )
        self._current = 0
        self._steps = 0
        self._bound: BoundStep | None = None
        most, least = map(_without_steps, contract.bounds(kind).values())
        self._step_check = InputCheck(_step_ports(contract), "step graph", most=most, least=least)
        if not contract.divisible:  # a chunk is one call, within the bounds of calls
            most, least = contract.bounds(kind).values()
        ports = tuple(port.with_dynamic_axis(SEQUENCE) for port in chunk_ports(contract))
        self._chunk_check = InputCheck(
            ports,
            "sequence graph",
            contract.lengths,
            most=most,
            least=least,
            full_lengths=contract.full_lengths,
        )
        self._calls = ChunkCalls(contract)
        self.reset()

    def _facts(self) -> tuple[str, Facts]:
        memory = self.batch * state_bytes(self._contract)
        return f"Stream of {self._contract.source}", [
            ("provider", self._sessions.provider.name),
            ("steps", f"{self.steps:,} so far"),
            ("batch", f"{self.batch:,}"),
            *(("state", str(port)) for port in self._contract.state_ports.values()),
            ("memory", f"{memory:,} bytes of state"),
        ]

    @property
    def steps(self) -> int:
        """The number of steps since the stream was created or reset."""
        return self._steps

    def step(self, *inputs: ArrayLike, **named: ArrayLike) -> Outputs:
        """Run one time step.

        Args:
            inputs: One array per data input without the sequence axis: `(batch, input_size)`
                float32, ids `(batch,)` int64, as the step graph's ports say.
            named: The same by port name.

        Returns:
            The output, or name → output where the model has several; the arrays are new.

        Raises:
            InputError: A name, dtype, shape or id is not what the port takes.
        """
        bound = self._bound
        if bound is None:
            return self._step_unbound(inputs, named)
        if named or not bound.put(inputs):
            bound.put(self._check_step(inputs, named))
        try:
            bound.runs[self._current]()
        except Exception as error:
            raise run_error(self._sessions, "step", error) from error
        outputs = bound.read()
        self._commit(1)
        return outputs

    def feed(self, *inputs: ArrayLike, **named: ArrayLike) -> Outputs:
        """Run a chunk of any number of steps, exactly as the same steps one by one.

        A sequence graph that takes a constant number of steps runs as many full calls as fit, and
        the step graph runs the rest. One that takes up to a number of steps runs the chunk in
        several calls. A model that keeps memory from call to call may give other numbers in other
        chunks (`divisible` in its contract): then a chunk is one call.

        Args:
            inputs: One array per data input as the sequence graph's ports say; where the model
                has a step graph only, the step's arrays with a leading axis of steps.
            named: The same by port name.

        Returns:
            The outputs of the chunk, as `step` returns them.

        Raises:
            InputError: A name, dtype, shape or id is not what the port takes; or there is no step
                graph for the rest.
        """
        arrays, symbols = self._chunk_check.check(inputs, named, self.batch)
        steps = symbols.get(SEQUENCE, 1)
        calls = self._calls.calls(steps)
        if [call.kind for call in calls] == ["sequence"]:
            outputs = self._run("sequence", arrays)
        else:
            outputs = self._run_calls(arrays, calls, steps)
        self._commit(steps)
        return unwrap_single(outputs)

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Return a copy of the state: name of a state → its value."""
        return {name: buffer.read() for name, buffer in self._now.items()}

    def restore(self, snapshot: Mapping[str, ArrayLike]) -> None:
        """Continue from a state that `snapshot` returned; `steps` does not change.

        Args:
            snapshot: Name of a state → its value, for the `batch` of this stream.

        Raises:
            StateError: A name, dtype, shape or value is not this model's.
        """
        states = check_states(snapshot, self._contract.state_ports, self.batch)
        for name, array in states.items():
            self._next[name].write(array)
        self._commit(0)

    def reset(self) -> None:
        """Return to the initial state."""
        for state in self._contract.states:
            self._next[state.name].write(self._contract.initial(state, self.batch))
        self._commit(-self._steps)

    def fork(self) -> Stream:
        """Return an independent stream that continues from this state."""
        other = Stream(self._sessions, self.batch)
        for name, buffer in self._now.items():
            other._now[name].write(buffer.read())
        other._steps = self._steps
        return other

    __copy__ = fork

    def __deepcopy__(self, memo: dict[int, Any]) -> Stream:
        return self.fork()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "A stream cannot be pickled: it holds sessions of ONNX Runtime. Pickle "
            "stream.snapshot() and restore it in a stream of the loaded model; within one process, "
            "stream.fork() gives an independent copy."
        )

    @property
    def _now(self) -> Buffers:
        """The buffers of the current state."""
        return self._buffers[self._current]

    @property
    def _next(self) -> Buffers:
        """The buffers of the next state, which are not read before `_commit`."""
        return self._buffers[self._current ^ 1]

    @cached_property
    def _between(self) -> Buffers:
        """Buffers for states within a chunk that takes several calls."""
        return state_buffers(self._contract, self.batch, self._sessions.provider.device)

    def _commit(self, steps: int) -> None:
        """Make the next state the current one, and count `steps`.

        Nothing is called between the two assignments, so no signal handler runs there.
        """
        self._current, self._steps = self._current ^ 1, self._steps + steps

    def _check_step(
        self, inputs: Sequence[ArrayLike], named: Mapping[str, ArrayLike]
    ) -> tuple[NDArray[Any], ...]:
        return tuple(self._step_check.check(inputs, named, self.batch)[0].values())

    def _step_unbound(self, inputs: Sequence[ArrayLike], named: Mapping[str, ArrayLike]) -> Outputs:
        """Run the first step, or any step where the step graph is missing or cannot be bound."""
        arrays = self._step_check.check(inputs, named, self.batch)[0]
        if self._contract.step is None:
            outputs = self._step_in_sequence_graph(arrays)
        elif BoundStep.fits(self._contract, self.batch):
            self._bound = BoundStep(self._sessions, self._buffers, self.batch)
            return self.step(**arrays)
        else:
            outputs = self._run("step", arrays)
        self._commit(1)
        return unwrap_single(outputs)

    def _run_calls(
        self, arrays: Mapping[str, NDArray[Any]], calls: Sequence[GraphCall], steps: int
    ) -> dict[str, NDArray[Any]]:
        self._calls.check_lengths(arrays, steps)
        outputs = []
        before = self._now
        for left, call in zip(reversed(range(len(calls))), calls, strict=True):
            after = self._between if left % 2 else self._next  # the last writes the next state
            part = self._calls.inputs(arrays, call)
            outputs.append(run_graph(self._sessions, call.kind, part, before, after))
            before = after
        return self._calls.join(calls, outputs, self.batch)

    def _step_in_sequence_graph(
        self, arrays: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """Run one step through the sequence graph."""
        if self._calls.size not in (None, 1):
            raise UnsupportedModelError(
                f"`{self._contract.source}` has no step graph, and its sequence graph takes "
                f"{self._calls.size} steps at a time. Feed it chunks: stream.feed(x)."
            )
        if self._contract.least.get(SEQUENCE, 1) > 1:
            raise UnsupportedModelError(
                f"`{self._contract.source}` has no step graph, and its sequence graph takes at "
                f"least {self._contract.least[SEQUENCE]} steps. Feed it chunks: stream.feed(x)."
            )
        graph = self._contract.graphs["sequence"]
        chunk: dict[str, NDArray[Any]] = {}
        for name, array in arrays.items():
            axis = graph.input(name).axis(SEQUENCE)
            chunk[name] = array if axis is None else np.expand_dims(array, axis)
        outputs = self._run("sequence", chunk)
        for name, array in outputs.items():
            axis = graph.output(name).axis(SEQUENCE)
            outputs[name] = array if axis is None else array.squeeze(axis)
        return outputs

    def _run(self, kind: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return run_graph(self._sessions, kind, arrays, self._now, self._next)


def unwrap_single(outputs: dict[str, NDArray[Any]]) -> Outputs:
    """Return the only output itself, or all of them by name."""
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    return outputs


def _step_ports(contract: Contract) -> tuple[Port, ...]:
    """Return the data inputs of one step, without a step graph those of the sequence graph."""
    if contract.step is not None:
        return contract.data_inputs("step")
    ports = contract.data_inputs("sequence")
    axes = (port.axis(SEQUENCE) for port in ports)
    return tuple(
        port if axis is None else port.without_axis(axis)
        for port, axis in zip(ports, axes, strict=True)
    )


def chunk_ports(contract: Contract) -> tuple[Port, ...]:
    """Return the data inputs of a chunk, without a sequence graph those of the step graph."""
    if contract.sequence is not None:
        return contract.data_inputs("sequence")
    return tuple(port.with_steps() for port in contract.data_inputs("step"))


def _without_steps(sizes: Mapping[str, int]) -> dict[str, int]:
    """Return bounds without those of steps, as a chunk may take several calls."""
    return {axis: size for axis, size in sizes.items() if axis != SEQUENCE}


def _check_carry(contract: Contract) -> None:
    if not contract.carry:
        reason = contract.no_step or "its state cannot be carried from one chunk to the next."
        raise UnsupportedModelError(
            f"`{contract.source}` cannot run as a stream: {reason} Give it whole sequences: "
            "model(x)."
        )


def _check_batch(contract: Contract, batch: int) -> int:
    if batch < 1:
        raise InputError(f"`batch` is {batch}; a stream runs at least 1 sequence.")
    most = contract.most.get(BATCH, batch)
    if batch > most:
        raise InputError(f"`batch` is {batch}; the model takes at most {most} sequences at once.")
    ports = tuple(contract.state_ports.values())
    if not ports or any(BATCH in port.shape for port in ports):
        return batch
    constant = contract.constants.get(BATCH, 1)
    if batch != constant:
        raise InputError(
            f"`batch` is {batch}, but this model was exported for a batch of {constant} only "
            f"(`{ports[0]}`). Run {constant} sequence{'s' if constant > 1 else ''} at a time."
        )
    return batch
