"""What the products of a model multiply: the mean and the covariance of their inputs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.contract import BATCH, SEQUENCE
from edgernn.export.calibration.quality import runs_in_steps
from edgernn.export.calibration.user_data import UserData
from edgernn.export.ir.node_builder import NodeBuilder
from edgernn.export.ir.onnx_session import Arrays
from edgernn.export.proof.chunked_comparison import run_chunks
from edgernn.export.proof.comparison_cases import ComparisonCase
from edgernn.export.proof.graph_function import graph_function
from edgernn.export.proof.input_sampler import InputSampler
from edgernn.export.quantize.int4 import Moments, quantizable_products

__all__ = ["input_moments"]

_LOG = logging.getLogger("edgernn.export")
_DRAWN = (4, 250)
"""The sequences and steps of random data, where the user gives none."""
_MOST_STEPS = 20_000


def input_moments(
    sampler: InputSampler,
    graphs: Mapping[str, ir.Model],
    user: UserData | None,
    constants: Mapping[str, int],
) -> Moments:
    """Return the moments of the inputs of products, over the user's data or random data.

    Args:
        sampler: The model.
        graphs: `sequence` and, where there is one, `step` → the graph in float32, in torch's ports.
        user: The user's data; None to draw some.
        constants: The sizes of `batch` and `sequence` that the graphs are exported with, if any.

    Returns:
        Name of the weights of a product → the moments. The step graph runs where it can, else the
        sequence graph; products inside of bodies are left out.
    """
    _LOG.info("running data through the products")
    kind = "step" if "step" in graphs and runs_in_steps(sampler) else "sequence"
    model = graphs[kind].clone()
    names = _add_outputs(model)
    if not names:
        return {}
    case = _case(sampler, user, constants)
    run = graph_function(kind, sampler.contract, model, [*names])
    hop, steps = sampler.frames.hop, case.sizes[SEQUENCE]
    lengths = [hop] * (min(steps, _MOST_STEPS) // hop) if kind == "step" else [steps]
    sums = {name: _Sums() for name in names}
    for outputs in _batches(
        result.outputs for _, result in run_chunks(sampler, run, case, lengths, kind == "step")
    ):
        for name, one in sums.items():
            one.add([output[name] for output in outputs])
    return {names[name]: one.moments for name, one in sums.items() if one.count}


class _Sums:
    """Sums over rows of numbers, of them and of their products.

    They are of the differences from the first row, so that what never varies has a covariance of 0.
    """

    def __init__(self) -> None:
        self.count = 0
        self._first: NDArray[np.float64] | None = None
        self._sum: NDArray[np.float64] | float = 0.0
        self._products: NDArray[np.float64] | float = 0.0

    def add(self, arrays: Sequence[NDArray[Any]]) -> None:
        """Add arrays (…, inputs)."""
        rows = np.concatenate([one.reshape(-1, one.shape[-1]) for one in arrays])
        rows = rows[np.isfinite(rows).all(1)].astype(np.float64)
        if not len(rows):
            return
        if self._first is None:
            self._first = rows[0].copy()
        rows -= self._first
        self.count += len(rows)
        self._sum = self._sum + rows.sum(0)
        self._products = self._products + rows.T @ rows

    @property
    def moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The mean and the covariance."""
        assert self._first is not None
        mean = np.asarray(self._sum) / self.count
        covariance = np.asarray(self._products) / self.count - np.outer(mean, mean)
        return self._first + mean, covariance


def _add_outputs(model: ir.Model) -> dict[str, str]:
    """Add the input of each product as an output: its name → the name of the weights."""
    names: dict[str, str] = {}
    for index, product in enumerate(list(quantizable_products(model))):
        if product.node.graph is not model.graph or product.name in names.values():
            continue
        value = NodeBuilder(model.graph).op("Identity", product.x, name=f"moments_{index}")
        value.type = ir.TensorType(ir.DataType.FLOAT)
        model.graph.outputs.append(value)
        names[value.name or ""] = product.name
    return names


def _case(
    sampler: InputSampler, user: UserData | None, constants: Mapping[str, int]
) -> ComparisonCase:
    if user is not None:
        return ComparisonCase(user.sizes, user.data)
    contract = sampler.contract
    sizes = {BATCH: sampler.traced_sizes[BATCH], SEQUENCE: sampler.traced_sizes[SEQUENCE]}
    dynamic = {name for port in contract.data_inputs("sequence") for name in port.shape}
    for axis, size in zip((BATCH, SEQUENCE), _DRAWN, strict=True):
        if axis in dynamic:
            size = min(size, contract.most.get(axis, size))
            sizes[axis] = constants.get(axis, max(size, contract.least.get(axis, 1)))
    hop = sampler.frames.hop
    drawn = sampler.sizes_at(sizes[BATCH], max(hop, sizes[SEQUENCE] // hop * hop))
    return ComparisonCase(drawn, sampler.draw_data(drawn))


def _batches(outputs: Iterator[Arrays], size: int = 256) -> Iterator[list[Arrays]]:
    """Yield results in lists, so that their products are few."""
    batch: list[Arrays] = []
    for one in outputs:
        batch.append(one)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
