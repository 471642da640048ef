"""Options that do not fit the model."""

from __future__ import annotations

from edgernn.contract import BATCH, SEQUENCE, Contract
from edgernn.errors import InputError, UnsupportedModelError
from edgernn.export.options import ExportOptions

__all__ = ["check_request"]


def check_request(options: ExportOptions, contract: Contract) -> None:
    """Refuse options that do not fit the model.

    Args:
        options: What the user chose.
        contract: What the graphs promise in torch's ports.

    Raises:
        UnsupportedModelError: A step graph alone was asked for, and the model has none.
        InputError: An axis cannot have the size, or the vocabulary has another number of symbols
            than the model takes ids.
    """
    _check_vocabulary(contract)
    if options.graph == "step" and contract.step is None:
        raise UnsupportedModelError(
            f"There is no step graph: {contract.no_step} Export it with --graph sequence."
        )
    for option, axis, size in (
        ("batch_size", BATCH, options.batch_size),
        ("steps", SEQUENCE, options.steps),
    ):
        if size is not None:
            _check_size(option, axis, size, contract)


def _check_size(option: str, axis: str, size: int, contract: Contract) -> None:
    least, most = contract.least.get(axis, size), contract.most.get(axis, size)
    if not least <= size <= most:
        bound = f"at most {most}" if size > most else f"at least {least}"
        raise InputError(f"`{option}` cannot be {size}: the model takes {bound}.")
    if not any(axis in port.shape for port in contract.graphs["sequence"].inputs):
        taken = ", ".join(f"`{port}`" for port in contract.data_inputs("sequence"))
        raise InputError(
            f"`{option}` cannot be {size}: the model has no dynamic axis `{axis}`. "
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
