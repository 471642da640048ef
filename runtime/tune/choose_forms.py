"""The choice among trials, and the forms that say for which sizes it holds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby, pairwise

from edgernn.contract import BATCH, SEQUENCE
from edgernn.forms import Form
from edgernn.tuned import Trial

__all__ = ["chosen_of", "forms_of"]

_NOISE = 1.05
"""How many times as long as the fastest a simpler way may take and still be chosen."""

Range = tuple[int | None, int | None]
"""The smallest and the largest size; None for no bound."""


def chosen_of(trials: Iterable[Trial]) -> list[Trial]:
    """Return the trials of one size with the chosen one marked.

    Of those that are as fast as the fastest, but for noise, it is the first with the fewest
    threads: trials come simplest first.
    """
    trials = list(trials)
    fastest = min(trial.ratio for trial in trials)
    chosen = next(one for one in sorted(trials, key=_threads) if one.ratio <= _NOISE * fastest)
    return [replace(trial, chosen=trial is chosen) for trial in trials]


def _threads(trial: Trial) -> float:
    """Return the number of threads: by itself a step graph has one, a sequence graph all."""
    return trial.threads or (1 if trial.graph == "step" else math.inf)


def forms_of(trials: Sequence[Trial], provider: str) -> tuple[Form, ...]:
    """Return the forms that run the chosen ways at their sizes and at those between.

    A size between two that were measured belongs to the nearer one, by ratio. Batches outside of
    those that were measured are left to the rules; any number of steps belongs to the nearest.

    Args:
        trials: Those of all graphs, by graph, steps and batch in ascending order.
        provider: The name of the provider.
    """
    forms: list[Form] = []
    chosen = [trial for trial in trials if trial.chosen]
    for graph, of_graph in groupby(chosen, lambda trial: trial.graph):
        own = list(of_graph)
        batches = _ranges([trial.batch for trial in own], is_open=False)
        steps = _ranges([trial.steps for trial in own], is_open=True)
        for count, row in groupby(own, lambda trial: trial.steps):
            for (file, threads), same in groupby(row, lambda trial: (trial.file, trial.threads)):
                sizes = [trial.batch for trial in same]
                bounds = {BATCH: (batches[sizes[0]][0], batches[sizes[-1]][1])}
                if graph == "sequence":
                    bounds[SEQUENCE] = steps[count]
                forms.append(
                    Form(
                        graph,
                        file,
                        provider,
                        least={axis: low for axis, (low, _) in bounds.items() if low is not None},
                        most={axis: high for axis, (_, high) in bounds.items() if high is not None},
                        threads=threads,
                    )
                )
    return tuple(forms)


def _ranges(sizes: Iterable[int], is_open: bool) -> dict[int, Range]:
    """Return size → the range that it is measured for; with `is_open` all sizes are in one."""
    known = sorted({*sizes})
    borders = [math.isqrt(low * high) for low, high in pairwise(known)]
    least = [None if is_open else known[0], *(border + 1 for border in borders)]
    most = [*borders, None if is_open else known[-1]]
    return dict(zip(known, zip(least, most, strict=True), strict=True))
