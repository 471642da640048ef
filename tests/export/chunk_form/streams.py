"""The chunk form of a module, run in ONNX Runtime beside eager torch, without edgernn's own proof.

Each graph is driven here by hand: the states that come out go back in, the first `delay` frames are
dropped, and what is left must be what torch gives for the whole sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import nn

from edgernn.errors import UnsupportedModelError
from edgernn.export import graphs
from edgernn.export.build_model import build_model
from edgernn.export.chunk_form.chunk_form import ChunkForm, chunk_form
from edgernn.export.ir.onnx_session import OnnxSession
from edgernn.export.options import SourceOptions
from edgernn.export.source.load_source import load_source

TOLERANCE = 1e-5

Array = NDArray[Any]


def lowered(module: nn.Module, *inputs: str) -> ir.Model:
    """Return the sequence graph of a module before it gets a chunk form."""

    def stop(model: ir.Model, *_: object) -> None:
        raise _Lowered(model.clone())

    try:
        with mock.patch.object(graphs, "chunk_form", stop):
            build_model(load_source(module), SourceOptions(inputs=list(inputs)), lengths=False)
    except _Lowered as found:
        return found.model
    raise AssertionError("no sequence graph was made")


class _Lowered(BaseException):
    """The sequence graph is there: the rest of an export is not needed."""

    def __init__(self, model: ir.Model) -> None:
        super().__init__()
        self.model = model


def refusal(module: nn.Module, *inputs: str) -> str:
    """Return why a module has no chunk form."""
    try:
        form = chunk_form(lowered(module.eval(), *inputs))
    except UnsupportedModelError as error:
        return str(error)
    raise AssertionError(f"it has a chunk form: {form}")


@dataclass
class Stream:
    """A graph with its running state; `states` are the names without `_in`."""

    session: OnnxSession
    state: dict[str, Array]

    def __call__(self, **data: Array) -> dict[str, Array]:
        """Run one call, and carry the states on."""
        results = self.session({**data, **self.state})
        outputs = {name: array for name, array in results.items() if not name.endswith("_out")}
        for name in self.state:
            self.state[name] = results[name.removesuffix("_in") + "_out"]
        return outputs


def stream_of(form: ChunkForm, model: ir.Model, batch: int, random: Any = None) -> Stream:
    """Return a stream of a graph at its start; with `random`, from such states of its layers."""
    initial = {f"{state.name}_in": state.initial for state in form.contexts}
    state: dict[str, Array] = {}
    for port in model.graph.inputs:
        name = port.name or ""
        if not name.endswith("_in"):
            continue
        assert port.shape is not None
        assert port.dtype is not None
        shape = [_size(dim, batch) for dim in port.shape]
        value = np.zeros(shape, port.dtype.numpy())
        if name in initial and initial[name] is not None:
            value[...] = initial[name]
        elif name not in initial and random is not None:
            value[...] = random.standard_normal(shape)
        state[name] = value
    return Stream(OnnxSession(ir.serde.serialize_model(model).SerializeToString()), state)


def _size(dim: Any, batch: int) -> int:
    return dim if isinstance(dim, int) else int(eval(str(dim.value), {"batch": batch}))


def check(
    module: nn.Module,
    *inputs: str,
    hops: int = 12,
    batch: int = 2,
    states: Sequence[str] | None = None,
    hop: int | None = None,
    delay: int | None = None,
    tail: int | None = None,
    axis: int = 1,
    scale: float = 1.0,
) -> ChunkForm:
    """Compare a module's chunk form with eager torch: whole, in chunks of hops, and hop by hop.

    Args:
        module: It takes one input `x` with time in axis 1, and returns one tensor.
        inputs: The specs of its inputs.
        hops: The hops of the sequence.
        batch: Its sequences.
        states: The names of the states that are expected to be added.
        hop: The expected hop.
        delay: The expected delay.
        tail: The expected tail.
        axis: The time axis of the result.
        scale: What random inputs are multiplied by.
    """
    module = module.eval()
    form = chunk_form(lowered(module, *inputs))
    assert form is not None, "it has no memory besides its layers"
    (spec,) = inputs
    sizes = {"batch": batch, "sequence": hops * form.streaming.hop}
    dims = spec.partition("[")[2].rstrip("]").split(",")
    shape = [sizes.get(dim.strip()) or int(dim) for dim in dims]
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(7)) * scale
    with torch.no_grad():
        expected = module(x).numpy()
    (output,) = (p.name or "" for p in form.sequence.graph.outputs if not p.name.endswith("_out"))  # type: ignore[union-attr]
    late = form.streaming.delays.get(output, 0)
    lost = form.streaming.tails.get(output, 0)
    for cuts in ([hops], [1, hops - 3, 2], [1] * hops):
        got = run_chunks(form, x.numpy(), cuts, batch, output, axis)
        compare(got, expected, late, lost, axis, f"{cuts} hops")
    step = form.step
    got = run_steps(
        stream_of(form, step, batch), x.numpy(), form.streaming.hop, output, axis, expected.ndim
    )
    compare(got, expected, late, lost, axis, "steps")
    compare_from_random_states(form, step, x.numpy(), batch)
    found = [state.name for state in form.contexts]
    for what, given, is_ in (
        ("states", states, found),
        ("hop", hop, form.streaming.hop),
        ("delay", delay, late),
        ("tail", tail, lost),
    ):
        assert given is None or given == is_, f"{what}: expected {given}, got {is_}"
    return form


def run_steps(stream: Stream, x: Array, hop: int, output: str, axis: int, rank: int) -> Array:
    """Return an output of `rank` axes of the step graph, run hop by hop."""
    parts = []
    for at in range(0, x.shape[1], hop):
        part = x[:, at : at + hop]
        result = stream(x=part[:, 0] if hop == 1 else part)[output]
        parts.append(result if result.ndim == rank else np.expand_dims(result, axis))
    return np.concatenate(parts, axis)


def compare_from_random_states(form: ChunkForm, step: ir.Model, x: Array, batch: int) -> None:
    """Compare the final states of whole, chunks and steps, from random states of the layers."""
    hop = form.streaming.hop
    hops = x.shape[1] // hop
    finals = []
    for model, cuts in (
        (form.sequence, [hops]),
        (form.sequence, [2, hops - 2]),
        (form.sequence, [1] * hops),
        (step, [1] * hops),
    ):
        stream, at = stream_of(form, model, batch, np.random.default_rng(3)), 0
        for count in cuts:
            part = x[:, at : at + count * hop]
            at += count * hop
            stream(x=part[:, 0] if model is step and hop == 1 else part)
        finals.append(stream.state)
    for name, whole in finals[0].items():
        for other in finals[1:]:
            difference = np.abs(whole.astype(float) - other[name]).max()
            assert difference <= TOLERANCE * max(1, np.abs(whole).max()), f"{name}: {difference}"


def run_chunks(
    form: ChunkForm, x: Array, cuts: Sequence[int], batch: int, output: str, axis: int
) -> Array:
    """Return an output of the sequence graph, run in chunks of so many hops."""
    stream, parts, at = stream_of(form, form.sequence, batch), [], 0
    for hops in cuts:
        steps = hops * form.streaming.hop
        parts.append(stream(x=x[:, at : at + steps])[output])
        at += steps
    return np.concatenate(parts, axis)


def compare(got: Array, expected: Array, delay: int, tail: int, axis: int, what: str) -> None:
    """Compare a stream, its delay taken off, with the whole, its tail left off."""
    got = np.take(got, range(delay, got.shape[axis]), axis)
    expected = np.take(expected, range(expected.shape[axis] - tail), axis)
    assert got.shape == expected.shape, f"{what}: {got.shape} for {expected.shape}"
    assert got.size, f"{what}: nothing to compare"
    difference = np.abs(got - expected).max()
    assert difference <= TOLERANCE * max(1, np.abs(expected).max()), f"{what}: by {difference}"
