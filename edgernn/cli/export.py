"""`edgernn export`: a trained model in, a proven artifact out."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgernn.cli.command_options import declared_options
from edgernn.cli.terminal_notes import verbosity_options
from edgernn.export.options import ExportOptions

if TYPE_CHECKING:
    from edgernn.artifact import Artifact


@click.command("export", short_help="Write a trained model as a proven, stateful artifact.")
@click.argument("model", type=click.Path(path_type=Path))
@declared_options(ExportOptions)
@click.option("--json", "as_json", is_flag=True, help="Print contract.json and the path.")
@verbosity_options
def command(model: Path, as_json: bool, **options: Any) -> None:
    """Write the trained model in file MODEL as a proven, stateful artifact.

    MODEL is a state_dict (.pt, .pth, .safetensors), a TorchScript or torch.export archive, a whole
    pickled module, an ONNX file, or an artifact. Nothing is written unless ONNX Runtime agrees with
    PyTorch, or with the ONNX file as it was.
    """
    # What torch allocates on import and while it traces stays: collecting it again and again would
    # take a quarter of an export's time.
    gc.set_threshold(100_000, 50, 50)
    from edgernn.export import export_model

    click.echo(f"Exporting {model} …", err=True)
    artifact = export_model(model, **options)
    if as_json:
        click.echo(json.dumps({"path": str(artifact.path), **artifact.to_json()}, indent=2))
    else:
        click.echo(_summary(artifact))


def _summary(artifact: Artifact) -> str:
    """Return the facts about a new artifact, one per line."""
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
    facts += [("note", note) for note in contract.notes]
    return "\n".join(f"{name:<7} {text}" for name, text in facts)


def _size(file: Path) -> str:
    size = file.stat().st_size
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"
