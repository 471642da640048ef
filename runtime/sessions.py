"""The ONNX Runtime sessions of one model: one per graph, opened when first used."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.contract import Contract, Port
from edgernn.contract_metadata import streaming_texts
from edgernn.errors import ContractError
from edgernn.forms import Form, choose_form, with_unit_axes
from edgernn.json_field import unreadable_contract
from edgernn.runtime.providers import Provider, quiet_options, start_session

__all__ = ["Sessions", "read_contract", "session_options"]

_CAPTURED = "captured step"
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int16)": "int16",
    "tensor(int8)": "int8",
    "tensor(uint64)": "uint64",
    "tensor(uint32)": "uint32",
    "tensor(uint16)": "uint16",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}


class Sessions:
    """The sessions of one model, shared by its streams and by threads.

    Attributes:
        contract: What the graphs promise.
        provider: Where they run.
        forms: The graphs that may run in place of these.
    """

    def __init__(
        self,
        contract: Contract,
        provider: Provider,
        threads: int | None,
        locate: Callable[[str], Path],
        opened: Mapping[str, Any] | None = None,
        forms: Sequence[Form] = (),
        locate_form: Callable[[Form], Path] | None = None,
    ) -> None:
        self.contract = contract
        self.provider = provider
        self.forms = forms
        self._threads = threads
        self._locate = locate
        self._locate_form = locate_form
        self._open: dict[Any, Any] = dict(opened or {})
        self._lock = threading.Lock()

    def open_for(self, kind: str, sizes: Mapping[str, int]) -> Any:
        """Return the session of graph `kind` or of its form for some sizes, opening it if needed.

        A port of a form of the step graph may have additional axes of size 1, but those of states
        have none.

        Args:
            kind: `sequence` or `step`.
            sizes: Name of an axis → its size in the call.

        Raises:
            ContractError: The file is not the graph that the contract promises.
            ProviderError: The provider does not run it.
        """
        form = choose_form(self.forms, kind, self.provider.name, sizes) if self.forms else None
        if form is None or self._locate_form is None:
            return self.open(kind)
        key, threads = (form.file, form.threads), self._threads or _here(form.threads)
        session = self._open.get(key)
        if session is not None:
            return session
        with self._lock:
            if key not in self._open:
                options = session_options(kind, threads)
                self._open[key] = self._start(self._locate_form(form), kind, options, True)
            return self._open[key]

    def open(self, kind: str) -> Any:
        """Return the session of graph `kind`, opening it the first time.

        Raises:
            ContractError: The file is not the graph that the contract promises.
            ProviderError: The provider does not run it.
        """
        session = self._open.get(kind)
        if session is not None:
            return session
        with self._lock:
            if kind not in self._open:
                options = session_options(kind, self._threads)
                self._open[kind] = self._start(self._locate(kind), kind, options)
            return self._open[kind]

    def open_captured(self) -> Any:
        """Return a second session of the step graph, whose runs are captured as CUDA graphs.

        Raises:
            ContractError: ONNX Runtime cannot capture the graph.
            ProviderError: The provider does not run it.
        """
        with self._lock:
            if _CAPTURED not in self._open:
                file, options = self._locate("step"), session_options("step", self._threads)
                self._open[_CAPTURED] = start_session(str(file), self.provider, options, True)
            return self._open[_CAPTURED]

    def _start(self, file: Path, kind: str, options: Any, is_form: bool = False) -> Any:
        session = start_session(str(file), self.provider, options)
        found = read_contract(session, f"`{file}`")
        _check_agreement(self.contract, found, kind, file, is_form)
        return session


def _here(threads: int | None) -> int | None:
    """Return the number of threads of a form, tuned elsewhere, that this machine has cores for."""
    return None if threads is None else min(threads, os.cpu_count() or 1)


def session_options(kind: str, threads: int | None) -> Any:
    """Return SessionOptions for graph `kind`: one thread for steps, all cores for sequences.

    Denormals stay on: ONNX Runtime would switch them off for the whole calling thread, also for
    the caller's NumPy, and only in the first session of a process.
    """
    options = quiet_options()
    options.intra_op_num_threads = threads or (1 if kind == "step" else 0)
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_mem_pattern = kind == "step"  # its plans accumulate where lengths vary
    return options


def read_contract(session: Any, subject: str) -> Contract:
    """Read the contract in the metadata of an open graph.

    Raises:
        ContractError: There is none, or it does not fit the graph.
    """
    try:
        metadata = session.get_modelmeta().custom_metadata_map
        inputs = [_port(argument, subject) for argument in session.get_inputs()]
        outputs = [_port(argument, subject) for argument in session.get_outputs()]
    except UnicodeDecodeError as error:
        raise unreadable_contract(subject, "a name or its metadata is not UTF-8 text") from error
    return Contract.from_metadata(metadata, inputs, outputs, subject)


def _port(argument: Any, subject: str) -> Port:
    if argument.type not in _DTYPES:
        raise ContractError(
            f"{subject} has port `{argument.name}` of type {argument.type}; a contract's ports are "
            f"tensors of {', '.join(_DTYPES.values())}."
        )
    shape = tuple(size if isinstance(size, (int, str)) else "?" for size in argument.shape)
    return Port(argument.name, _DTYPES[argument.type], shape)


def _check_agreement(
    promised: Contract, found: Contract, kind: str, file: Path, is_form: bool = False
) -> None:
    """Check that the contract in a graph's metadata is that in `contract.json`.

    Ports of a form of the step graph may have additional axes of size 1, but not those of states.
    """
    if found.family != promised.family:
        raise ContractError(
            f"`{file}` is of family {found.family}, `contract.json` of "
            f"{promised.family}. Graphs of two exports must not be mixed; copy the whole folder."
        )
    if kind not in found.graphs:
        raise ContractError(f"`{file}` is a {next(iter(found.graphs))} graph, not a {kind} graph.")
    wanted, present = promised.graphs[kind], found.graphs[kind]
    for role, ports, others in (
        ("inputs", wanted.inputs, present.inputs),
        ("outputs", wanted.outputs, present.outputs),
    ):
        ends = {end for state in promised.states for end in (state.input, state.output)}
        if is_form and kind == "step":
            ports = tuple(_in_shape_of(port, others, ends) for port in ports)
        if [_metadata_port(port, ends) for port in ports] != [
            _metadata_port(port, ends) for port in others
        ]:
            raise ContractError(
                f"`{file}` has {role} {', '.join(map(_describe, others))}; the contract promises "
                f"{', '.join(map(_describe, ports))}. Export the model again."
            )
    for what, promise, fact in (
        ("states", _states(promised), _states(found)),
        ("`carry`", promised.carry, found.carry),
        ("`divisible`", promised.divisible, found.divisible),
        ("lengths", promised.lengths, found.lengths),
        ("full lengths", promised.full_lengths, found.full_lengths),
        ("bounds", promised.bounds(kind), found.bounds(kind)),
        ("hop, delays or padding", streaming_texts(promised), streaming_texts(found)),
        ("vocabulary", promised.vocabulary, found.vocabulary),
    ):
        if promise != fact:
            raise ContractError(
                f"The metadata of `{file}` and `contract.json` have different {what}. Export the "
                "model again."
            )


def _in_shape_of(port: Port, others: Sequence[Port], states: Collection[str]) -> Port:
    """Return a port with the additional axes of size 1 of that of the same name in `others`."""
    other = next((other for other in others if other.name == port.name), port)
    return port if port.name in states else with_unit_axes(port, other.shape) or port


def _metadata_port(port: Port, states: Collection[str]) -> Port:
    """Return a port as a graph's metadata describes it."""
    return replace(port, origin=None).with_default_axes(states)


def _describe(port: Port) -> str:
    """Describe a port with everything in which two ports may differ."""
    names = port.axis_names
    axes = "" if names is None else f" as [{', '.join(map(str, names))}]"
    return f"{port}{axes}{'' if port.limit is None else f' below {port.limit}'}"


def _states(contract: Contract) -> list[tuple[str, str, str, list[float]]]:
    """Return the states with their initial values as the metadata has them: floats in float32."""
    return [
        (state.name, state.input, state.output, _numbers(state.initial))
        for state in contract.states
    ]


def _numbers(initial: NDArray[Any] | None) -> list[float]:
    if initial is None:
        return []
    is_float = initial.dtype.kind == "f"
    numbers: list[float] = initial.astype(np.float32 if is_float else np.int64).ravel().tolist()
    return numbers
