"""Which axes of a model's inputs take other sizes, and what they are: found out by running it.

Each axis is tried at other sizes, together with the axes of other inputs that are of the same size
and may be tied to it. An axis at which the model fails stays a constant. What an axis is called
follows from what it does to the recurrent calls: more steps make it `sequence`, more sequences
`batch`.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import InputError, UnsupportedModelError
from edgernn.export.call.argument_names import holds_state
from edgernn.export.call.axis_effects import are_steps, effect_of, is_causal, name_of, same_results
from edgernn.export.call.axis_groups import Axis, AxisGroups, is_feature
from edgernn.export.call.constant_axis_reasons import (
    StepsError,
    check_batch,
    constant_note,
    why_constant,
)
from edgernn.export.call.example_call import (
    ArgumentTensor,
    ExampleCall,
    ExampleRunner,
    ForwardRun,
    ModuleRunner,
)
from edgernn.export.call.guess_examples import candidate_examples
from edgernn.export.call.missing_arguments import ask_for_inputs
from edgernn.export.call.randomness import refuse_random
from edgernn.export.call.resizing import (
    RankError,
    failure_of,
    resized_runs,
    size_at,
)

__all__ = ["find_dynamic_axes", "infer_example"]

_OTHER_SIZES = (1, 40, 640, 16000)


def infer_example(module: nn.Module) -> ExampleCall:
    """Find a call that forward takes, and its dynamic axes, from the layers and the signature.

    Raises:
        InputError: No call that was tried runs.
        UnsupportedModelError: No number of steps is right for the rank of its result.
    """
    best: ExampleCall | None = None
    refused: StepsError | None = None
    failure = "its arguments do not follow from its layers"
    for candidate in candidate_examples(module):
        try:
            found = find_dynamic_axes(ModuleRunner(module), candidate, guessed=True)
        except InputError as error:
            failure = str(error.__cause__ or error).strip().partition("\n")[0].rstrip(".")
            continue
        except StepsError as error:
            refused = refused or error
            continue
        if best is None or _score(found) > _score(best):
            best = found
        if _score(best)[:2] == (1, 1):
            break
    if refused is not None and (best is None or SEQUENCE not in _symbols(best)):
        raise refused
    if best is None:
        raise InputError(
            f"No example input for `{type(module).__name__}` could be inferred: {failure}. "
            f"{ask_for_inputs(module)}"
        )
    return best


def find_dynamic_axes(
    reference: ExampleRunner,
    example: ExampleCall,
    states: Collection[str] = (),
    guessed: bool = False,
) -> ExampleCall:
    """Return `example` with the axes named that the reference really takes at other sizes.

    Axes that the user named are tried as named; a named axis that fails becomes a constant. An axis
    of steps that the user gave as a number gets its name, and the number stands in `constants`. Of
    states, and of the features of an entry, other sizes are not tried unasked. The example comes
    back with at least two along every dynamic axis, so that no size is mistaken for a constant. An
    axis at which the reference returns tensors of another rank is a constant too.

    Args:
        reference: The model.
        example: A call of it.
        states: Paths of the arguments that the user says are states.
        guessed: Whether its sizes are nobody's choice.

    Raises:
        InputError: The reference fails on the example itself, or the user's names are wrong.
        UnsupportedModelError: It returns no tensor, or no number of steps is right for its rank.
    """
    run, example = _first_run(reference, example)
    if not run.results:
        raise UnsupportedModelError(
            f"`{reference.name}` returns no tensor. Return the outputs that the graph is to have."
        )
    refuse_random(reference, example, run)
    example = replace(example, lengths=run.lengths)
    notes: list[str] = list(example.notes)
    if example.shapes:
        example = _steps_named(reference, example, run)
        groups = [(symbol, _axes_of(example, symbol)) for symbol in _symbols(example)]
        _check_names(reference, example, run, groups)
    else:
        found = list(_tied_groups(reference, example, run))
        unasked = _Unasked(example, run, found, states, guessed)
        groups = [(symbol, axes) for symbol, axes in found if unasked.note(symbol, axes) is None]
        notes.extend(note for one in found if (note := unasked.note(*one)) is not None)
    dynamic: dict[str, list[Axis]] = {}
    free = guessed or bool(example.shapes)
    for symbol, axes in groups:
        error = failure_of(reference, example, axes, run)
        if isinstance(error, RankError) and free:
            check_batch(symbol, axes, error)
            example = example.with_axes(dict.fromkeys(axes, 1))
            run = reference(example)
        if error is None:
            dynamic[symbol] = axes
        else:
            notes.append(constant_note(reference, symbol, example, axes, error))
    while (error := _joint_failure(reference, example, dynamic)) is not None:
        others = [symbol for symbol in dynamic if symbol not in (BATCH, SEQUENCE)]
        axes = dynamic.pop(others[-1])
        note = constant_note(reference, others[-1], example, axes, error, "beside the others")
        notes.append(note)
    named = _named(example, dynamic, notes)
    if not example.shapes:
        why = why_constant(reference, example, run, named, states)
        named = replace(named, notes=(*notes, *why))
    return named


def _named(
    example: ExampleCall, dynamic: Mapping[str, list[Axis]], notes: list[str]
) -> ExampleCall:
    """Return the example with its dynamic axes named, at sizes that tell them apart."""
    shapes: dict[str, list[int | str]] = {
        leaf.path: list(leaf.tensor.shape) for leaf in example.tensors
    }
    for symbol, axes in dynamic.items():
        for path, axis in axes:
            shapes[path][axis] = symbol
    for (path, axis), size in example.derived_axes.items():
        if set(re.findall(r"[A-Za-z_]\w*", size)) <= dynamic.keys():
            shapes[path][axis] = size
        else:
            constant = size_at(example, (path, axis))
            notes.append(
                f"Axis {axis} of `{path}` ({size}) is the constant {constant}, as an axis is that "
                "it follows from."
            )
    named = replace(
        example, shapes={path: tuple(shape) for path, shape in shapes.items()}, notes=tuple(notes)
    )
    sizes = {symbol: max(2, size_at(example, axes[0])) for symbol, axes in dynamic.items()}
    return named.resized(_distinct(sizes))


def _joint_failure(
    reference: ExampleRunner, example: ExampleCall, dynamic: Mapping[str, list[Axis]]
) -> Exception | None:
    """Return how the reference fails where all dynamic axes change together, or None."""
    if all(symbol in (BATCH, SEQUENCE) for symbol in dynamic):
        return None
    failure: Exception | None = None
    for more in (1, 0, 2):
        sizes = {symbol: max(2, size_at(example, axes[0])) for symbol, axes in dynamic.items()}
        changed = _named(example, dynamic, []).resized(
            _distinct({symbol: size + more for symbol, size in sizes.items()})
        )
        try:
            reference(changed)
        except Exception as error:
            failure = error
    return failure


@dataclass(frozen=True)
class _Unasked:
    """Which axes stay as they are although the model takes other sizes: nobody asked for those."""

    example: ExampleCall
    run: ForwardRun
    found: Sequence[tuple[str, list[Axis]]]
    states: Collection[str]
    guessed: bool

    def note(self, symbol: str, axes: Sequence[Axis]) -> str | None:
        """Return why an axis stays a constant, or None where it is dynamic."""
        if symbol in (BATCH, SEQUENCE):
            return None
        leaves = {leaf.path: leaf for leaf in self.example.tensors}
        path, axis = axes[0]
        size = leaves[path].tensor.shape[axis]
        comes_back = {tuple(tensor.shape) for tensor in self.run.results.values()}
        comes_back |= {tuple(state.shape) for call in self.run.calls for state in call.states}
        held = next(
            (
                path
                for path, _ in axes
                if path in self.states
                or (holds_state(path) and tuple(leaves[path].tensor.shape) in comes_back)
            ),
            None,
        )
        if held is not None:
            return (
                f"Axis {axis} of `{path}` is the constant {size}, as in the example: `{held}` is a "
                "state, of which only the batch may be dynamic."
            )
        others = {one for _, tied in self.found for one in tied}
        image = (path, axis - 1) in others and leaves[path].tensor.dim() > 3
        if not is_feature(leaves[path], axis) or image:
            return None
        what = "which is a guess" if self.guessed else "as in the example"
        return (
            f"Axis {axis} of `{path}` is the constant {size}, {what}: no parameter fixes it. Give "
            f"another number, or a name to leave it open, in --input "
            f'"{_with_name(leaves[path], axis)}".'
        )


def _with_name(leaf: ArgumentTensor, axis: int) -> str:
    """Return a spec of a tensor with a name for one axis."""
    shape = list(leaf.shape)
    shape[axis] = "features"
    return str(replace(leaf, shape=tuple(shape)))


def _first_run(reference: ExampleRunner, example: ExampleCall) -> tuple[ForwardRun, ExampleCall]:
    """Run the example, or else the same with a named axis at another size.

    One is what a constant batch mostly is; long is what windows, norms and strides need.
    """
    try:
        return reference(example), example
    except UnsupportedModelError:
        raise
    except Exception as error:
        for fewer in _smaller_ids(example, error):
            with contextlib.suppress(Exception):
                return reference(fewer), fewer
        symbols = sorted(_symbols(example), key=lambda one: one != BATCH)
        for size, symbol in itertools.product(_OTHER_SIZES, symbols):
            other = example.resized({symbol: size})
            with contextlib.suppress(Exception):
                return reference(other), other
        given = ", ".join(str(leaf) for leaf in example.tensors) or "no tensor"
        raise InputError(
            f"`{reference.name}` fails on {given}: {type(error).__name__}: {error}"
        ) from error


def _smaller_ids(example: ExampleCall, error: Exception) -> Iterator[ExampleCall]:
    """Yield the example with ever smaller ids in the place of those that were drawn for it.

    Ids that forward computes from several inputs, or looks up in another one, have ranges that no
    table tells.
    """
    drawn = {leaf.path: leaf for leaf in example.tensors if leaf.path in example.guessed_ranges}
    largest = max((int(leaf.tensor.max()) for leaf in drawn.values()), default=0)
    below = (largest + 1) // 2
    while below > 1:
        tensors = {path: leaf.tensor % below for path, leaf in drawn.items()}
        listed = " and ".join(f"`{path}`" for path in drawn)
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        options = " ".join(f'--input "{leaf}<N"' for leaf in drawn.values())
        note = (
            f"{listed} is below {below} in all that was compared: forward fails for larger numbers "
            f"({reason}). Give the range: {options}."
        )
        if len(drawn) > 1:
            note = note.replace(" is below", " are below", 1)
        yield replace(example.with_tensors(tensors), notes=(*example.notes, note))
        below //= 2


def _steps_named(reference: ExampleRunner, example: ExampleCall, run: ForwardRun) -> ExampleCall:
    """Name the axis of steps where the user gave a number for it, but the model takes any."""
    done = {axis for symbol in _symbols(example) for axis in _axes_of(example, symbol)}
    if SEQUENCE in _symbols(example):
        return example
    possible = AxisGroups.of(example, run)
    for leaf in example.tensors:
        for axis, size in enumerate(leaf.shape):
            if not isinstance(size, int) or size == 1:
                continue
            for group in possible.with_axis(leaf, axis, done):
                runs = resized_runs(reference, example, group)
                if isinstance(runs, Exception):
                    continue
                if are_steps(run, size, runs[0], size + 1):
                    shapes = {one.path: list(one.shape) for one in example.tensors}
                    for path, place in group:
                        shapes[path][place] = SEQUENCE
                    named = {path: tuple(shape) for path, shape in shapes.items()}
                    return replace(example, shapes=named, constants={SEQUENCE: size})
                break
    return example


def _tied_groups(
    reference: ExampleRunner, example: ExampleCall, run: ForwardRun
) -> Iterator[tuple[str, list[Axis]]]:
    """Yield each set of axes that must change together and can, with its name."""
    taken: set[str] = set()
    done: set[Axis] = set()
    possible = AxisGroups.of(example, run)
    for leaf in example.tensors:
        for axis in range(leaf.tensor.dim()):
            if (leaf.path, axis) in done:
                continue
            for group in possible.with_axis(leaf, axis, done):
                runs = resized_runs(reference, example, group)
                if isinstance(runs, Exception):
                    continue
                larger = _larger(runs, leaf, axis)
                if all(same_results(run, one) for one in larger):
                    larger = runs  # what comes later may be left out, but not the first entries
                symbol = name_of(run, larger, leaf.path, axis, taken)
                lone = not run.calls and symbol not in (BATCH, None) and SEQUENCE not in taken
                if lone and is_causal(reference, example, run, group):
                    symbol = SEQUENCE
                if BATCH not in taken and any(path in example.lengths for path, _ in group):
                    symbol = BATCH  # forward may go through the lengths one by one
                unseen = symbol != SEQUENCE and all(same_results(run, one) for one in larger)
                if symbol is None or unseen:
                    break  # entries that forward does not look at, as behind a state's own
                taken.add(symbol)
                done.update(group)
                yield symbol, group
                break


def _larger(runs: Sequence[ForwardRun], leaf: ArgumentTensor, axis: int) -> Sequence[ForwardRun]:
    """Leave out the run at size 1: fewer sequences may also be shorter ones."""
    return runs[:2] if leaf.tensor.shape[axis] > 1 else runs


def _check_names(
    reference: ExampleRunner,
    example: ExampleCall,
    run: ForwardRun,
    groups: Sequence[tuple[str, list[Axis]]],
) -> None:
    """Refuse a name where another is due: nothing of that name gives more steps, or sequences."""
    effects: dict[str, tuple[bool, bool]] = {}
    for symbol, axes in groups:
        runs = resized_runs(reference, example, axes)
        if not isinstance(runs, Exception):
            effects[symbol] = effect_of(run, runs)
    for place, (proper, what) in enumerate(((SEQUENCE, "steps"), (BATCH, "sequences"))):
        if effects.get(proper, (False, False))[place]:
            continue
        for symbol, (path, axis) in ((symbol, axes[0]) for symbol, axes in groups):
            effect = effects.get(symbol, (False, False))
            if effect[place] and not effect[1 - place]:
                raise InputError(
                    f"Axis {axis} of `{path}` is named `{symbol}`, but along it the recurrent "
                    f"layers get more {what}. Name it `{proper}`."
                )


def _symbols(example: ExampleCall) -> list[str]:
    return list(example.sizes)


def _axes_of(example: ExampleCall, symbol: str) -> list[Axis]:
    return [
        (path, axis)
        for path, shape in example.shapes.items()
        for axis, size in enumerate(shape)
        if size == symbol
    ]


def _distinct(sizes: dict[str, int]) -> dict[str, int]:
    """Return the sizes with no two alike, lest two axes be taken for one."""
    chosen: dict[str, int] = {}
    for symbol, size in sizes.items():
        while size in chosen.values():
            size += 1
        chosen[symbol] = size
    return chosen


def _score(example: ExampleCall) -> tuple[int, int, int, int]:
    """Rank a call by its dynamic axes, the fewer of other names the better.

    Then by how few axes of a single entry it takes.
    """
    symbols = _symbols(example)
    others = len(set(symbols) - {SEQUENCE, BATCH})
    single = sum(size == 1 for leaf in example.tensors for size in leaf.shape)
    return int(SEQUENCE in symbols), int(BATCH in symbols), -others, -single
