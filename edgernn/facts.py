"""What people want to know of a contract and its parts: in summaries, terminals and notebooks."""

from __future__ import annotations

import html
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from edgernn.untrusted_text import escape_unprintable

if TYPE_CHECKING:
    from edgernn.contract import Contract, Port
    from edgernn.report import ParityReport
    from edgernn.vocabulary import Vocabulary

__all__ = [
    "Facts",
    "ShownAsFacts",
    "axis_facts",
    "contract_facts",
    "facts_of",
    "file_size",
    "graph_sizes",
    "parity_line",
    "port_facts",
    "size_text",
    "state_bytes",
    "steps_and_ms",
    "streaming_facts",
    "vocabulary_line",
]

Facts = list[tuple[str, str]]
"""Name of a fact → its text, in the order in which they are shown."""

_MOST_OF_A_NAME = 8
_LONGEST = 160
_SYMBOLS_SHOWN = 40
_TITLE = "text-align:left;white-space:nowrap"
_CELL = "text-align:left;vertical-align:top"
_STATE_BYTES = {"float32": 4, "float16": 2, "int64": 8, "bool": 1}


class ShownAsFacts(ABC):
    """A class whose instances are shown as a title and facts, in Python and in notebooks."""

    @abstractmethod
    def _facts(self) -> tuple[str, Facts]:
        """Return the title and the facts."""

    def __repr__(self) -> str:
        title, facts = self._facts()
        shown = [*_shortened(facts)]
        width = max((len(name) for name, _ in shown), default=0)
        return "\n".join([_line(title), *(f"{name:<{width}}  {text}" for name, text in shown)])

    def _repr_html_(self) -> str:
        title, facts = self._facts()
        rows = "".join(
            f'<tr><th style="{_CELL}">{html.escape(name)}</th>'
            f'<td style="{_CELL}">{html.escape(text)}</td></tr>'
            for name, text in _shortened(facts)
        )
        head = f'<caption style="{_TITLE}">{html.escape(_line(title))}</caption>'
        return f'<table style="color:inherit">{head}{rows}</table>'


def facts_of(shown: ShownAsFacts) -> tuple[str, Facts]:
    """Return the title and the facts that something is shown as."""
    return shown._facts()


def contract_facts(contract: Contract) -> Facts:
    """Return the ports of a contract with their limits, its states with their size, its symbols."""
    facts = port_facts(contract)
    facts += [
        ("ids", f"{port.name} is 0 to {port.limit - 1:,}")
        for port in contract.data_inputs(_first_graph(contract))
        if port.limit is not None
    ]
    facts += axis_facts(contract)
    facts += streaming_facts(contract)
    if contract.states:
        facts.append(("memory", f"{state_bytes(contract):,} bytes of state per sequence"))
    if not contract.carry:
        facts.append(("carry", "no: the state of one call must not be fed to the next"))
    if contract.vocabulary:
        facts.append(("vocabulary", vocabulary_line(contract.vocabulary)))
    return facts


def port_facts(contract: Contract) -> Facts:
    """Return the data inputs, the data outputs and the states of the first graph."""
    kind = _first_graph(contract)
    graph = contract.graphs[kind]
    facts = [("input", str(port)) for port in contract.data_inputs(kind)]
    facts += [("output", str(port)) for port in contract.data_outputs(kind)]
    facts += [
        ("state", f"{graph.input(state.input)} → {state.output}") for state in contract.states
    ]
    return facts


def _first_graph(contract: Contract) -> str:
    return "sequence" if contract.sequence else "step"


def axis_facts(contract: Contract) -> Facts:
    """Return the axes `batch` and `sequence` that are constant, and the bounds of dynamic ones."""
    facts = [(axis, f"exactly {size}") for axis, size in contract.constants.items()]
    facts += [(axis, f"at most {size}") for axis, size in contract.most.items()]
    facts += [(axis, f"at least {size}") for axis, size in contract.least.items()]
    return facts


def streaming_facts(contract: Contract) -> Facts:
    """Return hop, delays and tails in steps, and in ms where the sample rate is known."""
    facts = []
    if contract.sample_rate is not None:
        facts.append(("rate", f"{contract.sample_rate:,.9g} steps of the input per second"))
    if contract.hop > 1:
        facts.append(("hop", f"{steps_and_ms(contract, contract.hop)} of the input per call"))
    for name, limit in contract.limited_states.items():
        unit, port = "steps" if contract.hop == 1 else "hops", contract.state_ports[name].name
        facts.append(
            ("positions", f"at most {limit:,} {unit} in one sequence, which {port} counts")
        )
    for name, count in contract.delays.items():
        facts.append(("delay", f"{name} comes {steps_and_ms(contract, count, name)} later"))
    for name, count in contract.tails.items():
        given = "not in a stream" if contract.missing else "given at the end of a stream"
        facts.append(("tail", f"last {steps_and_ms(contract, count, name)} of {name}, {given}"))
    return facts


def steps_and_ms(contract: Contract, steps: int, output: str | None = None) -> str:
    """Return `160 steps`, with ` (10 ms)` where the sample rate is known.

    Args:
        contract: The contract of the model.
        steps: The number of steps.
        output: The data output whose steps they are; None for steps of the input.
    """
    seconds = contract.seconds(steps, output)
    time = "" if seconds is None else f" ({1000 * seconds:,.4g} ms)"
    return f"{steps:,} step{'' if steps == 1 else 's'}{time}"


def state_bytes(contract: Contract) -> int:
    """Return the bytes of all states of one sequence."""
    return sum(map(_port_bytes, contract.state_ports.values()))


def _port_bytes(port: Port) -> int:
    sizes = (
        1 if isinstance(size, str) or axis == "batch" else size
        for axis, size in zip(port.axes, port.shape, strict=True)
    )
    return math.prod(sizes) * _STATE_BYTES[port.dtype]


def vocabulary_line(vocabulary: Vocabulary) -> str:
    """Return the number of symbols and the first ones."""
    shown = " ".join(
        symbol if symbol.isprintable() and not symbol.isspace() else repr(symbol)
        for symbol in vocabulary.symbols[:_SYMBOLS_SHOWN]
    )
    more = " …" if len(vocabulary) > _SYMBOLS_SHOWN else ""
    return f"{len(vocabulary):,} symbols: {shown}{more}"


def parity_line(report: ParityReport | None) -> str:
    """Return the result of the parity check, or that there was none."""
    return "not proven: exported without verification" if report is None else str(report)


def graph_sizes(folder: Path, contract: Contract) -> str:
    """Return the graphs of an artifact's folder with the sizes of their files, in one line."""
    files = [folder / f"{kind}.onnx" for kind in contract.graphs]
    return ", ".join(
        f"{file.name} {file_size(file) if file.is_file() else 'missing'}" for file in files
    )


def file_size(file: Path) -> str:
    """Return the size of a file in a unit that keeps it short."""
    return size_text(file.stat().st_size)


def size_text(size: int) -> str:
    """Return a size in bytes in a unit that keeps it short."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"


def _shortened(facts: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the facts as single lines of printable characters, the first few of each name."""
    for name, group in groupby(facts, key=lambda fact: fact[0]):
        texts = [text for _, text in group]
        for text in texts[:_MOST_OF_A_NAME]:
            yield _line(name), _line(text)
        if len(texts) > _MOST_OF_A_NAME:
            yield _line(name), f"… and {len(texts) - _MOST_OF_A_NAME:,} more"


def _line(text: str) -> str:
    """Return a text in one line of printable characters, cut where it is long."""
    cut = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return escape_unprintable(cut).replace("\n", "\\n").replace("\t", "\\t")
