"""Why a forward without recurrent calls has no state that could be told, and what tells it."""

from __future__ import annotations

import itertools
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from edgernn.export.example.call import Example, Leaf, Run
from edgernn.export.example.names import holds_state
from edgernn.export.source.exported import ExportedModule
from edgernn.export.source.torchscript import ScriptedModule
from edgernn.export.trace.untouched import untouched

__all__ = ["pair_options", "why_stateless"]

_PRODUCTS = ("linear", "matmul", "mm", "addmm", "bmm")
_LISTED = 12


def why_stateless(module: nn.Module, example: Example, run: Run) -> str | None:
    """Return why no state was recognised, with the remedy; None where there is no sign of one.

    Args:
        module: A model whose forward makes no recurrent call.
        example: A call of it.
        run: What that call did.
    """
    return _unrolled(module, example) or _ambiguous(example, run)


def _unrolled(module: nn.Module, example: Example) -> str | None:
    """Tell a loop that an archive has written out: one weight multiplied step after step."""
    exported = isinstance(module, ExportedModule)
    if not exported and (not isinstance(module, ScriptedModule) or module.has_loops):
        return None
    products = _Products()
    with torch.no_grad(), untouched(module), products:
        module(**example.kwargs)
    names = {id(weight): name for name, weight in module.named_parameters()}
    steps, name = max(
        ((times, names[key]) for key, times in products.times.items() if key in names),
        default=(0, ""),
    )
    if steps < 2:
        return None
    maker = "torch.export" if exported else "torch.jit.trace"
    return (
        f"The archive multiplies by `{name}` {steps} times in a row: {maker} wrote a loop over "
        f"time out at {steps} steps, for which alone it is right. Export the model from its code "
        "(the nn.Module itself, or its state_dict with --module FILE.py:FACTORY), or archive it "
        "with torch.jit.script, which keeps the loop."
    )


class _Products(TorchFunctionMode):
    """Counts how often each tensor is multiplied by."""

    def __init__(self) -> None:
        super().__init__()
        self.times: Counter[int] = Counter()

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if getattr(func, "__name__", "").partition(".")[0] in _PRODUCTS:
            given = [*args, *(kwargs or {}).values()]
            # weights come as they are or transposed, which is a view of them
            bases = (one if one._base is None else one._base for one in given if _is_tensor(one))
            self.times.update({id(base) for base in bases})
        return func(*args, **(kwargs or {}))


def _is_tensor(value: object) -> bool:
    return isinstance(value, torch.Tensor)


def _ambiguous(example: Example, run: Run) -> str | None:
    """List the arguments that have the shape of a result, and so may be a state."""
    fits = _fits(example, run)
    if not fits:
        return None
    arguments = ", ".join(f"`{leaf}`" for leaf in fits)
    results = ", ".join(dict.fromkeys(f"`{_place(r)}`" for found in fits.values() for r in found))
    return (
        "forward makes no recurrent call (nn.LSTM, nn.GRU, nn.RNN or their cells). It may be one "
        "step of a recurrence of its own, but which result goes back into which argument the "
        f"shapes do not tell: {arguments} may each be the state that comes back as {results}. "
        f"Name every state. {pair_options(example, run)}"
    )


def pair_options(example: Example, run: Run) -> str | None:
    """Return the options that name states: those that are likely, and all that fit; else None."""
    fits = _fits(example, run)
    if not fits:
        return None
    pairs = [_option(leaf.path, result) for leaf, found in fits.items() for result in found]
    listed = ", ".join(pairs[:_LISTED]) + (", …" if len(pairs) > _LISTED else "")
    likely = _by_name(fits)
    guess = f"By the names it is {likely}. " if likely else ""
    return f"{guess}All pairs that fit: {listed}."


def _fits(example: Example, run: Run) -> dict[Leaf, list[str]]:
    """Return the arguments of the shape of a result, each with these results."""
    return {
        leaf: fitting
        for leaf in example.leaves
        if leaf.tensor.is_floating_point()
        and (fitting := [p for p, t in run.results.items() if t.shape == leaf.tensor.shape])
    }


def _by_name(fits: Mapping[Leaf, Sequence[str]]) -> str:
    """Pair the arguments that are called like states with the results in order, one for each."""
    named = [leaf for leaf in fits if holds_state(leaf.path)]
    results = list(dict.fromkeys(itertools.chain.from_iterable(fits.values())))
    pairs = list(zip(named, results[-len(named) :], strict=False)) if named else []
    if len(results) < len(named) or any(result not in fits[leaf] for leaf, result in pairs):
        return ""
    return " ".join(_option(leaf.path, result) for leaf, result in pairs)


def _option(argument: str, result: str) -> str:
    pair = f"{argument}={_place(result)}"
    return f"--state {shlex.quote(pair)}"


def _place(result: str) -> str:
    """Return how --state names a result: by its number or name, or by its path inside another."""
    if not result:
        return "0"
    inner = result.removeprefix(".").removeprefix("[").removesuffix("]").strip('"')
    return inner if inner.isidentifier() or inner.isdigit() else result
