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

import torch
from torch import nn

from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import InputError, UnsupportedModelError
from edgernn.export.example.call import Example, Forward, Leaf, Run, Watchable
from edgernn.export.example.groups import Axis as _Axis
from edgernn.export.example.groups import Groups, is_feature
from edgernn.export.example.guess import candidates
from edgernn.export.example.missing import description_asked
from edgernn.export.example.names import holds_state
from edgernn.export.example.random import refuse_random

__all__ = ["infer_example", "proven_axes", "same_results"]

_OTHER_SIZES = (1, 40, 640, 16000)


def infer_example(module: nn.Module) -> Example:
    """Find a call that forward takes, and its dynamic axes, from the layers and the signature.

    Raises:
        InputError: No call that was tried runs.
        UnsupportedModelError: No number of steps is right for the rank of its result.
    """
    best: Example | None = None
    refused: _StepsError | None = None
    failure = "its arguments do not follow from its layers"
    for candidate in candidates(module):
        try:
            found = proven_axes(Forward(module), candidate, guessed=True)
        except InputError as error:
            failure = str(error.__cause__ or error).strip().partition("\n")[0].rstrip(".")
            continue
        except _StepsError as error:
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
            f"{description_asked(module)}"
        )
    return best


def proven_axes(
    reference: Watchable, example: Example, states: Collection[str] = (), guessed: bool = False
) -> Example:
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
    dynamic: dict[str, list[_Axis]] = {}
    free = guessed or bool(example.shapes)
    for symbol, axes in groups:
        error = _failure(reference, example, axes, run)
        if isinstance(error, _RankError) and free:
            _check_batch(symbol, axes, error)
            example = example.with_axes(dict.fromkeys(axes, 1))
            run = reference(example)
        if error is None:
            dynamic[symbol] = axes
        else:
            notes.append(_constant_note(reference, symbol, example, axes, error))
    while (error := _joint_failure(reference, example, dynamic)) is not None:
        others = [symbol for symbol in dynamic if symbol not in (BATCH, SEQUENCE)]
        axes = dynamic.pop(others[-1])
        note = _constant_note(reference, others[-1], example, axes, error, "beside the others")
        notes.append(note)
    named = _named(example, dynamic, notes)
    if not example.shapes:
        why = _why_constant(reference, example, run, named, states)
        named = replace(named, notes=(*notes, *why))
    return named


def _named(example: Example, dynamic: Mapping[str, list[_Axis]], notes: list[str]) -> Example:
    """Return the example with its dynamic axes named, at sizes that tell them apart."""
    shapes: dict[str, list[int | str]] = {
        leaf.path: list(leaf.tensor.shape) for leaf in example.leaves
    }
    for symbol, axes in dynamic.items():
        for path, axis in axes:
            shapes[path][axis] = symbol
    for (path, axis), size in example.tied.items():
        if set(re.findall(r"[A-Za-z_]\w*", size)) <= dynamic.keys():
            shapes[path][axis] = size
        else:
            notes.append(
                f"Axis {axis} of `{path}` ({size}) is the constant {_size(example, (path, axis))}, "
                "as an axis is that it follows from."
            )
    named = replace(
        example, shapes={path: tuple(shape) for path, shape in shapes.items()}, notes=tuple(notes)
    )
    sizes = {symbol: max(2, _size(example, axes[0])) for symbol, axes in dynamic.items()}
    return named.resized(_distinct(sizes))


def _joint_failure(
    reference: Watchable, example: Example, dynamic: Mapping[str, list[_Axis]]
) -> Exception | None:
    """Return how the reference fails where all dynamic axes change together, or None."""
    if all(symbol in (BATCH, SEQUENCE) for symbol in dynamic):
        return None
    failure: Exception | None = None
    for more in (1, 0, 2):
        sizes = {symbol: max(2, _size(example, axes[0])) for symbol, axes in dynamic.items()}
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

    example: Example
    run: Run
    found: Sequence[tuple[str, list[_Axis]]]
    states: Collection[str]
    guessed: bool

    def note(self, symbol: str, axes: Sequence[_Axis]) -> str | None:
        """Return why an axis stays a constant, or None where it is dynamic."""
        if symbol in (BATCH, SEQUENCE):
            return None
        leaves = {leaf.path: leaf for leaf in self.example.leaves}
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


def _with_name(leaf: Leaf, axis: int) -> str:
    """Return a spec of a tensor with a name for one axis."""
    shape = list(leaf.shape)
    shape[axis] = "features"
    return str(replace(leaf, shape=tuple(shape)))


def _first_run(reference: Watchable, example: Example) -> tuple[Run, Example]:
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
        given = ", ".join(str(leaf) for leaf in example.leaves) or "no tensor"
        raise InputError(
            f"`{reference.name}` fails on {given}: {type(error).__name__}: {error}"
        ) from error


def _smaller_ids(example: Example, error: Exception) -> Iterator[Example]:
    """Yield the example with ever smaller ids in the place of those that were drawn for it.

    Ids that forward computes from several inputs, or looks up in another one, have ranges that no
    table tells.
    """
    drawn = {leaf.path: leaf for leaf in example.leaves if leaf.path in example.drawn}
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


def _steps_named(reference: Watchable, example: Example, run: Run) -> Example:
    """Name the axis of steps where the user gave a number for it, but the model takes any."""
    done = {axis for symbol in _symbols(example) for axis in _axes_of(example, symbol)}
    if SEQUENCE in _symbols(example):
        return example
    possible = Groups.of(example, run)
    for leaf in example.leaves:
        for axis, size in enumerate(leaf.shape):
            if not isinstance(size, int) or size == 1:
                continue
            for group in possible.with_axis(leaf, axis, done):
                runs = _resized_runs(reference, example, group)
                if isinstance(runs, Exception):
                    continue
                if _are_steps(run, size, runs[0], size + 1):
                    shapes = {one.path: list(one.shape) for one in example.leaves}
                    for path, place in group:
                        shapes[path][place] = SEQUENCE
                    named = {path: tuple(shape) for path, shape in shapes.items()}
                    return replace(example, shapes=named, constants={SEQUENCE: size})
                break
    return example


def _are_steps(run: Run, size: int, larger: Run, steps: int) -> bool:
    """Return whether recurrent layers run one step, or a loop its calls, for each entry."""
    along = zip(run.calls, larger.calls, strict=False)
    layers = any(a.sizes[0] == size and b.sizes[0] == steps for a, b in along)
    return layers or 0 < len(run.calls) * steps == len(larger.calls) * size


def _tied_groups(
    reference: Watchable, example: Example, run: Run
) -> Iterator[tuple[str, list[_Axis]]]:
    """Yield each set of axes that must change together and can, with its name."""
    taken: set[str] = set()
    done: set[_Axis] = set()
    possible = Groups.of(example, run)
    for leaf in example.leaves:
        for axis in range(leaf.tensor.dim()):
            if (leaf.path, axis) in done:
                continue
            for group in possible.with_axis(leaf, axis, done):
                runs = _resized_runs(reference, example, group)
                if isinstance(runs, Exception):
                    continue
                larger = _larger(runs, leaf, axis)
                if all(same_results(run, one) for one in larger):
                    larger = runs  # what comes later may be left out, but not the first entries
                symbol = _symbol(run, larger, leaf.path, axis, taken)
                lone = not run.calls and symbol not in (BATCH, None) and SEQUENCE not in taken
                if lone and _is_causal(reference, example, run, group):
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


def _resized_runs(
    reference: Watchable, example: Example, axes: Sequence[_Axis]
) -> list[Run] | Exception:
    """Run forward at three other sizes of `axes`, one of them 1."""
    size = _size(example, axes[0])
    symbol = _name_at(example, axes[0])
    runs: list[Run] = []
    for other in dict.fromkeys((size + 1, 2 * size + 3, 1)):
        if other == size:
            continue
        sizes = dict.fromkeys(axes, other)
        if symbol is not None and example.tied:
            try:
                sizes |= example.tied_sizes({symbol: other})
            except InputError:
                continue
        changed = example.with_axes(sizes)
        # where lengths change with it, it is the batch, whose longest sequence has to stay
        tied = any(path in example.lengths for path, _ in axes)
        steps = _longest(example) if tied else other
        run = _first_success(reference, [changed.with_lengths(steps), changed])
        if not isinstance(run, Exception):
            runs.append(run)
        # one step or one sequence fewer than a window or a norm needs is no reason to call the
        # axis constant
        elif other != 1 or size == 1:
            return run
    return runs


def _longest(example: Example) -> int | None:
    """Return the largest of the lengths of packed sequences."""
    lengths = [leaf.tensor for leaf in example.leaves if leaf.path in example.lengths]
    return max((int(one.max()) for one in lengths), default=None)


def _is_causal(reference: Watchable, example: Example, run: Run, axes: Sequence[_Axis]) -> bool:
    """Return whether what a result has along an axis depends on the entries so far, and no later.

    So it is with the steps of a recurrence that forward writes without a layer or a loop.
    """
    last = _size(example, axes[0]) - 1
    leaves = {leaf.path: leaf.tensor for leaf in example.leaves}
    if last < 1 or not all(leaves[path].is_floating_point() for path, _ in axes):
        return False
    results: list[Mapping[str, torch.Tensor]] = []
    for place in (0, last):
        changed = {path: leaves[path].clone() for path, _ in axes}
        for path, axis in axes:
            changed[path].select(axis, place).mul_(-0.5).add_(0.25)
        other = _first_success(reference, [example.with_tensors(changed)])
        if isinstance(other, Exception):
            return False
        results.append(other.results)
    return any(
        _depends_on_the_past(before, results[0][path], results[1][path], axis)
        for path, before in run.results.items()
        for axis, size in enumerate(before.shape)
        if size == last + 1
    )


def _depends_on_the_past(
    before: torch.Tensor, first: torch.Tensor, last: torch.Tensor, axis: int
) -> bool:
    """Return whether the last entry follows the first one, and no other the last one."""
    end = before.shape[axis] - 1
    if first.shape != before.shape or last.shape != before.shape:
        return False
    follows = not torch.equal(first.select(axis, end), before.select(axis, end))
    own = not torch.equal(last.select(axis, end), before.select(axis, end))
    return follows and own and torch.equal(last.narrow(axis, 0, end), before.narrow(axis, 0, end))


def _larger(runs: Sequence[Run], leaf: Leaf, axis: int) -> Sequence[Run]:
    """Leave out the run at size 1: fewer sequences may also be shorter ones."""
    return runs[:2] if leaf.tensor.shape[axis] > 1 else runs


def _first_success(reference: Watchable, examples: Sequence[Example]) -> Run | Exception:
    """Return the run of the first example that runs, or the last failure."""
    failure: Exception | None = None
    for example in examples:
        try:
            return reference(example)
        except Exception as error:
            failure = error
    assert failure is not None
    return failure


def same_results(one: Run, other: Run) -> bool:
    """Return whether two runs returned the same."""
    return all(
        tensor.shape == other.results[path].shape and torch.equal(tensor, other.results[path])
        for path, tensor in one.results.items()
    )


def _symbol(before: Run, after: Sequence[Run], path: str, axis: int, taken: set[str]) -> str | None:
    """Name an axis by what its size does to the recurrent calls; None if nothing looks at it."""
    more_steps, more_sequences = _effect(before, after)
    if not (more_steps or more_sequences) and all(same_results(before, run) for run in after):
        return None
    if more_steps and SEQUENCE not in taken:
        return SEQUENCE
    if (more_sequences or not before.calls) and not more_steps and BATCH not in taken:
        return BATCH
    return f"{re.sub(r'[^A-Za-z0-9]+', '_', path).strip('_')}_dim{axis}"


def _effect(before: Run, after: Sequence[Run]) -> tuple[bool, bool]:
    """Return whether other sizes gave the recurrent calls more steps, and more sequences."""
    old = [call.sizes for call in before.calls]
    more_steps = more_sequences = False
    for run in after:
        new = [call.sizes for call in run.calls]
        more_steps |= (
            run.functions != before.functions
            or len(new) != len(old)
            or any(a[0] != b[0] for a, b in zip(old, new, strict=False))
        )
        more_sequences |= any(a[1] != b[1] for a, b in zip(old, new, strict=False))
    return more_steps, more_sequences


def _check_names(
    reference: Watchable, example: Example, run: Run, groups: Sequence[tuple[str, list[_Axis]]]
) -> None:
    """Refuse a name where another is due: nothing of that name gives more steps, or sequences."""
    effects: dict[str, tuple[bool, bool]] = {}
    for symbol, axes in groups:
        runs = _resized_runs(reference, example, axes)
        if not isinstance(runs, Exception):
            effects[symbol] = _effect(run, runs)
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


def _failure(
    reference: Watchable, example: Example, axes: Sequence[_Axis], run: Run | None = None
) -> Exception | None:
    """Return why axes take no other sizes, None if they do.

    Args:
        reference: The model.
        example: A call of it.
        axes: What is resized.
        run: What the call gave, whose results other sizes must give in the same rank.
    """
    runs = _resized_runs(reference, example, axes)
    if isinstance(runs, Exception):
        return runs
    for path, tensor in run.results.items() if run else ():
        ranks = {one.results[path].dim() for one in runs if path in one.results}
        if ranks - {tensor.dim()}:
            return _RankError(path)
    return None


class _StepsError(UnsupportedModelError):
    """When the rank of a result depends on a number of steps that nobody chose."""


class _RankError(Exception):
    """When a result, given by its path, has another rank where an axis has another size."""

    def __str__(self) -> str:
        path = self.args[0]
        return f"it returns {f'`{path}`' if path else 'its result'} with another number of axes"


def _check_batch(symbol: str, axes: Sequence[_Axis], error: _RankError) -> None:
    """Refuse to choose a number of steps for a forward whose result's rank depends on it."""
    if symbol != BATCH:
        path, axis = axes[0]
        raise _StepsError(
            f"Axis {axis} of `{path}` ({symbol}) cannot be dynamic: at other sizes forward "
            f"{str(error)[3:]}, as squeeze() without an axis does. Name the axis that it drops, "
            "such as squeeze(-1), or give example tensors of the size that the graph is to have."
        )


def _why_constant(
    reference: Watchable, example: Example, run: Run, named: Example, states: Collection[str]
) -> Iterator[str]:
    """Explain why axes of sequences, of steps and of entries that are neither are constants.

    Sizes that a parameter has, such as numbers of channels, need no explanation.
    """
    sizes = named.sizes
    wanted = {BATCH: {call.sizes[1] for call in run.calls}} if BATCH not in sizes else {}
    if SEQUENCE not in sizes:
        wanted[SEQUENCE] = {call.sizes[0] for call in run.calls} - {1}
    module = getattr(reference, "module", None)
    fixed = {size for p in module.parameters() for size in p.shape} if module is not None else None
    possible = Groups.of(example, run)
    for leaf, given in zip(named.leaves, example.leaves, strict=True):
        if leaf.path in states or holds_state(leaf.path):
            continue
        for axis, size in enumerate(given.tensor.shape):
            if isinstance(leaf.shape[axis], str) or is_feature(given, axis):
                continue
            symbol = next((one for one, counts in wanted.items() if size in counts), None)
            if symbol is None and (fixed is None or size == 1 or size in fixed):
                continue
            axes = next(possible.with_axis(given, axis, set()))
            error = _failure(reference, example, axes)
            if error is not None:
                wanted.pop(symbol or "", None)
                yield _constant_note(reference, symbol, example, axes, error)


def _constant_note(
    reference: Watchable,
    symbol: str | None,
    example: Example,
    axes: Sequence[_Axis],
    error: Exception,
    beside: str = "",
) -> str:
    path, axis = axes[0]
    reason = str(error).strip().partition("\n")[0].rstrip(".")
    name = f" ({symbol})" if symbol else ""
    constant = f"Axis {axis} of `{path}`{name} is the constant {_size(example, axes[0])}: "
    if isinstance(error, _RankError):
        return f"{constant}at other sizes {reason.replace('it', reference.noun, 1)}."
    where = f"at other sizes {beside}".strip()
    return f"{constant}{reference.noun} itself fails {where} ({reason})."


def _symbols(example: Example) -> list[str]:
    return list(example.sizes)


def _name_at(example: Example, axis: _Axis) -> str | None:
    """Return the name of a dynamic axis, or None where it has none."""
    shape = example.shapes.get(axis[0])
    name = None if shape is None else shape[axis[1]]
    return name if isinstance(name, str) else None


def _axes_of(example: Example, symbol: str) -> list[_Axis]:
    return [
        (path, axis)
        for path, shape in example.shapes.items()
        for axis, size in enumerate(shape)
        if size == symbol
    ]


def _size(example: Example, axis: _Axis) -> int:
    tensors = {leaf.path: leaf.tensor for leaf in example.leaves}
    return tensors[axis[0]].shape[axis[1]]


def _distinct(sizes: dict[str, int]) -> dict[str, int]:
    """Return the sizes with no two alike, lest two axes be taken for one."""
    chosen: dict[str, int] = {}
    for symbol, size in sizes.items():
        while size in chosen.values():
            size += 1
        chosen[symbol] = size
    return chosen


def _score(example: Example) -> tuple[int, int, int, int]:
    """Rank a call by its dynamic axes, the fewer of other names the better.

    Then by how few axes of a single entry it takes.
    """
    symbols = _symbols(example)
    others = len(set(symbols) - {SEQUENCE, BATCH})
    single = sum(size == 1 for leaf in example.leaves for size in leaf.shape)
    return int(SEQUENCE in symbols), int(BATCH in symbols), -others, -single
