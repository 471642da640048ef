"""What the user asked for, against what the model is."""

from __future__ import annotations

from collections.abc import Mapping

from edgernn.contract import Contract
from edgernn.errors import InputError, UnsupportedModelError

__all__ = ["check_request"]


def check_request(graph: str, sizes: Mapping[str, int], contract: Contract) -> None:
    """Refuse a request that does not fit the model.

    Args:
        graph: Which graphs to write: `both`, `sequence` or `step`.
        sizes: Name of an axis → the only size that it is to have.
        contract: What the graphs promise in torch's ports.

    Raises:
        UnsupportedModelError: A step graph alone was asked for, and the model has none.
        InputError: An axis cannot have the size, or the vocabulary has another number of symbols
            than the model takes ids.
    """
    _check_vocabulary(contract)
    if graph == "step" and contract.step is None:
        raise UnsupportedModelError(
            f"There is no step graph: {contract.no_step} Export it with --graph sequence."
        )
    for axis, size in sizes.items():
        _check_size(axis, size, contract)


def _check_size(axis: str, size: int, contract: Contract) -> None:
    least, most = contract.least.get(axis, size), contract.most.get(axis, size)
    if not least <= size <= most:
        bound = f"at most {most}" if size > most else f"at least {least}"
        raise InputError(f"`{axis}` cannot be made {size}: the model takes {bound}.")
    if not any(axis in port.shape for port in contract.graphs["sequence"].inputs):
        taken = ", ".join(f"`{port}`" for port in contract.data_inputs("sequence"))
        raise InputError(
            f"`{axis}` cannot be made {size}: the model has no dynamic axis of that name. "
            f"It takes {taken}."
        )


def _check_vocabulary(contract: Contract) -> None:
    limits = [port for port in contract.data_inputs("sequence") if port.limit is not None]
    symbols = contract.vocabulary
    if symbols and limits and len(symbols) not in [port.limit for port in limits]:
        counts = " and ".join(f"`{port.name}` takes {port.limit} ids" for port in limits)
        raise InputError(
            f"The vocabulary has {len(symbols)} symbols, but {counts}. Give one symbol for each "
            "id, in the order of the ids."
        )
