"""The option `fold`: which embeddings of a step graph are folded into a product."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import onnx_ir as ir

from edgernn.errors import UnsupportedModelError
from edgernn.export.foreign.onnx_file import OnnxFile
from edgernn.export.options import ExportOptions, FoldChoice
from edgernn.export.passes.fold_embeddings import fold_embeddings
from edgernn.export.source.load_source import Source
from edgernn.option_names import option
from edgernn.report import Fold

__all__ = ["fold_graphs", "with_products"]


def with_products(source: Source | OnnxFile, choice: FoldChoice) -> Source | OnnxFile:
    """Return a source whose step graph has the products that `choice` asks for.

    The step graph of an artifact is taken as it is. Where its embeddings are folded and `choice` is
    `no`, it is left out, and made anew from the sequence graph.

    Raises:
        UnsupportedModelError: There is no sequence graph to make it from.
    """
    if choice != "no" or not isinstance(source, OnnxFile) or not _folded(source):
        return source
    if source.step is None:
        raise _refusal(_folded(source), f"`{source.name}`", "there is no sequence graph beside it.")
    return replace(source, step=None)


def fold_graphs(
    options: ExportOptions,
    graphs: Mapping[str, ir.Model],
    source: Source | OnnxFile,
    no_step: str,
) -> tuple[Fold, ...]:
    """Fold the embeddings of graphs as the options say, in place.

    Args:
        options: What the user chose.
        graphs: `sequence` and, where there is one, `step` → the graph.
        source: Where they come from.
        no_step: Why there is no step graph; empty where there is one.

    Returns:
        The embeddings of the step graph that are folded, or could be.

    Raises:
        UnsupportedModelError: The step graph of an artifact cannot be made anew.
    """
    folded = _folded(source) if isinstance(source, OnnxFile) else ()
    if folded and options.fold == "no" and no_step and options.graph != "sequence":
        raise _refusal(folded, "The step graph", no_step)
    found = {
        kind: fold_embeddings(model, options.fold, options.precision)
        for kind, model in graphs.items()
    }
    return (*(() if options.fold == "no" else folded), *found.get("step", ()))


def _folded(source: OnnxFile) -> tuple[Fold, ...]:
    return tuple(one for one in source.folds if one.folded)


def _refusal(folded: tuple[Fold, ...], name: str, reason: str) -> UnsupportedModelError:
    names = ", ".join(f"`{one.embedding}`" for one in folded)
    return UnsupportedModelError(
        f"{name} looks up products of {names}, which cannot be taken apart: {reason} Export the "
        f"model that it was made from with {option('fold', 'no')}."
    )
