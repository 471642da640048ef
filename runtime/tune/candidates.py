"""The ways to run a graph that are measured: its files, with several numbers of threads."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from edgernn.artifact import Artifact
from edgernn.forms import Form, is_form_file
from edgernn.runtime.model import Model
from edgernn.runtime.providers import Provider
from edgernn.runtime.sessions import Sessions

__all__ = ["Candidate", "candidates_of", "thread_counts", "with_threads"]


@dataclass(frozen=True)
class Candidate:
    """One way to run a graph.

    Attributes:
        graph: `sequence` or `step`.
        file: Its name in the artifact's folder, where it is written if it is chosen.
        path: Where it is now.
        threads: The number of threads; None for as many as the portable graph has.
        tolerance: The largest difference from the model that passes; None for the artifact's.
        error: The largest difference that is known already.
    """

    graph: str
    file: str
    path: Path
    threads: int | None = None
    tolerance: float | None = None
    error: float = 0.0

    @property
    def is_portable(self) -> bool:
        """Whether it is the portable graph with the number of threads that it has by itself."""
        return not is_form_file(self.file) and self.threads is None

    def model(self, artifact: Artifact, provider: Provider) -> Model:
        """Return a model that runs it at every size in place of the portable graph."""
        form = Form(self.graph, self.file, provider.name, threads=self.threads)
        sessions = Sessions(
            artifact.contract,
            provider,
            None,
            locate=artifact.checked,
            forms=(form,),
            locate_form=lambda form: self.path,
        )
        return Model(sessions, artifact)


def candidates_of(artifact: Artifact) -> list[Candidate]:
    """Return the graphs that an artifact has: the portable ones first.

    Raises:
        ContractError: A file is missing or was changed.
    """
    portable = [
        Candidate(graph, f"{graph}.onnx", artifact.checked(graph))
        for graph in artifact.contract.graphs
    ]
    forms = {form.file: form for form in artifact.forms if is_form_file(form.file)}
    return [
        *portable,
        *(Candidate(form.graph, form.file, artifact.checked_form(form)) for form in forms.values()),
    ]


def with_threads(
    candidates: Iterable[Candidate], provider: Provider, threads: int | None
) -> Iterator[Candidate]:
    """Yield every candidate with the numbers of threads that are measured.

    Args:
        candidates: The candidates.
        provider: Where they run; only the CPU runs on threads.
        threads: The only number that is measured besides that of the portable graph; None for
            those of `thread_counts`.
    """
    for candidate in candidates:
        yield candidate
        if provider.name != "cpu":
            continue
        for count in thread_counts(candidate.graph) if threads is None else (threads,):
            if (candidate.graph, count) != ("step", 1):
                yield replace(candidate, threads=count)


def thread_counts(graph: str) -> list[int]:
    """Return 1, 2, 4, … and the number of cores, without what the portable graph has by itself."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    most = cores or 1
    counts = {1, most, *(1 << power for power in range(most.bit_length()) if 1 << power < most)}
    return sorted(counts - {1 if graph == "step" else most})
