"""Shapes and integers of every value of a graph at several sizes, from running it.

What a size is in terms of batch and sequence is read off its values at four pairs of them:

    Shape(x) → Gather → Sub 2        10, 10, 14, 22 at (batch, sequence) = (2, 12), (3, 12), …
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes
from numpy.typing import NDArray

from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.fold_constants import silence_exporters
from edgernn.export.ir.onnx_session import OnnxSession
from edgernn.export.ir.recurrent_operators import Input, recurrent_nodes
from edgernn.export.ir.shapes import infer_shapes, shape_of

__all__ = ["ConcreteSizes", "Sizes", "Values"]

Shape = tuple[int, ...]

_NUMBERS_UP_TO = 1 << 20
"""Elements of a tensor whose numbers are kept."""

_SMALL = 4
"""Hops of the first run; doubled while the graph does not run on so few."""

_MOST_STEPS = 1 << 17

_MOST_EMPTY = 1 << 12
"""Steps up to which a run with an empty value is taken for one on too few of them."""

_LONGER = 4
"""How many times as many steps as the first run the longer one has."""


@dataclass(frozen=True)
class Sizes:
    """One run: the batch and the number of steps."""

    batch: int
    steps: int


@dataclass(frozen=True)
class Values:
    """What one run gave: the shape of each value by name, and its numbers.

    `numbers` are those of integers and booleans, and of what no data input has a part in.
    """

    sizes: Sizes
    shapes: Mapping[str, Shape]
    numbers: Mapping[str, NDArray[Any]]


class ConcreteSizes:
    """The values of a sequence graph at two batches and three numbers of steps.

    Args:
        model: A sequence graph that ONNX Runtime can run; every value has a name.
        hop: What the numbers of steps are multiples of.

    Raises:
        UnsupportedModelError: The graph does not run at so many steps.
    """

    def __init__(self, model: ir.Model, hop: int) -> None:
        self._session, self._names = _with_all_outputs(model)
        self._model = model
        self._hop = hop
        self._probes: dict[tuple[str, ...], OnnxSession] = {}
        self._fixed = _without_data(model.graph)
        first = _SMALL * hop
        while True:
            try:
                _refuse_empty_layers(model, Sizes(2, first))
                steps = (first, first + hop, first + 3 * hop)
                self.runs: tuple[Values, ...] = tuple(
                    self._run(Sizes(batch, count))
                    for batch, count in zip((2, 3, 2, 2), (steps[0], *steps), strict=True)
                )
                if first > _MOST_EMPTY or not self._has_empty_value():
                    return
                first *= 2
            except UnsupportedModelError:
                first *= 2
                if first > _MOST_STEPS:
                    raise

    def shapes(self, name: str) -> tuple[Shape, ...]:
        """Return the shape of a value in each run."""
        return tuple(run.shapes[name] for run in self.runs)

    def numbers(self, name: str) -> tuple[NDArray[Any], ...] | None:
        """Return the numbers of a value in each run; None for data of floats, or too many."""
        if any(name not in run.numbers for run in self.runs):
            return None
        return tuple(run.numbers[name] for run in self.runs)

    def fixed_numbers(self, name: str) -> tuple[NDArray[Any], ...] | None:
        """Return the same, but None where a value depends on data."""
        return self.numbers(name) if name in self._fixed else None

    def is_fixed(self, name: str) -> bool:
        """Return whether a value is computed from sizes and constants alone."""
        return name in self._fixed

    def whole_hops(self, steps: int) -> int:
        """Return at least so many steps that are a whole number of hops."""
        return -(-steps // self._hop) * self._hop

    def probe(self, names: Sequence[str], steps: int) -> list[NDArray[Any]]:
        """Return values of the graph for one sequence of so many steps.

        Raises:
            UnsupportedModelError: The graph does not run at so many steps.
        """
        key = tuple(names)
        if key not in self._probes:
            self._probes[key] = _with_outputs(self._model, names)
        session = self._probes[key]
        feeds = self._feeds(Sizes(1, steps))
        try:
            _refuse_empty_layers(self._model, Sizes(1, steps))
            results = session(feeds, names)
        except Exception as error:  # onnxruntime's errors have no common base class
            raise UnsupportedModelError(f"the graph does not run on {steps} steps") from error
        return [results[name] for name in names]

    def longer(self, name: str) -> NDArray[Any]:
        """Return a value at several times the steps of the first run."""
        first = self.runs[0].sizes
        feeds = self._feeds(Sizes(first.batch, first.steps * _LONGER))
        return self._session(feeds, [name])[name]

    def _has_empty_value(self) -> bool:
        return any(0 in shape for shape in self.runs[0].shapes.values())

    def is_batch(self, sizes: Sequence[int]) -> int:
        """Return k where a size is k · batch in every run, else 0."""
        quotients = {
            size // run.sizes.batch if size % run.sizes.batch == 0 else 0
            for size, run in zip(sizes, self.runs, strict=True)
        }
        return quotients.pop() if len(quotients) == 1 else 0

    def _feeds(self, sizes: Sizes) -> dict[str, NDArray[Any]]:
        """Return random inputs of so many sequences and steps."""
        symbols = {BATCH: sizes.batch, SEQUENCE: sizes.steps}
        random = np.random.default_rng(sizes.steps)
        feeds: dict[str, NDArray[Any]] = {}
        for value in self._model.graph.inputs:
            shape = [symbols[d] if isinstance(d, str) else d for d in _known(value, symbols)]
            assert value.dtype is not None
            dtype = value.dtype.numpy()
            integer = np.issubdtype(dtype, np.integer) or dtype == np.bool_
            drawn = np.zeros(shape) if integer else random.standard_normal(shape) * 0.1
            feeds[value.name or ""] = drawn.astype(dtype)
        return feeds

    def _run(self, sizes: Sizes) -> Values:
        feeds = self._feeds(sizes)
        try:
            outputs = self._session(feeds, self._names)
        except Exception as error:  # onnxruntime's errors have no common base class
            raise UnsupportedModelError(f"the graph does not run on {sizes.steps} steps") from error
        results = {**feeds, **outputs}
        numbers = {
            name: array
            for name, array in results.items()
            if array.size <= _NUMBERS_UP_TO and (array.dtype.kind in "iub" or name in self._fixed)
        }
        return Values(sizes, {name: array.shape for name, array in results.items()}, numbers)


def _with_outputs(model: ir.Model, names: Sequence[str]) -> OnnxSession:
    """Return a session of the part of `model` that computes values."""
    model = model.clone()
    values = {value.name: value for node in model.graph for value in node.outputs}
    model.graph.outputs[:] = [values[name] for name in names]
    passes.RemoveUnusedNodesPass()(model)
    return OnnxSession(ir.serde.serialize_model(model).SerializeToString())


def _known(value: ir.Value, symbols: Mapping[str, int]) -> tuple[int | str, ...]:
    shape = shape_of(value)
    known = () if shape is None else tuple(dim for dim in shape if dim is not None)
    if (
        shape is None
        or len(known) < len(shape)
        or any(isinstance(dim, str) and dim not in symbols for dim in known)
    ):
        raise UnsupportedModelError(f"`{value.name}` has axes besides batch and sequence")
    return known


def _refuse_empty_layers(model: ir.Model, sizes: Sizes) -> None:
    """Refuse sizes at which a recurrent node has no step or no sequence.

    ONNX Runtime aborts the process there, for LSTM and GRU.
    """
    if not recurrent_nodes(model.graph):
        return
    model = model.clone()
    symbols = {BATCH: sizes.batch, SEQUENCE: sizes.steps}
    for value in model.graph.inputs:
        value.shape = ir.Shape([symbols.get(str(dim), dim) for dim in _known(value, symbols)])
    with silence_exporters():
        infer_shapes(model)
    for node in recurrent_nodes(model.graph):
        if any(dim == 0 for dim in shape_of(node.inputs[Input.X]) or ()):
            raise UnsupportedModelError(f"`{node.name}` has nothing to run on {sizes.steps} steps")


def _without_data(graph: ir.Graph) -> frozenset[str]:
    """Return the names of the values that are computed from sizes and constants alone."""
    data = {*graph.inputs}
    found: set[str] = set()
    for node in graph:
        random = node.op_type.startswith(("Random", "Multinomial", "Bernoulli"))
        if random or (node.op_type not in ("Shape", "Size") and not data.isdisjoint(node.inputs)):
            data.update(node.outputs)
        else:
            found.update(value.name or "" for value in node.outputs)
    return frozenset(found)


def _with_all_outputs(model: ir.Model) -> tuple[OnnxSession, list[str]]:
    """Return a session of `model` in which every value is an output, and their names."""
    model = model.clone()
    outputs = {value.name: value for value in model.graph.outputs}
    for node in model.graph:
        for value in node.outputs:
            if value.name and value.uses():
                outputs.setdefault(value.name, value)
    inputs = {value.name for value in model.graph.inputs}
    made = {name: value for name, value in outputs.items() if name not in inputs}
    model.graph.outputs[:] = list(made.values())
    session = OnnxSession(ir.serde.serialize_model(model).SerializeToString())
    return session, [str(name) for name in made]


def elements_after(shape: Shape, axis: int) -> int:
    """Return how many elements lie behind one index of an axis."""
    return math.prod(shape[axis + 1 :])
