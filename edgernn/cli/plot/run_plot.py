"""`edgernn run --plot`: what a run reads and writes, as a picture."""

from __future__ import annotations

from collections.abc import Sequence

from edgernn.cli.chunk_runner import Arrays, ChunkRunner
from edgernn.cli.data_files.output_file import OutputFile
from edgernn.cli.data_files.output_layout import OutputLayout
from edgernn.cli.forecast import Forecast
from edgernn.cli.plot.plot_figure import Picture
from edgernn.cli.plot.plot_series import PlotRecorder
from edgernn.contract import Contract

__all__ = ["RunPlot"]


class RunPlot:
    """The picture of a run, from the beginning of the run on."""

    def __init__(self, contract: Contract, runner: ChunkRunner) -> None:
        """Record what the runner runs."""
        self._contract = contract
        self._runner = runner
        self._recorder = PlotRecorder(contract)
        self._sequences = 1
        runner.observe = self._record

    def _record(self, inputs: Arrays, outputs: Arrays) -> None:
        if inputs:
            self._sequences = self._runner.batch_size(inputs)
        steps = self._runner.step_count(inputs) if inputs else 0
        self._recorder.record(steps, self._sequences, inputs, outputs)

    def _unit(self, rate: float | None) -> tuple[float, str]:
        """Return the steps of the input in a unit of the axis of time, and the axis's name.

        Args:
            rate: The steps of the input in a second; None where only the contract may have it.
        """
        rate = self._contract.sample_rate if rate is None else rate
        if rate is not None:
            return rate, "seconds"
        lengths = {one.length for one in self._recorder.series() if not one.is_input}
        length = lengths.pop() if len(lengths) == 1 else 1
        return length, "step" if length == 1 else "step of the output"

    def save(
        self,
        target: OutputFile,
        title: str,
        generated: int,
        columns: Sequence[str] | None,
        rate: float | None,
    ) -> None:
        """Draw what was recorded.

        Args:
            target: Where to write.
            title: The line above the panels.
            generated: The number of steps at the end that the model generated.
            columns: The names of the input's features; None where they have none.
            rate: The steps of the input in a second; None where only the contract may have it.
        """
        recorder = self._recorder
        layout = OutputLayout.of(self._contract, batched=False)
        series = recorder.series()
        labels = {one.name: layout.column_names(one.name, one.features) for one in series}
        symbols = [_visible(symbol) for symbol in layout.symbols]
        if layout.scores is not None:
            labels[layout.scores] = symbols
        if columns is not None:
            labels[series[0].name] = list(columns)
            if generated:
                labels[Forecast(self._contract).output] = list(columns)
        if recorder.sequences > 1:
            title += f", sequence 1 of {recorder.sequences}"
        picture = Picture(
            title, series, labels, recorder.steps, generated, symbols, *self._unit(rate)
        )
        with target.open() as opened:
            picture.save(opened.stream, target.path.suffix.removeprefix("."))


def _visible(symbol: str) -> str:
    """Return a symbol as ink."""
    visible = symbol.replace(" ", "␣").replace("\n", "⏎")
    return visible if visible.isprintable() else ascii(visible)[1:-1]
