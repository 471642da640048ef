"""One trial for every cell of the table: export it, proof included, and say what came of it."""

from __future__ import annotations

import os
import re
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import edgernn
from edgernn.cli.command_options import flags_of
from edgernn.errors import EdgernnError
from edgernn.export.options import ExportOptions
from edgernn.export.proof.eager_reference import one_thread
from edgernn.option_names import flags_in_messages
from tests.nets.kinds import (
    CELLS,
    HAND,
    HIDDEN,
    INPUT,
    KINDS,
    LAYERS,
    LOOPS,
    STYLES,
    GivenOne,
    LeftOut,
    Packed,
    PackedUnsorted,
    net,
)
from tests.supported.sources import SOURCES

__all__ = ["BOTH", "NOTHING", "SEQUENCE_ONLY", "TABLES", "Table", "result"]

BOTH, SEQUENCE_ONLY, NOTHING = "✓", "sequence", "-"
"""Both graphs; a sequence graph alone; torch has no such thing, or does not write it."""

_STEPPED = (*CELLS, HAND)
_DECOMPOSED = ("TorchScript",)  # a trace writes cells as plain operators


@dataclass(frozen=True)
class Table:
    """A part of the page.

    Attributes:
        heading: Its heading.
        text: What stands above the table.
        columns: Heading of a column → the trial of a kind, or None where torch has no such thing.
    """

    heading: str
    text: str
    columns: Mapping[str, Callable[[str], Callable[[], edgernn.Artifact] | None]]


def result(table: str, kind: str, column: str) -> str:
    """Run one trial in an empty folder; return what it gave, or the command line's refusal."""
    trial = TABLES[table].columns[column](kind)
    if trial is None:
        return NOTHING
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), one_thread():
        warnings.simplefilter("ignore")
        os.chdir(folder)
        try:
            with flags_in_messages(flags_of(ExportOptions)):
                artifact = trial()
        except EdgernnError as error:
            return _reason(error)
        except Exception as error:
            raise AssertionError(f"{table}, {kind}, {column}: {error!r}") from error
        finally:
            os.chdir(before)
    return BOTH if artifact.step is not None else SEQUENCE_ONLY


def _reason(error: EdgernnError) -> str:
    """Return a message in one line, without figures that depend on the machine."""
    return re.sub(r"\d\.\d+e[+-]\d+", "…", " ".join(str(error).split()))


def specs(kind: str, *, batch_first: bool = False, batch: str | None = "batch") -> list[str]:
    """Return the specs of x, and of the state where a step by hand takes one."""
    axes = ["batch"] if kind in _STEPPED else ["sequence", "batch"]
    axes = axes[::-1] if batch_first else axes
    dims = [batch if axis == "batch" else axis for axis in axes]
    return [f"x:float32[{','.join([*(dim for dim in dims if dim), str(INPUT)])}]"]


def state_specs(model: Any, kind: str, batch: str | None = "batch") -> list[str]:
    """Return the specs of the states that a model takes as arguments."""
    rows = [] if kind in _STEPPED else [str(model.sizes[0][0])]
    return [
        f"{name}:float32[{','.join([*rows, *([batch] if batch else []), str(width)])}]"
        for name, (_, width) in zip("hc", model.sizes, strict=False)
    ]


def _named(kind: str, model: Any, decomposed: bool = False) -> dict[str, Any]:
    """Name the states of a step that shows no cell of torch's, as --state does."""
    if kind != HAND and not (decomposed and kind in CELLS):
        return {}
    return {"states": {name: place for place, name in enumerate("hc"[: len(model.sizes)], 1)}}


def _style_of(kind: str) -> Any:
    """Return how an option is tried: a step takes its state, what has time needs none."""
    return GivenOne if kind in _STEPPED else LeftOut


def _export(model: nn.Module | str, inputs: list[str] | None, **options: Any) -> edgernn.Artifact:
    return edgernn.export_model(model, "model.edgernn", inputs=inputs, **options)


def _option(
    within: tuple[str, ...] = KINDS,
    batch: str | None = "batch",
    dtype: torch.dtype = torch.float32,
    **options: Any,
) -> Callable[[str], Callable[[], edgernn.Artifact] | None]:
    def of(kind: str) -> Callable[[], edgernn.Artifact] | None:
        if kind not in within:
            return None
        style = _style_of(kind)

        def trial() -> edgernn.Artifact:
            model = net(kind, style, **options).to(dtype)
            inputs = specs(kind, batch_first=options.get("batch_first", False), batch=batch)
            inputs += state_specs(model, kind, batch) if style is GivenOne else []
            return _export(model, inputs, **_named(kind, model))

        return trial

    return of


def _packed(style: Any) -> Callable[[str], Callable[[], edgernn.Artifact] | None]:
    def of(kind: str) -> Callable[[], edgernn.Artifact] | None:
        if kind not in LAYERS:
            return None
        inputs = [*specs(kind), "lengths:int64[batch]"]
        return lambda: _export(net(kind, style), inputs)

    return of


def _lengths(kind: str) -> Callable[[], edgernn.Artifact] | None:
    if kind in _STEPPED:
        return None
    return lambda: _export(net(kind, LeftOut), [*specs(kind)], lengths=True)


def _style(name: str) -> Callable[[str], Callable[[], edgernn.Artifact] | None]:
    def of(kind: str) -> Callable[[], edgernn.Artifact]:
        def trial() -> edgernn.Artifact:
            model = net(kind, STYLES[name])
            states = state_specs(model, kind) if name == "argument" else []
            named = _named(kind, model) if states else {}
            return _export(model, [*specs(kind), *states], **named)

        return trial

    return of


def _source(name: str) -> Callable[[str], Callable[[], edgernn.Artifact] | None]:
    def of(kind: str) -> Callable[[], edgernn.Artifact] | None:
        if (name, kind) in _UNWRITTEN:
            return None

        def trial() -> edgernn.Artifact:
            model = net(kind, _style_of(kind))
            inputs = specs(kind) + (state_specs(model, kind) if kind in _STEPPED else [])
            rows = () if kind in _STEPPED else (5,)
            example: tuple[torch.Tensor, ...] = (torch.randn(*rows, 2, INPUT),)
            if kind in _STEPPED:
                example += tuple(torch.randn(2, HIDDEN) for _ in model.sizes)
            file, options = SOURCES[name](model, example)
            named = _named(kind, model, name in _DECOMPOSED)
            return _export(file, **({"inputs": inputs} | named | options))

        return trial

    return of


_UNWRITTEN = (("ONNX file", "nn.LSTM, proj_size"),)  # torch.onnx.export refuses it
_TIMED = (*LAYERS, *LOOPS)

TABLES: Mapping[str, Table] = {
    "options": Table(
        "Options",
        "The initial state of a layer or loop is zero; one step takes its state and returns the "
        "next one. `--state` names the states of a hand-written step.",
        {
            "plain": _option(),
            "stacked": _option((*LAYERS, *LOOPS), layers=3),
            "bidirectional": _option(LAYERS, bidirectional=True),
            "no bias": _option(bias=False),
            "batch first": _option(_TIMED, batch_first=True),
            "unbatched": _option(batch=None),
            "batch of one": _option(batch="1"),
            "packed, sorted": _packed(Packed),
            "packed, unsorted": _packed(PackedUnsorted),
            "`--lengths`": _lengths,
            "float64": _option(dtype=torch.float64),
            "bfloat16": _option(dtype=torch.bfloat16),
        },
    ),
    "states": Table(
        "States",
        "The initial state in forward: not given, zeros, learned, an argument whose next value is "
        "returned, or computed from the data.",
        {name: _style(name) for name in STYLES},
    ),
    "sources": Table(
        "Sources",
        "The source of the model; the initial state is not given, or is the argument of one step. "
        "`--state` names the states of a hand-written step and of a traced cell.",
        {name: _source(name) for name in SOURCES},
    ),
}
"""The tables of the page by name."""
