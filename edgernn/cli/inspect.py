"""`edgernn inspect`: the contract and cost of an artifact, or of one ONNX file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgernn.cli.command_options import json_option
from edgernn.cli.terminal_notes import note, verbosity_options

if TYPE_CHECKING:
    from edgernn.artifact import Artifact
    from edgernn.cli.graph_content import Content
    from edgernn.cli.output_file import OutputFile
    from edgernn.contract import Contract, Graph, Port
    from edgernn.export.analysis.file_analysis import FileAnalysis
    from edgernn.layer import Layer
    from edgernn.report import Cost, ParityReport
    from edgernn.vocabulary import Vocabulary

_SYMBOLS_SHOWN = 40

Facts = list[tuple[str, str]]


def _svg_file(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """Check that the name of a picture ends in .svg."""
    if value is not None and value.suffix != ".svg" and not _output_file(value).is_stream:
        raise click.BadParameter(f"`{value}` does not end in .svg.")
    return value


def _output_file(path: Path, force: bool = False) -> OutputFile:
    from edgernn.cli.output_file import OutputFile

    return OutputFile(path, "--graph", force)


@click.command("inspect", short_help="Show the contract and cost of an artifact or ONNX file.")
@click.argument("path", metavar="FILE_OR_ARTIFACT", type=click.Path(path_type=Path))
@click.option(
    "--graph",
    type=click.Path(path_type=Path),
    metavar="FILE.svg",
    callback=_svg_file,
    help="Draw ports, states and layers instead.",
)
@click.option("--force", is_flag=True, help="Replace a file that exists.")
@json_option
@verbosity_options
def command(path: Path, graph: Path | None, force: bool, as_json: bool) -> None:
    """Show ports, states, cost per step, and which runtimes refuse FILE_OR_ARTIFACT and why.

    An artifact needs nothing but edgernn. A single .onnx file, from whatever tool, needs the
    extra `export`.

    --graph draws a picture for a web page, which is light or dark as the reader's screen is. A file
    that exists is kept unless --force is given.
    """
    if graph is None and force:
        raise click.UsageError("--force needs --graph.")
    if graph is not None and as_json:
        raise click.UsageError("Give --graph or --json, not both.")
    picture_file = None if graph is None else _output_file(graph, force)
    if picture_file is not None:
        picture_file.check()
    if path.suffix == ".onnx" and not os.path.isdir(path):
        from edgernn.export.analysis.file_analysis import analyse_file

        analysis = analyse_file(path)
        if picture_file is not None:
            from edgernn.cli.graph_content import file_content

            _draw(file_content(path.name, analysis), picture_file)
        else:
            _print_json(path, analysis.to_json()) if as_json else _print_file(path, analysis)
    else:
        from edgernn.artifact import Artifact

        artifact = Artifact.open(path)
        if picture_file is not None:
            from edgernn.cli.graph_content import artifact_content

            _draw(artifact_content(artifact), picture_file)
        else:
            _print_json(path, artifact.to_json()) if as_json else _print_artifact(artifact)


def _draw(content: Content, file: OutputFile) -> None:
    from edgernn.cli.graph_layout import lay_out
    from edgernn.cli.svg_picture import svg_of

    with file.open() as output, output.text() as stream:
        stream.write(svg_of(lay_out(content)))
    note(f"wrote {file.path}")


def _print_json(path: Path, content: Mapping[str, Any]) -> None:
    click.echo(json.dumps({"path": str(path), **content}, indent=2))


def _print_artifact(artifact: Artifact) -> None:
    from edgernn.cli.terminal_tables import facts, show, table

    contract = artifact.contract
    head: Facts = [("artifact", str(artifact.path)), ("source", contract.source)]
    show(
        facts(head),
        *(
            table(f"{kind}.onnx", _PORT_COLUMNS, _contract_rows(contract, graph))
            for kind, graph in contract.graphs.items()
        ),
        facts(
            [
                *_contract_facts(contract),
                *_layer_facts(artifact.layers or ()),
                *_cost_facts(artifact.cost),
                ("parity", _parity(artifact.parity)),
                *_refusal_facts(artifact.refusals),
                *(("note", note) for note in contract.notes),
            ]
        ),
    )


def _print_file(path: Path, analysis: FileAnalysis) -> None:
    from edgernn.cli.terminal_tables import facts, show, table

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
            ]
        ),
        table(path.name, _PORT_COLUMNS, rows),
        facts(
            [
                *own,
                *_layer_facts(analysis.layers),
                *_cost_facts(analysis.cost),
                *(("recurrent", node) for node in analysis.recurrent or ("none",)),
                *_refusal_facts(analysis.refusals),
            ]
        ),
    )


# --- ports ----------------------------------------------------------------------------------------

_PORT_COLUMNS = ("", "name", "dtype", "shape", "in forward")


def _contract_rows(contract: Contract, graph: Graph) -> list[tuple[str, ...]]:
    states = {state.input for state in contract.states}
    states |= {state.output for state in contract.states}
    return [*_rows("in", graph.inputs, states), *_rows("out", graph.outputs, states)]


def _rows(role: str, ports: Iterable[Port], states: Iterable[str] = ()) -> list[tuple[str, ...]]:
    return [
        (
            f"state {role}" if port.name in states else role,
            port.name,
            port.dtype,
            f"[{', '.join(map(str, port.shape))}]",
            _origin(role, port),
        )
        for port in ports
    ]


def _origin(role: str, port: Port) -> str:
    if port.origin is None:
        return ""
    return port.origin if role == "in" else f"return{port.origin}"


# --- facts ----------------------------------------------------------------------------------------


def _contract_facts(contract: Contract) -> Facts:
    names = ", ".join(
        f"{state.name} (starts at {'zero' if state.initial is None else 'a learned value'})"
        for state in contract.states
    )
    carry = "yes" if contract.carry else "no: it cannot be carried from chunk to chunk"
    pairs = [("states", names or "none"), ("carry", carry)]
    pairs += [(axis, f"exactly {size}") for axis, size in contract.constants.items()]
    pairs += [(axis, f"at most {size}") for axis, size in contract.most.items()]
    pairs += [(axis, f"at least {size}") for axis, size in contract.least.items()]
    pairs += [(name, "the longest is all steps") for name in contract.full_lengths]
    if contract.vocabulary:
        pairs.append(("vocabulary", _symbols(contract.vocabulary)))
    return pairs


def _symbols(vocabulary: Vocabulary) -> str:
    shown = " ".join(
        symbol if symbol.isprintable() and not symbol.isspace() else repr(symbol)
        for symbol in vocabulary.symbols[:_SYMBOLS_SHOWN]
    )
    more = " …" if len(vocabulary) > _SYMBOLS_SHOWN else ""
    return f"{len(vocabulary):,} symbols: {shown}{more}"


def _layer_facts(layers: Sequence[Layer]) -> Facts:
    return [("" if index else "layers", str(layer)) for index, layer in enumerate(layers)]


def _cost_facts(cost: Cost) -> Facts:
    return [
        ("parameters", f"{cost.parameters:,}"),
        ("per step", f"{cost.multiply_adds:,} multiply-adds"),
        ("", f"{cost.weight_bytes:,} bytes of weights read"),
        ("", f"{cost.state_bytes:,} bytes of state per sequence"),
    ]


def _parity(report: ParityReport | None) -> str:
    return "not proven: exported without verification" if report is None else str(report)


def _refusal_facts(refusals: Mapping[str, str]) -> Facts:
    if not refusals:
        return [("refused by", "no runtime known to edgernn")]
    return [("refused by", f"{runtime}: {reason}") for runtime, reason in refusals.items()]
