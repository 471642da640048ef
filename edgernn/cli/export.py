"""`edgernn export`: a trained model in, a proven artifact out."""

from __future__ import annotations

import gc
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgernn.cli.command_options import declared_options
from edgernn.cli.stage_display import show_stages
from edgernn.cli.terminal_notes import next_command, note, verbosity_options, wrapped
from edgernn.export.options import ExportOptions
from edgernn.facts import graph_sizes, port_facts, streaming_facts

if TYPE_CHECKING:
    from edgernn.artifact import Artifact
    from edgernn.runtime.port_axes import PortAxes
    from edgernn.vocabulary import Vocabulary

_LOWEST_OF_SOUND = 8000  # steps per second


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
    note(f"Exporting {model} …")
    from edgernn.export.check_files import check_export

    check_export(model, ExportOptions(**options))
    with show_stages("loading PyTorch") as elapsed:
        from edgernn.export import export_model

        artifact = export_model(model, **options)
    note(f"exported in {elapsed():.1f} s")
    if as_json:
        click.echo(json.dumps({"path": str(artifact.path), **artifact.to_json()}, indent=2))
        return
    click.echo(wrapped(_summary(artifact), sys.stdout))
    for text in artifact.contract.notes:
        note(f"note    {text}")
    next_command(_next_command(artifact))


def _summary(artifact: Artifact) -> str:
    """Return the facts about a new artifact, one per line."""
    contract = artifact.contract
    facts = [("wrote", f"{artifact.path}"), ("graphs", graph_sizes(artifact.path, contract))]
    facts += [*port_facts(contract), *streaming_facts(contract)]
    facts += [("folded", str(fold)) for fold in artifact.folds]
    facts += [("parity", contract.parity)] if contract.parity else []
    facts += [] if artifact.precision is None else artifact.precision.facts
    width = max(7, *(len(name) for name, _ in facts))  # 7: as that of the notes after it
    return "\n".join(f"{name:<{width}} {text}" for name, text in facts)


def _next_command(artifact: Artifact) -> str:
    """Return a command that runs a new artifact: on text, on a file of numbers, or as recorded."""
    from edgernn.runtime.port_axes import input_axes, output_axes, required_axes

    contract, vocabulary = artifact.contract, artifact.contract.vocabulary
    command = f"edgernn run {shlex.quote(str(artifact.path))}"
    inputs = [*required_axes(input_axes(contract)).values()]
    if vocabulary is not None:
        scores = [axes.features == (len(vocabulary),) for axes in output_axes(contract).values()]
        can_go_on = contract.carry and not contract.in_hops and sum(scores) == 1
        more = " --generate 40" if can_go_on else ""
        return f'{command} --text "{_sample_text(vocabulary)}"{more}'
    if len(inputs) == 1 and _is_row_of_numbers(inputs[0]):
        is_sound = (contract.sample_rate or 0) >= _LOWEST_OF_SOUND
        return f"{command} --input FILE.{'wav' if is_sound else 'csv'}"
    return f"{command} --input FILE.npz" if len(inputs) > 1 else command


def _is_row_of_numbers(axes: PortAxes) -> bool:
    """Say whether a step of a port is a row of numbers, as of a .csv."""
    is_float = axes.port.dtype.startswith("float")
    return is_float and axes.sequence is not None and len(axes.features) <= 1


def _sample_text(vocabulary: Vocabulary) -> str:
    """Return a text of symbols that are in a vocabulary, or `…` where none of them are letters."""
    special = (vocabulary.unknown, vocabulary.padding)
    letters = [
        one for i, one in enumerate(vocabulary.symbols) if one.isalpha() and i not in special
    ]
    text = "hello" if set("hello") <= {*letters} else vocabulary.separator.join(letters[:5])
    return text or "…"
