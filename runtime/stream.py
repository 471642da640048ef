"""A stream: one running state of a model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgernn.contract import SEQUENCE
from edgernn.errors import InputError, ProviderError
from edgernn.facts import Facts, ShownAsFacts, state_bytes
from edgernn.runtime.bound_step import BoundStep
from edgernn.runtime.check_inputs import check_states, format_steps
from edgernn.runtime.graph_runner import GraphRunner
from edgernn.runtime.hop_chunks import HOPS_KEY, REST_KEY, HopChunks
from edgernn.runtime.io_binding import Buffers, Outputs, run_error, state_buffers
from edgernn.runtime.port_axes import output_axes
from edgernn.runtime.sessions import Sessions
from edgernn.runtime.stream_inputs import check_batch, check_carry, chunk_check, step_check

__all__ = ["Outputs", "Stream", "unwrap_single"]


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
        check_carry(contract)
        self.batch = check_batch(contract, batch)
        self._sessions = sessions
        self._contract = contract
        self._buffers = (
            state_buffers(contract, batch, sessions.provider.device),
            state_buffers(contract, batch, sessions.provider.device),
        )
        self._current = 0
        self._hops = 0
        self._chunks = HopChunks(contract)
        self._defined_after = 0
        self._most_hops = sys.maxsize
        self._rest: Mapping[str, NDArray[Any]] = {}
        self._finished = False
        self._bound: BoundStep | None = None
        self._steps: tuple[Callable[[Sequence[Any]], Outputs | None], ...] = ()
        self._free_until = 0  # the hops up to which a step needs no check but that of its inputs
        self._step_check = step_check(contract)
        self._chunk_check = chunk_check(contract)
        self._runner = GraphRunner(sessions, batch)
        self.reset()

    def _facts(self) -> tuple[str, Facts]:
        memory = self.batch * state_bytes(self._contract)
        return f"Stream of {self._contract.source}", [
            ("provider", str(self._sessions.provider)),
            ("steps", f"{self.steps:,} so far"),
            *([("rest", f"{format_steps(self.rest)} kept")] if self._rest else []),
            ("batch", f"{self.batch:,}"),
            *(("state", str(port)) for port in self._contract.state_ports.values()),
            ("memory", f"{memory:,} bytes of state"),
        ]

    @property
    def steps(self) -> int:
        """The number of steps that were run since the stream was created or reset."""
        return self._hops * self._contract.hop

    @property
    def rest(self) -> int:
        """The number of steps that are kept until they fill a hop."""
        return self._chunks.rest_steps(self._rest)

    @property
    def missing(self) -> dict[str, int]:
        """Name of an output → the last steps that the model gives and this stream cannot give."""
        return self._contract.missing

    def step(self, *inputs: ArrayLike, **named: ArrayLike) -> Outputs:
        """Run one time step, or one hop where the model takes several steps at a time.

        Args:
            inputs: One array per data input without the sequence axis: `(batch, input_size)`
                float32, ids `(batch,)` int64, as the step graph's ports say; with an axis of `hop`
                steps where the model takes hops: `(batch, hop)`.
            named: The same by port name.

        Returns:
            The output, or name → output where the model has several; the arrays are new. At the
            start of a stream, an output with an axis of steps comes without those that are not
            defined, and one without that axis is None until it is defined (`delays` in the
            contract).

        Raises:
            InputError: A name, dtype, shape or id is not what the port takes; the stream keeps a
                rest, has finished, or has no position left.
        """
        if self._hops < self._free_until and not named:
            current = self._current
            try:
                outputs = self._steps[current](inputs)
            except Exception as error:
                raise run_error(self._sessions, "step", error) from error
            if outputs is not None:  # else the inputs must be converted or refused
                self._current, self._hops = current ^ 1, self._hops + 1
                return outputs
        return self._step_with_checks(inputs, named)

    def feed(self, *inputs: ArrayLike, **named: ArrayLike) -> Outputs:
        """Run a chunk of any number of steps, exactly as the same steps one by one.

        A sequence graph that takes a constant number of steps runs as many full calls as fit, and
        the step graph runs the rest. One that takes up to a number of steps runs the chunk in
        several calls. A model that keeps memory from call to call may give other numbers in other
        chunks (`divisible` in its contract): then a chunk is one call. A model that takes hops runs
        the whole hops; the steps after them are kept for the next call (`rest`).

        Args:
            inputs: One array per data input as the sequence graph's ports say; where the model
                has a step graph only, the step's arrays with a leading axis of steps, or with any
                number of steps on the axis of a hop.
            named: The same by port name. An input without an axis of steps counts for the hops that
                this call runs.

        Returns:
            The outputs of the chunk, as `step` returns them. Where no hop is complete, an output
            has no steps, and is None if it has no axis of steps.

        Raises:
            InputError: A name, dtype, shape or id is not what the port takes; there is no step
                graph for the rest; or the stream has finished, or has no positions left.
        """
        arrays, symbols = self._chunk_check.check(inputs, named, self.batch)
        return unwrap_single(self._feed(arrays, symbols.get(SEQUENCE, 1)))

    def finish(self, pad: float | None = None, **named: ArrayLike) -> Outputs:
        """End the sequence, and return the outputs that come only then.

        The last steps of an output may depend on what follows the end. Where the model pads its
        input, they are those of the padding (`padding` in the contract), as in the model. Where it
        pads in between, they cannot be given: `missing` has their number. Steps that fill no hop
        are left out, and `rest` still counts them, unless `pad` is given.

        Args:
            pad: A value that fills the rest up to a hop; None to leave the rest out.
            named: The data inputs that have no axis of steps, if there are any.

        Returns:
            The outputs, as `feed` returns them; without steps where none is left. The stream then
            takes no more steps before `reset` or `restore`.

        Raises:
            InputError: The stream has finished, an input is missing, or does not take the padding.
        """
        self._check_room(0)
        end, parts, rest = self.fork(), [self._chunks.empty(self.batch)], self._rest
        if pad is not None and rest:
            steps = self._contract.hop - self.rest
            fill = {**self._chunks.padding(steps, pad, self.batch), **named}
            parts.append(end._feed(end._chunk_check.check((), fill, self.batch)[0], steps))
            rest = {}
        end._rest = {}
        if self._chunks.tail:
            parts.append(end._run_tail(named))
        outputs = unwrap_single(self._chunks.join(parts, self.batch))
        self._most_hops, self._rest, self._finished, self._free_until = 0, rest, True, 0
        return outputs

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Return a copy of the state: name of a state → its value.

        Two more keys are there while they are needed: `stream.hops`, the hops of the sequence so
        far, until all outputs are defined, and `stream.rest.INPUT`, the steps that are kept.
        """
        states = {name: buffer.read() for name, buffer in self._now.items()}
        if self._hops < self._defined_after:
            states[HOPS_KEY] = np.array(self._age)
        return states | {REST_KEY + name: array.copy() for name, array in self._rest.items()}

    def restore(self, snapshot: Mapping[str, ArrayLike]) -> None:
        """Continue from a state that `snapshot` returned; `steps` does not change.

        Args:
            snapshot: Name of a state → its value, for the `batch` of this stream. Without
                `stream.hops`, all outputs are defined.

        Raises:
            StateError: A name, dtype, shape or value is not this model's.
        """
        given, age, rest = self._chunks.place_in(snapshot, self.batch)
        states = check_states(given, self._contract.state_ports, self.batch)
        for name, array in states.items():
            self._next[name].write(array)
        self._start(self._hops, age, states, rest)

    def reset(self) -> None:
        """Return to the initial state; a rest is dropped."""
        contract = self._contract
        states = {state.name: contract.initial(state, self.batch) for state in contract.states}
        for name, array in states.items():
            self._next[name].write(array)
        self._start(0, 0, states, {})

    def fork(self) -> Stream:
        """Return an independent stream that continues from this state."""
        other = Stream(self._sessions, self.batch)
        for name, buffer in self._now.items():
            other._now[name].copy_from(buffer)
        other._hops, other._rest, other._finished = self._hops, self._rest, self._finished
        other._defined_after, other._most_hops = self._defined_after, self._most_hops
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

    @property
    def _age(self) -> int:
        """The hops of the sequence so far, where an output is not defined yet."""
        return self._hops - self._defined_after + self._chunks.undefined

    def _commit(self, hops: int) -> None:
        """Make the next state the current one, and count `hops`.

        Nothing is called between the two assignments, so no signal handler runs there.
        """
        self._current, self._hops = self._current ^ 1, self._hops + hops

    def _start(
        self,
        hops: int,
        age: int,
        states: Mapping[str, NDArray[Any]],
        rest: Mapping[str, NDArray[Any]],
    ) -> None:
        """Make the next state the current one, `age` hops after the start of a sequence."""
        limits = self._contract.limited_states.items()
        left = [limit - int(states[name].max()) for name, limit in limits]
        defined_after = hops - age + self._chunks.undefined
        self._current, self._hops, self._defined_after = self._current ^ 1, hops, defined_after
        self._most_hops = hops + min(left, default=sys.maxsize)
        self._rest, self._finished, self._free_until = rest, False, 0

    def _feed(self, arrays: Mapping[str, NDArray[Any]], steps: int) -> dict[str, Any]:
        """Run the whole hops of the rest and a checked chunk, and keep what is left."""
        whole, hops, rest = self._chunks.split(self._rest, arrays, steps)
        if self._finished or self._hops + hops > self._most_hops:
            self._check_room(hops)
        if rest:
            self._free_until = 0
        if not hops:
            self._rest = rest
            return self._chunks.empty(self.batch)
        found = self._runner.run_hops(whole, hops, self._now, self._next)
        outputs = self._chunks.defined(found, self._age, hops, self.batch)
        self._current, self._hops, self._rest = self._current ^ 1, self._hops + hops, rest
        return outputs

    def _run_tail(self, named: Mapping[str, ArrayLike]) -> dict[str, Any]:
        """Run the padding after the end, and return the tails."""
        hops = self._chunks.tail
        padding = self._chunks.padding(hops * self._contract.hop, None, self.batch)
        arrays, _ = self._chunk_check.check((), {**padding, **named}, self.batch)
        try:
            outputs = self._runner.run_hops(arrays, hops, self._now, self._next)
        except ProviderError:  # positions of padding may be past a table that a graph looks up
            self._check_room(hops)
            raise
        return self._chunks.tails(outputs, self._age, self.batch)

    def _check_room(self, hops: int) -> None:
        """Check that the stream takes more hops.

        Raises:
            InputError: It has finished, or a state would count past the end of a table.
        """
        if self._finished:
            raise InputError(
                "The stream has finished. Start a new sequence with stream.reset(), or continue "
                "from a snapshot with stream.restore(snapshot)."
            )
        unit, room = "step" if self._contract.hop == 1 else "hop", sys.maxsize
        for name, limit in self._contract.limited_states.items():
            left = limit - int(self._now[name].read().max())  # an input may have reset it
            if hops > left:
                raise InputError(
                    f"State `{name}` counts the {unit}s of a sequence up to {limit}, the end of a "
                    f"table of the model; {left} of them {'is' if left == 1 else 'are'} left, and "
                    f"{hops} came. Start a new sequence; a stream does with stream.reset()."
                )
            room = min(room, left)
        self._most_hops = self._hops + room

    def _check_step(
        self, inputs: Sequence[ArrayLike], named: Mapping[str, ArrayLike]
    ) -> tuple[NDArray[Any], ...]:
        return tuple(self._step_check.check(inputs, named, self.batch)[0].values())

    def _step_with_checks(
        self, inputs: Sequence[ArrayLike], named: Mapping[str, ArrayLike]
    ) -> Outputs:
        """Run a step after every check, and leave those out that no next step needs."""
        if self._hops >= self._most_hops:
            self._check_room(1)
        if self._rest:
            raise InputError(
                f"The stream keeps a rest of {format_steps(self.rest)} from `feed`, which comes "
                "before this hop. Feed it as well, stream.feed(x), or start a new sequence with "
                "stream.reset()."
            )
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
        if self._hops < self._defined_after:
            outputs = self._defined_step(outputs)
        self._commit(1)
        if self._hops >= self._defined_after:
            self._steps, self._free_until = bound.steps, self._most_hops
        return outputs

    def _step_unbound(self, inputs: Sequence[ArrayLike], named: Mapping[str, ArrayLike]) -> Outputs:
        """Run the first step, or any step where the step graph is missing or cannot be bound."""
        arrays = self._step_check.check(inputs, named, self.batch)[0]
        if self._contract.step is not None and BoundStep.fits(self._contract, self.batch):
            self._bound = BoundStep(self._sessions, self._buffers, self.batch)
            return self._step_with_checks((), arrays)
        outputs = self._runner.run_step(arrays, self._now, self._next)
        defined = self._defined_step(unwrap_single(outputs))
        self._commit(1)
        return defined

    def _defined_step(self, outputs: Outputs) -> Outputs:
        """Return the outputs of a step without those that are not defined."""
        if self._hops >= self._defined_after:
            return outputs
        names = output_axes(self._contract)
        table = outputs if isinstance(outputs, dict) else {next(iter(names)): outputs}
        return unwrap_single(self._chunks.defined_step(table, self._age, self.batch))


def unwrap_single(outputs: dict[str, NDArray[Any]]) -> Outputs:
    """Return the only output itself, or all of them by name."""
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    return outputs
