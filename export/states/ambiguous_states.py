"""Arguments of a forward without recurrent calls that may be states, and the options for them."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Mapping, Sequence

from edgernn.export.call.argument_names import holds_state
from edgernn.export.call.example_call import ArgumentTensor, ExampleCall
from edgernn.export.call.forward_run import ForwardRun

__all__ = ["ambiguous_states", "pair_options"]

_LISTED = 12


def ambiguous_states(example: ExampleCall, run: ForwardRun) -> str | None:
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


def pair_options(example: ExampleCall, run: ForwardRun) -> str | None:
    """Return the options that name states: those that are likely, and all that fit; else None."""
    fits = _fits(example, run)
    if not fits:
        return None
    pairs = [_option(leaf.path, result) for leaf, found in fits.items() for result in found]
    listed = ", ".join(pairs[:_LISTED]) + (", …" if len(pairs) > _LISTED else "")
    likely = _by_name(fits)
    guess = f"By the names it is {likely}. " if likely else ""
    return f"{guess}All pairs that fit: {listed}."


def _fits(example: ExampleCall, run: ForwardRun) -> dict[ArgumentTensor, list[str]]:
    """Return the arguments of the shape of a result, each with these results."""
    return {
        leaf: fitting
        for leaf in example.tensors
        if leaf.tensor.is_floating_point()
        and (fitting := [p for p, t in run.results.items() if t.shape == leaf.tensor.shape])
    }


def _by_name(fits: Mapping[ArgumentTensor, Sequence[str]]) -> str:
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
