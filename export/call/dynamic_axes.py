"""Which axes of a model's inputs take other sizes, and their names, measured by running the model.

Each axis is tried at other sizes, together with the axes of other inputs that are of the same size
and may be tied to it. An axis at which the model fails stays a constant. What an axis is called
follows from what it does to the recurrent calls: more steps make it `sequence`, more sequences
`batch`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from torch import nn

from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import InputError
from edgernn.export.call.axis_probe import (
    Axis,
    AxisProbe,
    RankError,
    are_steps,
    axis_name,
    effect_of,
    is_causal,
    name_axis,
    same_results,
)
from edgernn.export.call.constant_axis_reasons import (
    StepsError,
    check_batch,
    constant_note,
    unrequested_notes,
    why_constant,
)
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import ExampleRunner, ModuleRunner, first_run
from edgernn.export.call.guess_examples import candidate_examples
from edgernn.export.call.missing_arguments import ask_for_inputs
from edgernn.export.call.randomness import refuse_random
from edgernn.untrusted_text import first_line

__all__ = ["find_dynamic_axes", "infer_example"]


def find_dynamic_axes(
    model: ExampleRunner, example: ExampleCall, states: Collection[str] = (), guessed: bool = False
) -> ExampleCall:
    """Return `example` with the axes named that the model really takes at other sizes.

    A named axis that fails, or changes the rank of a result, becomes a constant. An axis of steps
    that the user gave as a number gets its name, and the number is kept in `constants`. Axes of
    states and of features stay constant unless they are named. The result has at least two entries
    along every dynamic axis, so that no size is mistaken for a constant.

    `states` are the paths of the arguments that the user says are states; `guessed` says that the
    sizes of the example are nobody's choice.

    Raises:
        InputError: The model fails on the example itself, or the user's names are wrong.
        UnsupportedModelError: It returns no tensor, or no number of steps is right for its rank.
    """
    run, example = first_run(model, example)
    refuse_random(model, example, run)
    probe = AxisProbe(model, replace(example, lengths=run.lengths), run)
    notes = [*example.notes]
    if example.shapes:
        probe = replace(probe, example=_name_steps(probe))
        groups = [(symbol, probe.example.axes_named(symbol)) for symbol in probe.example.sizes]
        _check_names(probe, groups)
    else:
        tied = _with_causal_steps(probe, list(_tied_groups(probe)))
        reasons = list(unrequested_notes(probe, tied, states, guessed))
        groups = [one for one, reason in zip(tied, reasons, strict=True) if reason is None]
        notes += filter(None, reasons)
    dynamic: dict[str, list[Axis]] = {}
    for symbol, axes in groups:
        error = probe.failure(axes)
        fails = error is not None and not isinstance(error, RankError)
        if fails and symbol == SEQUENCE and (multiple := probe.multiple(axes)):
            probe = replace(probe, example=replace(probe.example, multiple=multiple))
            error = None
        if isinstance(error, RankError) and (guessed or example.shapes):
            check_batch(symbol, axes, error)
            single = probe.example.with_axes(dict.fromkeys(axes, 1))
            probe = AxisProbe(model, single, model(single))
        if error is None:
            dynamic[symbol] = axes
        else:
            notes.append(constant_note(probe, symbol, axes, error))
    while (error := _joint_failure(probe, dynamic)) is not None:
        symbol = [one for one in dynamic if one not in (BATCH, SEQUENCE)][-1]
        notes.append(constant_note(probe, symbol, dynamic.pop(symbol), error, "beside the others"))
    named = _name_axes(probe, dynamic)
    notes += (
        f"Axis {axis} of `{path}` ({size}) is the constant {probe.size((path, axis))}, as an axis "
        "is that it follows from."
        for (path, axis), size in probe.example.derived_axes.items()
        if not _names_in(size) <= dynamic.keys()
    )
    if not example.shapes:
        notes += why_constant(probe, named, states)
    return replace(named, notes=tuple(notes))


def _name_axes(probe: AxisProbe, dynamic: Mapping[str, list[Axis]], more: int = 0) -> ExampleCall:
    """Return the example with its dynamic axes named, at distinct sizes, `more` larger than now."""
    names = {axis: symbol for symbol, axes in dynamic.items() for axis in axes}
    names |= {
        axis: size
        for axis, size in probe.example.derived_axes.items()
        if _names_in(size) <= dynamic.keys()
    }
    sizes: dict[str, int] = {}
    for symbol, axes in dynamic.items():
        every = probe.example.multiple if symbol == SEQUENCE else 1
        size = max(2, probe.size(axes[0])) + more * every
        while size in sizes.values():
            size += every
        sizes[symbol] = size
    return replace(probe.example, shapes={}).with_names(names).resized(sizes)


def _names_in(size: str) -> set[str]:
    """Return the names of the axes in an expression of sizes."""
    return set(re.findall(r"[A-Za-z_]\w*", size))


def _joint_failure(probe: AxisProbe, dynamic: Mapping[str, list[Axis]]) -> Exception | None:
    """Return how the model fails where all dynamic axes change together, or None."""
    if all(symbol in (BATCH, SEQUENCE) for symbol in dynamic):
        return None
    failure: Exception | None = None
    for more in (1, 0, 2):
        changed = _name_axes(probe, dynamic, more)
        try:
            probe.model(changed)
        except Exception as error:
            failure = error
    return failure


def _name_steps(probe: AxisProbe) -> ExampleCall:
    """Name the axis of steps where the user gave a number for it, but the model takes any."""
    example = probe.example
    if SEQUENCE in example.sizes:
        return example
    done = {axis for symbol in example.sizes for axis in example.axes_named(symbol)}
    for leaf in example.tensors:
        for axis, size in enumerate(leaf.shape):
            if not isinstance(size, int) or size == 1:
                continue
            group, runs = probe.tied_axes(leaf, axis, done)
            if runs and are_steps(probe.run, size, runs[0], size + 1):
                named = example.with_names(dict.fromkeys(group, SEQUENCE))
                return replace(named, constants={SEQUENCE: size})
    return example


def _tied_groups(probe: AxisProbe) -> Iterator[tuple[str, list[Axis]]]:
    """Yield each set of axes that must change together and can, with its name."""
    used: set[str] = set()
    done: set[Axis] = set()
    run, lengths = probe.run, probe.example.lengths
    for leaf in probe.example.tensors:
        for axis in range(leaf.tensor.dim()):
            if (leaf.path, axis) in done:
                continue
            group, runs = probe.tied_axes(leaf, axis, done)
            if not runs:
                continue
            # at size 1 there may be fewer steps as well as fewer sequences
            larger = runs[:2] if leaf.tensor.shape[axis] > 1 else runs
            if all(same_results(run, one) for one in larger):
                larger = runs  # what comes later may be left out, but not the first entries
            symbol = name_axis(run, larger, leaf.path, axis, used)
            lone = not run.calls and symbol not in (BATCH, None) and SEQUENCE not in used
            if lone and is_causal(probe, group):
                symbol = SEQUENCE
            if BATCH not in used and any(path in lengths for path, _ in group):
                symbol = BATCH  # forward may go through the lengths one by one
            unseen = symbol != SEQUENCE and all(same_results(run, one) for one in larger)
            if symbol is None or unseen:
                continue  # entries that forward does not look at
            used.add(symbol)
            done.update(group)
            yield symbol, group


def _check_names(probe: AxisProbe, groups: Sequence[tuple[str, list[Axis]]]) -> None:
    """Refuse a name where another is due: nothing of that name gives more steps, or sequences."""
    effects: dict[str, tuple[bool, bool]] = {SEQUENCE: (False, False), BATCH: (False, False)}
    for symbol, axes in groups:
        runs = probe.resized_runs(axes)
        effects[symbol] = effect_of(probe.run, [] if isinstance(runs, Exception) else runs)
    for place, (proper, what) in enumerate(((SEQUENCE, "steps"), (BATCH, "sequences"))):
        for symbol, axes in groups:
            effect = effects[symbol]
            if effect[place] and not effect[1 - place] and not effects[proper][place]:
                path, axis = axes[0]
                raise InputError(
                    f"Axis {axis} of `{path}` is named `{symbol}`, but along it the recurrent "
                    f"layers get more {what}. Name it `{proper}`."
                )


def _with_causal_steps(
    probe: AxisProbe, groups: Sequence[tuple[str, list[Axis]]]
) -> list[tuple[str, list[Axis]]]:
    """Return the axes with another one as the steps where a layer looks ahead along the first.

    A layer may run along the bins of a frame in both directions, and another one along time. Both
    are axes of one input: the steps of an encoder's input are not those of its decoder's.
    """
    axes = dict(groups)
    paths = {path for path, _ in axes.get(SEQUENCE, ())}
    others = [
        symbol
        for symbol, along in groups
        if symbol not in (BATCH, SEQUENCE)
        and paths & {path for path, _ in along}
        and _gives_steps(probe, along)
    ]
    if not others or is_causal(probe, axes[SEQUENCE]):
        return list(groups)
    causal = [symbol for symbol in others if is_causal(probe, axes[symbol])]
    if len(causal) != 1:
        return list(groups)
    path, axis = axes[SEQUENCE][0]
    names = {SEQUENCE: axis_name(path, axis), causal[0]: SEQUENCE}
    return [(names.get(symbol, symbol), along) for symbol, along in groups]


def _gives_steps(probe: AxisProbe, axes: Sequence[Axis]) -> bool:
    runs = probe.resized_runs(axes)
    return not isinstance(runs, Exception) and effect_of(probe.run, runs)[0]


def infer_example(module: nn.Module) -> ExampleCall:
    """Find a call that forward takes, and its dynamic axes, from the layers and the signature.

    Raises:
        InputError: No call that was tried runs.
        UnsupportedModelError: No number of steps is right for the rank of its result.
    """
    best: ExampleCall | None = None
    refused: StepsError | None = None
    failure = ""
    for candidate in candidate_examples(module):
        try:
            found = find_dynamic_axes(ModuleRunner(module), candidate, guessed=True)
        except InputError as error:
            failure = failure or first_line(error.__cause__ or error)
            continue
        except StepsError as error:
            refused = refused or error
            continue
        if best is None or _score(found) > _score(best):
            best = found
        if _score(best)[:2] == (1, 1):
            break
    if refused is not None and (best is None or SEQUENCE not in best.sizes):
        raise refused
    if best is None:
        raise InputError(
            f"No example input for `{type(module).__name__}` could be inferred: "
            f"{failure or 'its arguments do not follow from its layers'}. "
            f"{ask_for_inputs(module)}"
        )
    return best


def _score(example: ExampleCall) -> tuple[int, int, int, int]:
    """Rank a call by its dynamic axes, the fewer of other names the better.

    Then by how few axes of a single entry it takes.
    """
    symbols = example.sizes.keys()
    others = len(symbols - {SEQUENCE, BATCH})
    single = sum(size == 1 for leaf in example.tensors for size in leaf.shape)
    return int(SEQUENCE in symbols), int(BATCH in symbols), -others, -single
