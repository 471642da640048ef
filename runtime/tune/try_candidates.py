"""The times and errors of candidates, measured by turns at every size."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgernn.artifact import Artifact
from edgernn.contract import SEQUENCE, Contract
from edgernn.errors import EdgernnError, InputError
from edgernn.option_names import option
from edgernn.report import ParityReport
from edgernn.runtime.golden_replay import exported_tolerance, replay, require_passed
from edgernn.runtime.measure.model_calls import ModelCalls
from edgernn.runtime.measure.timing import measure
from edgernn.runtime.model import Model
from edgernn.runtime.providers import Provider
from edgernn.runtime.stream_inputs import check_batch
from edgernn.runtime.tune.candidates import Candidate
from edgernn.runtime.tune.choose_forms import chosen_of
from edgernn.tuned import Trial

__all__ = ["Sizes", "try_candidates"]

_MOST_SIZES = 64

_LOG = logging.getLogger("edgernn.tune")


@dataclass(frozen=True)
class Sizes:
    """What is measured, and for how long.

    Attributes:
        batches: The numbers of sequences; empty for 1, or what the model takes.
        steps: The numbers of steps of a call of the sequence graph; empty for 100, or what the
            model takes.
        rounds: The most rounds of a measurement.
        seconds: The most seconds of a measurement.
    """

    batches: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()
    rounds: int = 20
    seconds: float = 4.0

    def check(self, contract: Contract) -> None:
        """Check that the graphs take the sizes.

        Raises:
            InputError: One of them does not.
        """
        count = max(1, len(self.batches)) * (max(1, len(self.steps)) + 1)
        if count > _MOST_SIZES:
            raise InputError(
                f"{count} sizes were asked for; at most {_MOST_SIZES} are measured. Give fewer "
                "batches or numbers of steps."
            )
        for batch in self.batches:
            check_batch(contract, batch)
        only, hop = contract.constants.get(SEQUENCE), contract.hop
        for count in self.steps:
            if contract.sequence is None:
                raise InputError(
                    f"{option('steps')} is {count}; the model has no sequence graph. Leave it out."
                )
            if only not in (None, count):
                raise InputError(
                    f"{option('steps')} is {count}; the model takes {only} steps only."
                )
            if count % hop:
                raise InputError(
                    f"{option('steps')} is {count}; the model takes hops of {hop} steps. Give a "
                    f"multiple of {hop}."
                )
            most = [*contract.limited_states.values(), contract.most.get(SEQUENCE, count) // hop]
            least, most_steps = contract.least.get(SEQUENCE, count), hop * min(most)
            if not least <= count <= most_steps:
                bound = f"at least {least}" if count < least else f"at most {most_steps}"
                raise InputError(
                    f"{option('steps')} is {count}; the model takes {bound} steps. Give another "
                    "number."
                )
            if count == hop and contract.step is not None:
                raise InputError(
                    f"{option('steps')} is {count}, which runs in the step graph. Give "
                    f"{2 * hop} or more."
                )


def try_candidates(
    artifact: Artifact, provider: Provider, candidates: Iterable[Candidate], sizes: Sizes
) -> list[Trial]:
    """Measure candidates at every size, and choose one for each.

    Candidates that this provider does not run, or whose error is too large, are left out.

    Args:
        artifact: The artifact.
        provider: Where they run.
        candidates: The candidates of all graphs, the simplest first.
        sizes: What is measured.

    Raises:
        InputError: The model does not take a size.
        ParityError: A portable graph differs from the golden run.
        EdgernnError: A portable graph does not run.
    """
    sizes.check(artifact.contract)
    models: dict[Candidate, tuple[Model, float]] = {}
    errors: dict[str, float] = {}
    for candidate in candidates:
        model = candidate.model(artifact, provider)
        _LOG.info("checking the forms: %s", candidate.file)
        try:
            if candidate.file not in errors:
                errors[candidate.file] = _error(artifact, model, candidate)
            models[candidate] = model, errors[candidate.file]
        except EdgernnError as error:
            if candidate.is_portable:
                raise
            _LOG.debug("%s is left out: %s", candidate.file, error)
            errors[candidate.file] = math.inf
    usable = {one: pair for one, pair in models.items() if math.isfinite(pair[1])}
    return [
        trial
        for graph in artifact.contract.graphs
        for batch, steps in _cells(artifact, graph, sizes, usable)
        for trial in _measure(graph, batch, steps, usable, sizes)
    ]


def _error(artifact: Artifact, model: Model, candidate: Candidate) -> float:
    """Return the largest difference from the golden run; infinite where it does not pass.

    Raises:
        ParityError: A portable graph does not pass.
    """
    checks = tuple(check for check in replay(model) if check.graph == candidate.graph)
    if candidate.is_portable:
        require_passed(ParityReport("the golden run", exported_tolerance(artifact), checks))
    error = max([candidate.error, *(check.difference for check in checks)])
    tolerance = candidate.tolerance
    if tolerance is None:
        tolerance = exported_tolerance(artifact)
    if checks and error <= tolerance:
        return error
    _LOG.debug(
        "%s is left out: its error is %.1e, and at most %.1e passes",
        candidate.file,
        error,
        tolerance,
    )
    return math.inf


def _cells(
    artifact: Artifact, graph: str, sizes: Sizes, models: dict[Candidate, tuple[Model, float]]
) -> list[tuple[int, int]]:
    """Return the batches and steps at which a graph is measured, in ascending order."""
    contract, hop = artifact.contract, artifact.contract.hop
    calls = ModelCalls(next(iter(models.values()))[0])
    batches = sizes.batches or (calls.default_batch,)
    steps: Sequence[int] = (hop,)
    if graph == "sequence":
        steps = sizes.steps or calls.default_chunks[-1:]
    elif not contract.carry:
        return []
    return [(batch, count) for count in sorted({*steps}) for batch in sorted({*batches})]


def _measure(
    graph: str,
    batch: int,
    steps: int,
    models: dict[Candidate, tuple[Model, float]],
    sizes: Sizes,
) -> list[Trial]:
    own = [candidate for candidate in models if candidate.graph == graph]
    what = "step" if graph == "step" else f"{steps:,} steps"
    _LOG.info("measuring: %s at batch %d, %d ways", what, batch, len(own))
    calls = {
        str(index): ModelCalls(models[candidate][0]).call(batch, steps)
        for index, candidate in enumerate(own)
    }
    times = measure(
        calls,
        sizes.rounds,
        seconds=sizes.seconds,
        after_round=lambda done: _LOG.info(
            "measuring: %s at batch %d, %d ways, round %d", what, batch, len(own), done
        ),
    )
    portable = times[str(next(i for i, candidate in enumerate(own) if candidate.is_portable))]
    return chosen_of(
        Trial(
            graph=graph,
            file=candidate.file,
            threads=candidate.threads,
            batch=batch,
            steps=steps,
            seconds=times[str(index)].median,
            ratio=times[str(index)].ratio(portable),
            error=models[candidate][1],
            tolerance=candidate.tolerance,
        )
        for index, candidate in enumerate(own)
    )
