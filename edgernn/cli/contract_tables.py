"""The tables of `edgernn inspect`: ports, states, layers and cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgernn.cli.picture.graph_content import layer_lines, start_of
from edgernn.cli.terminal_tables import facts, show, table
from edgernn.facts import Facts, axis_facts, parity_line, streaming_facts, vocabulary_line
from edgernn.precision_report import COLUMNS

if TYPE_CHECKING:
    from rich.table import Table

    from edgernn.artifact import Artifact
    from edgernn.contract import Contract, Graph, Port
    from edgernn.export.analysis.file_analysis import FileAnalysis
    from edgernn.layer import Layer
    from edgernn.precision_report import PrecisionReport
    from edgernn.report import Cost

__all__ = ["print_artifact", "print_file"]

_CARRY = {
    True: "yes: the state of one call is fed to the next",
    False: "no: the state of one call must not be fed to the next",
}


def print_artifact(artifact: Artifact) -> None:
    """Print what is known of an artifact."""
    contract = artifact.contract
    show(
        facts(
            [
                ("artifact", str(artifact.path)),
                ("source", contract.source),
                *_layer_facts(artifact.layers or (), artifact.cost),
            ]
        ),
        *(
            _port_table(f"{kind}.onnx", _contract_rows(contract, graph))
            for kind, graph in contract.graphs.items()
        ),
        *_weight_tables(artifact.precision),
        facts(
            [
                *_contract_facts(contract),
                *_cost_facts(artifact.cost, contract),
                *(
                    ("" if index else "folded", str(one))
                    for index, one in enumerate(artifact.folds)
                ),
                *_form_facts(artifact),
                ("parity", parity_line(artifact.parity)),
                *(artifact.precision.facts if artifact.precision else ()),
                *_refusal_facts(artifact.refusals),
                *(("note", note) for note in contract.notes),
            ]
        ),
    )


def print_file(path: Path, analysis: FileAnalysis) -> None:
    """Print what is known of an ONNX file."""
    contract = analysis.contract
    rows = (
        _contract_rows(contract, next(iter(contract.graphs.values())))
        if contract
        else [*_rows("in", analysis.inputs), *_rows("out", analysis.outputs)]
    )
    own = _contract_facts(contract) if contract else [("contract", "none: not made by edgernn")]
    show(
        facts(
            [
                ("file", str(path)),
                ("producer", analysis.producer or "unknown"),
                ("opset", str(analysis.opset)),
                *_layer_facts(analysis.layers, analysis.cost),
            ]
        ),
        _port_table(path.name, rows),
        facts(
            [
                *own,
                *_cost_facts(analysis.cost, contract),
                *(("recurrent", node) for node in analysis.recurrent or ("none",)),
                *_refusal_facts(analysis.refusals),
            ]
        ),
    )


# --- ports ----------------------------------------------------------------------------------------


def _port_table(title: str, rows: Sequence[tuple[str, ...]]) -> Table:
    """Return a table of ports, without the last column where no port is of a call of forward."""
    columns = ("", "name", "dtype and shape", "in forward")
    shown = len(columns) if any(row[-1] for row in rows) else len(columns) - 1
    return table(title, columns[:shown], [row[:shown] for row in rows])


def _contract_rows(contract: Contract, graph: Graph) -> list[tuple[str, ...]]:
    states = {state.input for state in contract.states}
    states |= {state.output for state in contract.states}
    return [*_rows("in", graph.inputs, states), *_rows("out", graph.outputs, states)]


def _rows(role: str, ports: Iterable[Port], states: Iterable[str] = ()) -> list[tuple[str, ...]]:
    return [
        (
            f"state {role}" if port.name in states else role,
            port.name,
            f"{port.dtype}[{', '.join(map(str, port.shape))}]",
            _origin(role, port),
        )
        for port in ports
    ]


def _origin(role: str, port: Port) -> str:
    if port.origin is None:
        return ""
    return port.origin if role == "in" else f"return{port.origin}"


# --- weights --------------------------------------------------------------------------------------


def _weight_tables(report: PrecisionReport | None) -> list[Table]:
    """Return a table of the weights of each graph, where they have another precision."""
    if report is None or report.precision == "float32":
        return []
    shown = COLUMNS if report.has_reasons else COLUMNS[:-1]
    return [
        table(f"weights of {kind}.onnx", shown, [one.row[: len(shown)] for one in weights])
        for kind, weights in report.weights.items()
    ]


# --- facts ----------------------------------------------------------------------------------------


def _contract_facts(contract: Contract) -> Facts:
    pairs = [
        (
            "" if index else "states",
            f"{state.output} → {state.input}, {start_of(state)}"
            if contract.carry
            else f"{state.input} {start_of(state)}",
        )
        for index, state in enumerate(contract.states)
    ]
    pairs = pairs or [("states", "none")]
    pairs.append(("carry", _CARRY[contract.carry]))
    if not contract.divisible:
        pairs.append(("", "a sequence in other parts gives other numbers"))
    pairs += [*axis_facts(contract), *streaming_facts(contract)]
    pairs += [(name, "the longest is all steps") for name in contract.full_lengths]
    if contract.vocabulary:
        pairs.append(("vocabulary", vocabulary_line(contract.vocabulary)))
    return pairs


def _layer_facts(layers: Sequence[Layer], cost: Cost) -> Facts:
    pairs = [
        ("" if index else "layers", f"{line.kind} {line.sizes}")
        for index, line in enumerate(layer_lines(layers))
    ]
    return [*pairs, ("parameters", f"{cost.parameters:,}")]


def _cost_facts(cost: Cost, contract: Contract | None) -> Facts:
    call = "per hop" if contract is not None and contract.hop > 1 else "per step"
    return [
        (call, f"{cost.multiply_adds:,} multiply-adds"),
        ("", f"{cost.weight_bytes:,} bytes of weights read"),
        ("", f"{cost.state_bytes:,} bytes of state per sequence"),
    ]


def _form_facts(artifact: Artifact) -> Facts:
    """Return the forms in the order in which they are tried, and where they were measured."""
    facts = [("" if index else "forms", str(form)) for index, form in enumerate(artifact.forms)]
    tunings = artifact.tuned.tunings if artifact.tuned else ()
    return [*facts, *(("tuned", str(tuning)) for tuning in tunings)]


def _refusal_facts(refusals: Mapping[str, str]) -> Facts:
    if not refusals:
        return [("refused by", "no runtime known to edgernn")]
    return [("refused by", f"{runtime}: {reason}") for runtime, reason in refusals.items()]
