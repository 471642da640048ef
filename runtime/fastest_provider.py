"""The provider on which a model's step is the shortest, measured on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np

from edgernn.axis_sizes import evaluate_shape
from edgernn.contract import BATCH, SEQUENCE, Contract
from edgernn.errors import ProviderError
from edgernn.runtime.measure.timing import measure
from edgernn.runtime.providers import try_providers

__all__ = ["load_fastest"]

# It builds its engines anew for sizes that it has not seen, which takes seconds.
_LEFT_OUT = "tensorrt"
_ROUNDS = 5
_STEPS = 16


class Runnable(Protocol):
    """What is measured of a model."""

    @property
    def contract(self) -> Contract: ...
    def stream(self, batch: int) -> Any: ...
    def run(self, inputs: Mapping[str, Any]) -> Any: ...


Loaded = TypeVar("Loaded", bound=Runnable)


def load_fastest(load: Callable[[str], Loaded]) -> Loaded:
    """Load a model on every provider that works here and runs it; return the fastest of them.

    Args:
        load: Loads the model on a provider, given by name.

    Raises:
        ProviderError: No provider runs it.
        ContractError: The model cannot be loaded.
    """
    names = [one.name for one in try_providers() if one.works and one.name != _LEFT_OUT]
    if len(names) == 1:
        return load(names[0])
    calls: dict[str, Callable[[], Any]] = {}
    models: dict[str, Loaded] = {}
    refusals: list[str] = []
    for name in names:
        try:
            model = load(name)
            call = _one_step(model)
            call()
        except ProviderError as error:
            refusals.append(str(error))
            continue
        models[name], calls[name] = model, call
    if not calls:
        raise ProviderError(" ".join(refusals))
    times = measure(calls, _ROUNDS)
    return models[min(times, key=lambda name: times[name].median)]


def _one_step(model: Runnable) -> Callable[[], Any]:
    """Return a call that runs one step of one stream, or a short sequence where there is no step.

    The inputs are zeros, but for lengths; their size is 1 on every other dynamic axis.
    """
    contract = model.contract
    if contract.step is None or not contract.carry or contract.in_hops or contract.limited_states:
        arrays = _inputs(contract, "sequence" if contract.sequence else "step")
        return lambda: model.run(arrays)
    arrays = _inputs(contract, "step")
    stream = model.stream(contract.constants.get(BATCH, 1))
    return lambda: stream.step(**arrays)


def _inputs(contract: Contract, kind: str) -> dict[str, Any]:
    most, least = contract.most.get(SEQUENCE, _STEPS), contract.least.get(SEQUENCE, 1)
    steps = contract.constants.get(SEQUENCE, max(min(_STEPS, most), least, contract.hop))
    arrays: dict[str, Any] = {}
    for port in contract.data_inputs(kind):
        axes = {size for size in port.shape if isinstance(size, str) and size.isidentifier()}
        sizes = {**dict.fromkeys(axes, 1), SEQUENCE: steps, **contract.constants}
        shape = evaluate_shape(port.shape, sizes)
        if shape is None:
            raise ProviderError(
                f"`{port}` has sizes that follow from no input, so the fastest provider cannot be "
                "measured. Name the provider."
            )
        value = steps if port.name in contract.lengths else 0
        arrays[port.name] = np.full(shape, value, port.dtype)
    return arrays
