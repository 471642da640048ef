"""States of a forward without recurrent calls, paired by the shapes of arguments and results."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from edgernn.export.call.argument_names import holds_data, holds_state
from edgernn.export.call.example_call import ArgumentTensor, ExampleCall
from edgernn.export.call.forward_run import ForwardRun
from edgernn.export.capture.pytree import tensor_leaves
from edgernn.option_names import option

__all__ = ["ambiguous_states", "pair_options", "recognise_pairs"]

_LISTED = 12


def recognise_pairs(example: ExampleCall, run: ForwardRun) -> dict[str, str]:
    """Pair arguments and results of a step without recurrent calls, where names and shapes tell.

    An argument named like data is not a state, whatever result has its shape. One named like a
    state is a state if a single result fits it and no argument with another name fits any. Without
    such names, the only argument that fits is a state, unless it or its result comes first: that is
    data passing through, such as a spectrum that comes back denoised.

    Returns:
        Path of an argument → path of the result that goes back in there.
    """
    every = {leaf.path: found for leaf, found in _fitting_results(example, run).items()}
    fits = {path: found for path, found in every.items() if not holds_data(path)}
    single = all(len(found) == 1 for found in fits.values())
    distinct = len({found[0] for found in fits.values()}) == len(fits) < len(example.tensors)
    if single and distinct and all(map(holds_state, fits)):
        return {path: found[0] for path, found in fits.items()}
    if single and distinct and len(fits) == 1:
        ((path, (result,)),) = fits.items()
        passes_through = path == example.tensors[0].path or result == next(iter(run.results))
        return {path: result} if len(every) == 1 and not passes_through else {}
    return _same_structure(example, run)


def _same_structure(example: ExampleCall, run: ForwardRun) -> dict[str, str]:
    """Pair an argument of several tensors with the only result of the same structure."""
    pairs: dict[str, str] = {}
    for name, argument in example.kwargs.items():
        shapes = {path: tensor.shape for path, tensor in tensor_leaves(argument)}
        if len(shapes) < 2 or holds_data(name):
            continue
        parts = {path[: -len(end)] for path in run.results for end in shapes if path.endswith(end)}
        equal = [
            part
            for part in parts
            if shapes
            == {
                path.removeprefix(part): tensor.shape
                for path, tensor in run.results.items()
                if path.startswith(part)
            }
        ]
        if len(equal) == 1:
            pairs |= {name + path: equal[0] + path for path in shapes}
    return pairs


def ambiguous_states(example: ExampleCall, run: ForwardRun) -> str | None:
    """List the arguments that have the shape of a result, and so may be a state."""
    fits = _fitting_results(example, run)
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
    fits = _fitting_results(example, run)
    if not fits:
        return None
    pairs = [
        option("states", {leaf.path: _place(result)})
        for leaf, found in fits.items()
        for result in found
    ]
    listed = ", ".join(pairs[:_LISTED]) + (", …" if len(pairs) > _LISTED else "")
    likely = _by_name(fits)
    guess = f"By the names it is {likely}. " if likely else ""
    return f"{guess}All pairs that fit: {listed}."


def _fitting_results(example: ExampleCall, run: ForwardRun) -> dict[ArgumentTensor, list[str]]:
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
    return option("states", {leaf.path: _place(result) for leaf, result in pairs}) if pairs else ""


def _place(result: str) -> str:
    """Name a result as the option `states` does: by number, name, or its path inside another."""
    if not result:
        return "0"
    inner = result.removeprefix(".").removeprefix("[").removesuffix("]").strip('"')
    return inner if inner.isidentifier() or inner.isdigit() else result
