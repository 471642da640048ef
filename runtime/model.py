"""A loaded model: stateless, shared by streams and threads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from numpy.typing import ArrayLike, NDArray

from edgernn.artifact import Artifact
from edgernn.contract import BATCH, SEQUENCE, Contract
from edgernn.errors import ContractError, InputError, ProviderError
from edgernn.facts import Facts, ShownAsFacts, facts_of
from edgernn.forms import MOST_THREADS
from edgernn.runtime import providers
from edgernn.runtime.check_inputs import InputCheck, check_states, format_steps
from edgernn.runtime.fastest_provider import load_fastest
from edgernn.runtime.hop_chunks import HopChunks
from edgernn.runtime.io_binding import run_error
from edgernn.runtime.pool import StreamPool
from edgernn.runtime.provider_options import Value
from edgernn.runtime.sessions import Sessions, read_contract, session_options
from edgernn.runtime.stream import Outputs, Stream, unwrap_single
from edgernn.runtime.stream_inputs import chunk_check, chunk_ports

__all__ = ["Model", "Result", "load"]


@dataclass(frozen=True, repr=False)
class Result(ShownAsFacts):
    """The result of one run over whole sequences.

    Attributes:
        outputs: Name of a data output → its array.
        state: Name of a state → its final value; with the keys of `Stream.snapshot`.
        rest: The number of last steps that fill no hop. They were not run, and are in `state`.
    """

    outputs: dict[str, NDArray[Any]]
    state: dict[str, NDArray[Any]]
    rest: int = 0

    def _facts(self) -> tuple[str, Facts]:
        return "Result", [
            (role, f"{name}: {array.dtype}{[*array.shape]}")
            for role, arrays in (("output", self.outputs), ("state", self.state))
            for name, array in arrays.items()
        ] + ([("rest", format_steps(self.rest))] if self.rest else [])


class Model(ShownAsFacts):
    """A loaded artifact or graph; `load` returns it.

    A model has no state of its own, so threads and streams may share it.

    Attributes:
        contract: What its graphs promise.
        artifact: The artifact it came from, or None for a single graph.
        provider: The name of the provider that runs it.
    """

    def __init__(self, sessions: Sessions, artifact: Artifact | None = None) -> None:
        self.contract: Contract = sessions.contract
        self.artifact = artifact
        self.provider = sessions.provider.name
        self._sessions = sessions
        contract = self.contract
        self._kept_start: tuple[int, dict[str, NDArray[Any]]] = (0, {})
        self._input_check = chunk_check(contract) if contract.in_hops else _call_check(contract)

    def _facts(self) -> tuple[str, Facts]:
        _, facts = facts_of(self.artifact or self.contract)
        name = self.artifact.path if self.artifact else f"of {self.contract.source}"
        unused = bool(self.artifact and self.artifact.forms and not self._sessions.forms)
        return f"Model {name}", [
            ("provider", str(self._sessions.provider)),
            *([("forms", "not used: loaded with forms=False")] if unused else []),
            *(fact for fact in facts if not (unused and fact[0] == "form")),
        ]

    def __call__(self, *inputs: ArrayLike, **named: ArrayLike) -> Outputs:
        """Run whole sequences from the initial state to their end.

        A model that takes hops (`hop` in the contract) leaves out the last steps that fill none.
        Steps of an output that are not defined (`delays`) are dropped. Its last steps, which depend
        on padding after the end (`tails`), are there where that padding is exact.

        Args:
            inputs: One array per data input, in the order and shape of the sequence graph's ports,
                such as `(batch, sequence, input_size)` float32.
            named: The same by port name.

        Returns:
            The output, or name → output where the model has several; the final state is in what
            `run` returns.

        Raises:
            InputError: A name, dtype, shape or id is not what the port takes, or the sequence has
                not even one hop.
        """
        arrays, symbols = self._input_check.check(inputs, named)
        contract = self.contract
        if contract.in_hops:
            return unwrap_single(self._run_to_end(arrays, symbols))
        if self._runs_in_streams:
            return unwrap_single(self._run(arrays, symbols, state=None).outputs)
        names = [port.name for port in contract.data_outputs("sequence")]
        batch = self._batch(symbols)
        values = self._call({**arrays, **self._start(batch)}, names, {**symbols, BATCH: batch})
        return values[0] if len(values) == 1 else dict(zip(names, values, strict=True))

    def run(
        self, inputs: Mapping[str, ArrayLike], state: Mapping[str, ArrayLike] | None = None
    ) -> Result:
        """Run whole sequences, or a chunk of them, from a given state.

        Chunks of a model that takes hops may have any number of steps: those that fill no hop are
        in the state of the result, and run with the next chunk. The end of a sequence adds nothing.

        Args:
            inputs: Data by port name, in the shapes of the sequence graph's ports.
            state: The state to start from by its name (`h`, `c`), such as the `state` of an earlier
                result; None for the initial one.

        Returns:
            The outputs, as those of `Stream.feed`, and the final state.

        Raises:
            InputError: A name, dtype, shape or id is not what the port takes.
            StateError: A name, dtype, shape or value of a state is not this model's.
        """
        return self._run(*self._input_check.check((), inputs), state=state)

    def stream(self, batch: int = 1) -> Stream:
        """Return a new stream at the initial state.

        Args:
            batch: The number of sequences that it runs side by side.

        Raises:
            UnsupportedModelError: The model's state cannot be carried on, as that of a
                bidirectional layer.
            InputError: The model does not take that batch.
        """
        return Stream(self._sessions, batch)

    def pool(self, capacity: int | None = None) -> StreamPool:
        """Return a new pool, which steps many independent streams as one batch.

        Args:
            capacity: The most streams that it has at the same time; None for a pool that grows.

        Raises:
            UnsupportedModelError: The model's state cannot be carried on, or its streams cannot be
                one batch, such as those of a model with a constant batch.
            InputError: The capacity is below 1.
        """
        return StreamPool(self._sessions, capacity)

    def __deepcopy__(self, memo: dict[int, Any]) -> Model:
        return self  # it has no state, so both may share it

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "A model cannot be pickled: it holds sessions of ONNX Runtime. Load it where it is "
            "needed: edgernn.load(path)."
        )

    def _run(
        self,
        arrays: Mapping[str, NDArray[Any]],
        symbols: Mapping[str, int],
        state: Mapping[str, ArrayLike] | None,
    ) -> Result:
        contract, batch = self.contract, self._batch(symbols)
        if self._runs_in_streams:
            return self._run_in_stream(arrays, state, batch)
        if state is None:
            start = self._start(batch)
        else:
            checked = check_states(state, contract.state_ports, batch)
            start = {state.input: checked[state.name] for state in contract.states}
        names = [port.name for port in contract.graphs["sequence"].outputs]
        found = self._call({**arrays, **start}, names, {**symbols, BATCH: batch})
        values = dict(zip(names, found, strict=True))
        final = {s.name: values.pop(s.output) for s in contract.states}
        return Result(values, final)

    def _call(
        self, feeds: Mapping[str, NDArray[Any]], names: list[str], sizes: Mapping[str, int]
    ) -> list[NDArray[Any]]:
        """Run the sequence graph and return the outputs of these names."""
        session = self._sessions.open_for("sequence", sizes)
        try:
            values: list[NDArray[Any]] = session.run(names, feeds)
        except Exception as error:
            raise run_error(self._sessions, "sequence", error) from error
        return values

    def _run_in_stream(
        self,
        arrays: Mapping[str, NDArray[Any]],
        state: Mapping[str, ArrayLike] | None,
        batch: int,
    ) -> Result:
        """Run a chunk as a stream does: with a step graph only, in hops, or counting positions."""
        stream = self.stream(batch)
        if state is not None:
            stream.restore(state)
        outputs = self._by_name(stream.feed(**arrays))
        return Result(outputs, stream.snapshot(), stream.rest)

    def _run_to_end(
        self, arrays: Mapping[str, NDArray[Any]], symbols: Mapping[str, int]
    ) -> dict[str, Any]:
        """Run whole sequences in hops, with the last steps that depend on padding."""
        hop, steps = self.contract.hop, symbols.get(SEQUENCE, 1)
        if steps < hop:
            raise InputError(
                f"The sequence has {format_steps(steps)}; the model takes hops of {hop} steps. "
                "Give at least one hop, or feed a stream (model.stream().feed)."
            )
        batch = symbols.get(BATCH, self.contract.constants.get(BATCH, 1))
        stream = self.stream(batch)
        outputs = self._by_name(stream.feed(**arrays))
        steady: dict[str, Any] = {
            port.name: arrays[port.name]
            for port in chunk_ports(self.contract)
            if SEQUENCE not in port.axes and port.name not in self.contract.lengths
        }
        last = self._by_name(stream.finish(**steady))
        return HopChunks(self.contract).join([outputs, last], batch)

    def _by_name(self, outputs: Outputs) -> dict[str, Any]:
        if isinstance(outputs, dict):
            return outputs
        kind = "sequence" if self.contract.sequence else "step"
        return {self.contract.data_outputs(kind)[0].name: outputs}

    @cached_property
    def _runs_in_streams(self) -> bool:
        """Whether a call needs what a stream does besides running the sequence graph."""
        contract = self.contract
        return contract.sequence is None or contract.in_hops or bool(contract.limited_states)

    def _batch(self, symbols: Mapping[str, int]) -> int:
        return symbols.get(BATCH, self.contract.constants.get(BATCH, 1))

    def _start(self, batch: int) -> dict[str, NDArray[Any]]:
        """Return input of a state → its initial value; those of the last batch are kept."""
        kept, start = self._kept_start
        if kept != batch:
            contract = self.contract
            start = {state.input: contract.initial(state, batch) for state in contract.states}
            self._kept_start = (batch, start)
        return start


def _call_check(contract: Contract) -> InputCheck:
    """Return the check of the inputs of one call of the sequence graph."""
    bounds = contract.bounds("sequence" if contract.sequence else "step")
    return InputCheck(
        chunk_ports(contract),
        "sequence graph",
        contract.lengths,
        contract.constants,
        streams=contract.carry and not contract.limited_states,
        most=bounds["most"],
        least=bounds["least"],
        full_lengths=contract.full_lengths,
    )


def load(
    path: str | Path,
    provider: str = "cpu",
    threads: int | None = None,
    *,
    provider_options: Mapping[str, Value] | None = None,
    forms: bool = True,
) -> Model:
    """Load an artifact, or one graph that carries a contract.

    Args:
        path: The folder of an artifact, or an `.onnx` file.
        provider: Where to run it, also with options: `cuda:device_id=1,use_tf32=1`. `edgernn
            doctor` lists what works here. `auto` takes the provider whose step of one stream is the
            shortest, measured here; TensorRT, which builds its engines anew for every size, is not
            tried.
        threads: The number of threads of both graphs, up to 1,024; None for one per stream and all
            cores for whole sequences.
        provider_options: Name of an option of the provider → its value.
        forms: Whether to run the forms of an artifact that are faster for the sizes of a call;
            False for its portable graphs at all sizes.

    Raises:
        ContractError: There is no artifact or graph, or it breaks its contract.
        InputError: `threads` is out of bounds.
        ProviderError: The provider does not run here, or has no such option or value.
        MissingExtraError: ONNX Runtime is not installed.
    """
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        bound = f"at least 1 and at most {MOST_THREADS:,}"
        raise InputError(f"`threads` is {threads:,}; it must be {bound}.")
    if provider.partition(":")[0] == providers.AUTO:
        if provider != providers.AUTO or provider_options:
            raise ProviderError(
                f"`{providers.AUTO}` takes no options: they are those of one provider. Name the "
                "provider, as in `cuda:device_id=1`."
            )
        providers.onnxruntime()
        return load_fastest(lambda name: load(path, name, threads, forms=forms))
    chosen = providers.find_provider(provider, provider_options)
    providers.onnxruntime()
    path = Path(path)
    artifact = None if os.path.isfile(path) else Artifact.open(path)
    if chosen.name != "cpu":
        providers.try_provider(chosen)
    if artifact is not None:
        sessions = Sessions(
            artifact.contract,
            chosen,
            threads,
            locate=artifact.checked,
            forms=artifact.forms if forms else (),
            locate_form=artifact.checked_form,
        )
        if chosen.name != "cpu" and artifact.precision is not None:
            # A provider that lacks the precision refuses it here, not at the first run.
            sessions.open("step" if artifact.contract.step else "sequence")
        return Model(sessions, artifact)
    _refuse_torch_files(path)
    session = providers.start_session(str(path), chosen, session_options("sequence", threads))
    contract = read_contract(session, f"`{path}`")
    opened = {"sequence": session} if contract.sequence else {}  # a step takes other options
    return Model(Sessions(contract, chosen, threads, locate=lambda kind: path, opened=opened))


def _refuse_torch_files(path: Path) -> None:
    """Refuse what `edgernn export` takes: archives, pickles and safetensors.

    Raises:
        ContractError: The file is one of them, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(256)
            size = file.seek(0, os.SEEK_END)
    except OSError as error:
        raise ContractError(f"`{path}` cannot be read: {error.strerror or error}.") from error
    pickled = head[:1] == b"\x80" and head[1:2] <= b"\x05"
    archive = head.startswith(b"PK\x03\x04") and b".npy" not in head  # a .npz is not a model
    tensors = head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8
    if archive or pickled or tensors:
        raise ContractError(
            f"`{path}` is a file of PyTorch's, not an artifact or an ONNX graph. Write an artifact "
            f"from it first: `edgernn export {path}`."
        )
