"""`edgernn export`: a trained model in, a proven artifact out."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgernn.cli.options import model_options

if TYPE_CHECKING:
    from edgernn.artifact import Artifact


@click.command("export", short_help="Write a trained model as a proven, stateful artifact.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The artifact to write.  [default: MODEL's name with .edgernn, here]",
)
@model_options
@click.option(
    "--graph",
    type=click.Choice(["both", "sequence", "step"]),
    default="both",
    show_default=True,
    help="The graphs to write.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "float16", "int8"]),
    default="float32",
    show_default=True,
    help="The numbers that the weights are kept in.",
)
@click.option("--opset", type=int, default=18, show_default=True, help="The ONNX opset.")
@click.option(
    "--state-layout",
    type=click.Choice(["torch", "batch-major"]),
    default="torch",
    show_default=True,
    help="States as (layers, batch, size), or with the batch in front.",
)
@click.option("--state-per-layer", is_flag=True, help="One state for every layer of a stack.")
@click.option("--int32-ids", is_flag=True, help="Take whole numbers as int32, not int64.")
@click.option("--reset", is_flag=True, help="Add an input that starts single sequences anew.")
@click.option("--lengths", is_flag=True, help="Add an input for the length of each sequence.")
@click.option("--batch", type=int, metavar="N", help="Take N sequences and no other number.")
@click.option("--sequence", type=int, metavar="N", help="Take N steps and no other number.")
@click.option(
    "--vocabulary",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The model's symbols: one per line, or .json.",
)
@click.option("--force", is_flag=True, help="Replace an artifact that exists.")
@click.option("--json", "as_json", is_flag=True, help="Print contract.json and the path.")
def command(
    model: Path,
    output: Path | None,
    inputs: tuple[str, ...],
    states: dict[str, str | int],
    graph: str,
    precision: str,
    opset: int,
    state_layout: str,
    state_per_layer: bool,
    int32_ids: bool,
    reset: bool,
    lengths: bool,
    batch: int | None,
    sequence: int | None,
    vocabulary: Path | None,
    module: str | None,
    assume_plain: bool,
    trust: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Write the trained model in file MODEL as a proven, stateful artifact.

    MODEL is a state_dict (.pt, .pth, .safetensors), a TorchScript or torch.export archive, a whole
    pickled module, an ONNX file, or an artifact. Nothing is written unless ONNX Runtime agrees with
    PyTorch, or with the ONNX file as it was.
    """
    # what torch allocates while it is imported and traces stays: looking it over again and again
    # would take a quarter of an export's time
    gc.set_threshold(100_000, 50, 50)
    from edgernn.export import export_model

    output = output or Path(f"{model.stem}.edgernn")
    click.echo(f"Exporting {model} …", err=True)
    artifact = export_model(
        model,
        output,
        inputs=list(inputs) or None,
        states=states or None,
        graph=graph,
        precision=precision,
        opset=opset,
        state_layout=state_layout,
        state_per_layer=state_per_layer,
        int32_ids=int32_ids,
        reset=reset,
        lengths=lengths,
        batch=batch,
        sequence=sequence,
        vocabulary=vocabulary,
        module=module,
        assume_plain=assume_plain,
        trust=trust,
        force=force,
        verify=True,
    )
    if as_json:
        click.echo(json.dumps({"path": str(artifact.path), **artifact.to_json()}, indent=2))
    else:
        click.echo(_summary(artifact))


def _summary(artifact: Artifact) -> str:
    """Return what a person wants to know of a new artifact, one fact a line."""
    contract = artifact.contract
    kind = "sequence" if contract.sequence else "step"
    graphs = ", ".join(
        f"{name}.onnx {_size(artifact.path / f'{name}.onnx')}" for name in contract.graphs
    )
    facts = [("wrote", f"{artifact.path}"), ("graphs", graphs)]
    facts += [("input", str(port)) for port in contract.data_inputs(kind)]
    facts += [("output", str(port)) for port in contract.data_outputs(kind)]
    graph = contract.graphs[kind]
    facts += [
        ("state", f"{graph.input(state.input)} → {state.output}") for state in contract.states
    ]
    facts += [("parity", contract.parity)] if contract.parity else []
    facts += [("note", note) for note in contract.remarks]
    return "\n".join(f"{name:<7} {text}" for name, text in facts)


def _size(file: Path) -> str:
    size = file.stat().st_size
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"
