"""What a stream takes: the batch, the inputs of a step and those of a chunk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgernn.contract import BATCH, SEQUENCE, Contract, Port
from edgernn.errors import InputError, UnsupportedModelError
from edgernn.ports import HOP
from edgernn.runtime.check_inputs import InputCheck
from edgernn.streaming_rules import over_chunks

__all__ = ["check_batch", "check_carry", "chunk_check", "chunk_ports", "step_check"]


def step_check(contract: Contract) -> InputCheck:
    """Return the check of the inputs of a step."""
    most, least = map(_without_steps, _bounds(contract))
    return InputCheck(_step_ports(contract), "step graph", most=most, least=least)


def chunk_check(contract: Contract) -> InputCheck:
    """Return the check of the inputs of a chunk, of any number of steps where it may be divided."""
    most, least = _bounds(contract)
    if contract.divisible:
        most, least = _without_steps(most), _without_steps(least)
    return InputCheck(
        tuple(port.with_dynamic_axis(SEQUENCE) for port in chunk_ports(contract)),
        "sequence graph",
        contract.lengths,
        most=most,
        least=least,
        full_lengths=contract.full_lengths,
    )


def chunk_ports(contract: Contract) -> tuple[Port, ...]:
    """Return the data inputs of a chunk, without a sequence graph those of the step graph."""
    if contract.sequence is not None:
        return contract.data_inputs("sequence")
    return tuple(over_chunks(port, contract.hop) for port in contract.data_inputs("step"))


def check_carry(contract: Contract) -> None:
    """Check that the state can be carried from one chunk to the next.

    Raises:
        UnsupportedModelError: It cannot.
    """
    if not contract.carry:
        reason = contract.no_step or "its state cannot be carried from one chunk to the next"
        raise UnsupportedModelError(
            f"`{contract.source}` cannot run as a stream: {reason.rstrip('.')}. Give it whole "
            "sequences: model(x)."
        )


def check_batch(contract: Contract, batch: int) -> int:
    """Return the batch after checking that the model takes it.

    Raises:
        InputError: It does not.
    """
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


def _bounds(contract: Contract) -> tuple[Mapping[str, int], Mapping[str, int]]:
    bounds = contract.bounds("sequence" if contract.sequence else "step")
    return bounds["most"], bounds["least"]


def _without_steps(sizes: Mapping[str, int]) -> dict[str, int]:
    """Return bounds without those of steps, as a chunk may take several calls."""
    return {axis: size for axis, size in sizes.items() if axis != SEQUENCE}


def _step_ports(contract: Contract) -> tuple[Port, ...]:
    """Return the data inputs of one step, without a step graph those of the sequence graph."""
    if contract.step is not None:
        return contract.data_inputs("step")
    return tuple(_step_port(port, contract.hop) for port in contract.data_inputs("sequence"))


def _step_port(port: Port, hop: int) -> Port:
    """Return an input of the sequence graph as a step graph has it."""
    axis = port.axis(SEQUENCE)
    if axis is None:
        return port
    if hop == 1:
        return port.without_axis(axis)
    shape, axes = list(port.shape), list(port.axes)
    shape[axis], axes[axis] = hop, HOP
    return replace(port, shape=tuple(shape), axis_names=None).with_axes(axes)
