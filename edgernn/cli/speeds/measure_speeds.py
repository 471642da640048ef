"""The cells that `edgernn bench` measures, one after the other."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgernn.artifact import Artifact
from edgernn.cli.speeds.bench_options import BenchOptions
from edgernn.errors import EdgernnError
from edgernn.export.options import Precision, SourceOptions
from edgernn.runtime import load
from edgernn.runtime.measure.limits import Limits, measure_limits
from edgernn.runtime.measure.model_calls import ModelCalls
from edgernn.runtime.measure.speed import Cell, Speed, bound_of
from edgernn.runtime.measure.timing import measure
from edgernn.runtime.providers import AUTO, find_provider

if TYPE_CHECKING:
    from edgernn.export.eager_calls import EagerCalls

__all__ = ["Bench", "Part", "cell_label", "load_bench"]

_LOG = logging.getLogger("edgernn.export")


@dataclass
class Part:
    """A model in one precision on one provider.

    Attributes:
        artifact: The artifact.
        precision: The precision as it is shown; empty for that of the artifact that was given.
        provider: Where it runs.
        calls: Its calls.
        limits: What the machine can do for it; None until it was measured.
    """

    artifact: Artifact
    precision: str
    provider: str
    calls: ModelCalls
    limits: Limits | None = None


@dataclass
class Bench:
    """What is measured: every part in every size.

    Attributes:
        path: The artifact that was given.
        options: What the command line asks for.
        parts: The models.
        eager: The torch model beside them, or None.
        notes: What the user should know of the parts.
        speeds: What was measured so far.
    """

    path: Path
    options: BenchOptions
    parts: list[Part]
    eager: EagerCalls | None
    notes: list[str]
    speeds: list[Speed] = field(default_factory=list)

    def sizes(self, part: Part) -> list[tuple[int, int]]:
        """Return batch and chunk of each cell of a part."""
        batches = self.options.batch or (part.calls.default_batch,)
        chunks = self.options.chunk or part.calls.default_chunks
        return [(batch, chunk) for batch in batches for chunk in chunks]

    @property
    def cells(self) -> int:
        """The number of cells."""
        return sum(len(self.sizes(part)) for part in self.parts)

    @property
    def measurements(self) -> int:
        """The number of cells, and of parts whose limits are measured."""
        return self.cells + len(self.parts)

    def try_sizes(self) -> None:
        """Call every part once in every size, so that a size is refused before anything is timed.

        Raises:
            InputError: The model does not take a size.
        """
        for part in self.parts:
            for batch, chunk in self.sizes(part):
                part.calls.call(batch, chunk)()

    def run(self, show: Callable[[str], Any], tick: Callable[[], Any]) -> None:
        """Measure all; `speeds` has what was measured when this is interrupted.

        Args:
            show: Is called with what is measured next.
            tick: Is called between rounds.
        """
        with self._eager_threads():
            for part in self.parts:
                cost, threads = part.artifact.cost, self.options.threads
                show("limits of this machine")
                part.limits = measure_limits(
                    cost.weight_bytes, part.provider, threads, lambda _: tick()
                )
                for batch, chunk in self.sizes(part):
                    cell = Cell(part.precision, part.provider, batch, chunk)
                    show(cell_label(cell))
                    self.speeds.append(self._measure(part, part.limits, cell, tick))

    def _measure(self, part: Part, limits: Limits, cell: Cell, tick: Callable[[], Any]) -> Speed:
        calls = {"edgernn": part.calls.call(cell.batch, cell.chunk)}
        if self.eager is not None:
            device = find_provider(part.provider).device
            place = f"cuda:{device.id}" if device.memory == "cuda" else "cpu"
            eager = self.eager.call(cell.batch, cell.chunk, place)
            calls |= {} if eager is None else {"torch": eager}
        times = measure(
            calls,
            self.options.rounds,
            seconds=self.options.seconds,
            after_round=lambda _: tick(),
        )
        contract = part.artifact.contract
        bound = bound_of(part.artifact.cost, limits, cell.batch, cell.chunk // contract.hop)
        graph = part.calls.graph(cell.batch, cell.chunk)
        return Speed(cell, times["edgernn"], times.get("torch"), bound, contract.sample_rate, graph)

    def _eager_threads(self) -> contextlib.AbstractContextManager[None]:
        if self.eager is None:
            return contextlib.nullcontext()
        from edgernn.export.eager_calls import eager_threads

        return eager_threads(self.options.threads)


def load_bench(path: Path, options: BenchOptions, folder: Path) -> Bench:
    """Load an artifact and all that is measured beside it.

    Args:
        path: The artifact.
        options: What the command line asks for.
        folder: An empty folder, which other precisions are exported into.

    Raises:
        EdgernnError: Something cannot be loaded, or a size or precision is not the model's.
    """
    artifact = Artifact.open(path)
    for provider in options.provider:
        if provider != AUTO:
            find_provider(provider)  # an unknown one is refused before PyTorch is loaded
    eager = None
    if options.against is not None:
        from edgernn.export.check_files import check_model_file

        check_model_file(options.against)
        _LOG.info("loading PyTorch")
        from edgernn.export.eager_calls import EagerCalls

        source = SourceOptions(**options.source)
        eager = EagerCalls(options.against, source, artifact.contract)
    notes: list[str] = []
    artifacts = _in_precisions(artifact, options.precision, folder, notes)
    _LOG.info("loading the model")
    parts = [
        _part(one, precision, provider, options)
        for precision, one in artifacts.items()
        for provider in dict.fromkeys(options.provider)
    ]
    bench = Bench(path, options, parts, eager, notes)
    if eager is not None and (doubt := _doubt(artifact, eager, options)):
        notes.append(doubt)
    _LOG.info("trying the sizes")
    bench.try_sizes()
    return bench


def _doubt(artifact: Artifact, eager: EagerCalls, options: BenchOptions) -> str:
    """Return why the torch model may be another one than the artifact's, or an empty text.

    A parameter that forward does not use is in the torch model only. Lengths have weights in the
    artifact only, so they say nothing.
    """
    ours = artifact.cost.parameters
    if eager.parameters == ours or artifact.contract.lengths:
        return ""
    return (
        f"`{options.against}` has {eager.parameters:,} parameters and `{artifact.path}` {ours:,}: "
        "compare them only if both are the same model."
    )


def _part(artifact: Artifact, precision: str, provider: str, options: BenchOptions) -> Part:
    """Load an artifact; of `auto`, the provider that was chosen."""
    model = load(artifact.path, provider, options.threads, forms=options.forms)
    written = model.provider if provider == AUTO else provider
    return Part(artifact, precision, written, ModelCalls(model, options.forms))


def cell_label(cell: Cell) -> str:
    """Return what a cell is, in a line."""
    where = [] if cell.provider == "cpu" else [cell.provider]
    precision = [cell.precision] if cell.precision else []
    return ", ".join([f"batch {cell.batch:,}", f"chunk {cell.chunk:,}", *precision, *where])


def _in_precisions(
    artifact: Artifact, precisions: tuple[Precision, ...], folder: Path, notes: list[str]
) -> dict[str, Artifact]:
    """Return the artifact in each precision: as it is, or exported from it again.

    One of several that cannot be exported is left out, with a note.
    """
    if not precisions:
        return {"": artifact}
    _LOG.info("loading PyTorch")
    from edgernn.export import export_model
    from edgernn.export.analysis.graph_precision import precision_of_files

    own = precision_of_files(artifact.checked(kind) for kind in artifact.contract.graphs)
    found: dict[str, Artifact] = {}
    for precision in precisions:
        if precision == own:
            found[precision] = artifact
            continue
        _LOG.info("exporting in %s", precision)
        target, rate = folder / f"{precision}.edgernn", artifact.contract.sample_rate
        try:
            found[precision] = export_model(artifact.path, target, precision=precision, rate=rate)
        except EdgernnError as error:
            if len(precisions) == 1:
                raise
            notes.append(f"{precision} is left out. {error}")
    return found
