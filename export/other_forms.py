"""Forms that an artifact does not have, made by exporting its own graphs with other options."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import onnx

from edgernn.artifact import Artifact
from edgernn.errors import EdgernnError
from edgernn.export.analysis.cost import PARAMETERS
from edgernn.export.options import GraphChoice, Precision
from edgernn.export.pipeline import export_model
from edgernn.forms import is_form_file
from edgernn.tolerances import LOOSEST

__all__ = ["OtherForm", "export_other_forms"]

_LOG = logging.getLogger("edgernn.export")

_AXES = "edgernn.axes."
"""The prefix of what the metadata of a graph say of its own ports, which differ among forms."""


@dataclass(frozen=True)
class OtherForm:
    """A graph that may run in place of one of the artifact's.

    Attributes:
        graph: `sequence` or `step`.
        name: What to call it, such as `step-int8`.
        content: The file, with the metadata of the artifact.
        error: The largest difference from the artifact's graphs.
        tolerance: The largest difference from the model that passes; None for the artifact's.
    """

    graph: str
    name: str
    content: bytes
    error: float
    tolerance: float | None = None


def export_other_forms(
    artifact: Artifact, folder: Path, tolerance: float | None
) -> tuple[list[OtherForm], tuple[str, ...]]:
    """Export the graphs of an artifact again: through operators, folded otherwise, less precise.

    Each was proven against the artifact's own graphs.

    Args:
        artifact: The artifact.
        folder: An empty folder for the exports.
        tolerance: The largest difference that passes for a lower precision; None for none.

    Returns:
        The forms, and a note for each kind that cannot be made.
    """
    if artifact.precision is not None and artifact.precision.precision != "float32":
        return [], ("Only graphs in float32 can be exported again in other forms.",)
    choice = _graph_choice(artifact)
    forms: list[OtherForm] = []
    notes: list[str] = []
    for name, options in _variants(artifact, tolerance):
        _LOG.info("exporting again: %s", name)
        try:
            made = export_model(artifact.path, folder / name, graph=choice, **options)
            forms += _forms(made, artifact, name, tolerance if "precision" in options else None)
        except EdgernnError as error:
            notes.append(f"There is no form `{name}`: {error}")
    return forms, tuple(notes)


def _variants(artifact: Artifact, tolerance: float | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what to call an export, and its options."""
    folded = {one.folded for one in artifact.folds}
    kept = {"fold": "no"} if folded == {False} else {}
    yield "operator", {**kept, "all_forms": True}
    if False in folded:
        yield "folded", {"fold": "yes"}
    if True in folded:
        yield "unfolded", {"fold": "no"}
    if tolerance is not None:
        for precision in get_args(Precision):
            if precision not in ("float32", "float16"):  # its ports would be float16
                limit = min(tolerance, LOOSEST[precision])
                yield precision, {**kept, "precision": precision, "tolerance": limit}


def _graph_choice(artifact: Artifact) -> GraphChoice:
    """Return the option with which an export has the graphs that an artifact has."""
    if artifact.contract.sequence is None:
        return "step"
    return "sequence" if artifact.contract.step is None else "both"


def _forms(
    made: Artifact, artifact: Artifact, name: str, tolerance: float | None
) -> Iterator[OtherForm]:
    """Yield the graphs of an export that the artifact does not have.

    The forms of the first export, and of others the graphs that its options change.
    """
    if name == "operator":
        forms = [form for form in made.forms if form.file not in artifact.digests]
        files = {form.file: form.graph for form in forms if is_form_file(form.file)}
    else:
        graphs = [one for one in made.contract.graphs if tolerance is not None or one == "step"]
        files = {f"{graph}.onnx": graph for graph in graphs}
    own = [file for file in artifact.digests if file.endswith(".onnx")]
    known = {_computation((artifact.path / file).read_bytes()) for file in own}
    for file, graph in files.items():
        content = (made.path / file).read_bytes()
        if _computation(content) in known:
            continue
        checks = made.parity.checks if made.parity else ()
        yield OtherForm(
            graph=graph,
            name=Path(file).stem if is_form_file(file) else f"{graph}-{name}",
            content=_with_metadata(content, artifact.contract.metadata(graph)),
            error=max((one.difference for one in checks if one.graph == graph), default=0.0),
            tolerance=tolerance,
        )


def _computation(content: bytes) -> bytes:
    """Return a graph without its metadata."""
    model = onnx.load_from_string(content)
    del model.metadata_props[:]
    return bytes(model.SerializeToString(deterministic=True))


def _with_metadata(content: bytes, texts: Mapping[str, str]) -> bytes:
    """Return a graph with the metadata that say which artifact it belongs to."""
    model = onnx.load_from_string(content)
    own = {one.key: one.value for one in model.metadata_props}
    others = {key: text for key, text in texts.items() if not key.startswith(_AXES)}
    axes = {key: text for key, text in own.items() if key.startswith(_AXES)}
    parameters = {PARAMETERS: own[PARAMETERS]} if PARAMETERS in own else {}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, dict(sorted({**others, **axes, **parameters}.items())))
    return bytes(model.SerializeToString())
