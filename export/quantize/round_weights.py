"""Weights rounded to integers in blocks, so that products of the model's own inputs change least.

The error of a matrix W (outputs, inputs) that is rounded to Q is that of its products:

    trace((W - Q) C (W - Q)ᵀ),  C the covariance of the inputs

1. Columns are rounded one after the other, and the columns to the right make up for the error of
   each (Frantar et al., GPTQ, 2022; https://arxiv.org/abs/2210.17323).
2. Then the scales of all blocks are fitted to the integers, and every integer is chosen again with
   all others as they are; some times over.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgernn.export.quantize.block_weights import BlockFormat, BlockWeights

__all__ = ["Matrix", "bias_correction", "relative_error", "round_nearest", "round_weights"]

Array = NDArray[np.float64]

_DAMPING = 0.003
"""What is added to the diagonal of the moments, relative to its mean."""

_SWEEPS = 6
_ROUNDINGS = (np.floor, np.ceil)
_SHRINKS = np.linspace(0.6, 1.05, 19)
"""Factors of the range of a block: a smaller one rounds most weights better and cuts a few off."""


@dataclass(frozen=True)
class Matrix:
    """Weights to round, and what they are multiplied by.

    Attributes:
        weights: (outputs, inputs).
        mean: The mean of the inputs.
        covariance: Their covariance, (inputs, inputs). A shift of the mean is made good by the
            bias, so that only what varies counts.
        looked_up: Whether the inputs are rows of a table.
        recurs: Whether the products lead to a state.
    """

    weights: NDArray[np.float32]
    mean: Array
    covariance: Array
    looked_up: bool = False
    recurs: bool = True

    @classmethod
    def of_unknown_inputs(cls, weights: NDArray[np.float32]) -> Matrix:
        """Return weights whose inputs are independent, of one size, and 0 in the mean."""
        inputs = weights.shape[1]
        return cls(weights, np.zeros(inputs), np.eye(inputs))


def round_weights(matrix: Matrix, form: BlockFormat) -> BlockWeights:
    """Round a matrix so that its products change least."""
    wanted = matrix.weights.astype(np.float64)
    unit = max(float(np.mean(np.diag(matrix.covariance))), 1e-30)
    damped = matrix.covariance / unit + _DAMPING * np.eye(len(matrix.covariance))
    integers, scales, zeros = _feed_errors(wanted.copy(), damped, form)
    for _ in range(_SWEEPS):
        before = integers
        scales = _fit_scales(wanted, integers, scales, zeros, damped, form)
        integers = _choose_again(wanted, integers, scales, zeros, damped, form)
        if np.array_equal(before, integers):
            break
    return _block_weights(integers, scales, zeros, form)


def round_nearest(matrix: Matrix, form: BlockFormat) -> BlockWeights:
    """Round each weight by itself, with the scale of each block that changes products least."""
    wanted, sizes = matrix.weights.astype(np.float64), np.diag(matrix.covariance)
    parts = [
        _grid(wanted[:, at : at + form.block], sizes[at : at + form.block], form.levels)
        for at in range(0, wanted.shape[1], form.block)
    ]
    scales, zeros = (np.stack(part, 1) for part in zip(*parts, strict=True))
    places = np.arange(wanted.shape[1]) // form.block
    integers = _nearest(wanted, scales[:, places], zeros[:, places], form.levels)
    return _block_weights(integers, scales, zeros, form)


def relative_error(matrix: Matrix, rounded: BlockWeights) -> float:
    """Return the mean square of the change of products, relative to that of the products."""
    wanted, moments = matrix.weights.astype(np.float64), matrix.covariance
    change = wanted - rounded.values
    size = float(np.einsum("ij,ij->", wanted @ moments, wanted))
    return float(np.einsum("ij,ij->", change @ moments, change)) / (size or 1.0)


def bias_correction(matrix: Matrix, rounded: BlockWeights) -> NDArray[np.float32]:
    """Return what to add to products of rounded weights, so that their mean stays."""
    change = matrix.weights.astype(np.float64) - rounded.values
    return np.asarray(change @ matrix.mean, np.float32)


def _block_weights(integers: Array, scales: Array, zeros: Array, form: BlockFormat) -> BlockWeights:
    return BlockWeights(
        form, integers.astype(np.uint8), scales.astype(np.float32), zeros.astype(np.uint8)
    )


def _nearest(values: Array, scales: Array, zeros: Array, levels: int) -> Array:
    return np.asarray(np.clip(np.rint(values / scales + zeros), 0, levels - 1))


def _grid(block: Array, sizes: Array, levels: int) -> tuple[Array, Array]:
    """Return the scale and the zero point of each row of a block that round it best.

    Args:
        block: (outputs, inputs of the block).
        sizes: The mean square of each input.
        levels: The number of integers.
    """
    low, high = np.minimum(block.min(1), 0), np.maximum(block.max(1), 0)
    largest, middle = np.maximum(-low, high), np.full(len(block), float(levels // 2))
    best = np.full(len(block), np.inf)
    scales, zeros = np.ones(len(block)), middle.copy()
    for shrink in _SHRINKS:
        spread = _positive(shrink * (high - low) / (levels - 1))
        even = _positive(shrink * 2 * largest / (levels - 1))
        zero = (levels - 1) / 2 - (high + low) / 2 / spread
        for scale, at in (
            *((spread, np.clip(to_integer(zero), 0, levels - 1)) for to_integer in _ROUNDINGS),
            (even, middle),
            (-even, middle),
        ):
            integers = _nearest(block, scale[:, None], at[:, None], levels)
            error = np.square((integers - at[:, None]) * scale[:, None] - block) @ sizes
            better = error < best
            best[better], scales[better], zeros[better] = error[better], scale[better], at[better]
    return scales, zeros


def _positive(scale: Array) -> Array:
    return np.where(scale > 0, scale, 1.0)


def _feed_errors(rest: Array, moments: Array, form: BlockFormat) -> tuple[Array, Array, Array]:
    """Round column by column; `rest`, which changes, are the weights with the errors so far."""
    outputs, inputs = rest.shape
    upper = np.linalg.cholesky(np.linalg.inv(moments)).T
    sizes, integers = np.diag(moments), np.zeros_like(rest)
    scales, zeros = (np.zeros((outputs, form.blocks(inputs))) for _ in range(2))
    for place, start in enumerate(range(0, inputs, form.block)):
        stop = min(start + form.block, inputs)
        scale, zero = _grid(rest[:, start:stop], sizes[start:stop], form.levels)
        scales[:, place], zeros[:, place] = scale, zero
        errors = np.zeros((outputs, stop - start))
        for at in range(start, stop):
            integers[:, at] = _nearest(rest[:, at], scale, zero, form.levels)
            error = (rest[:, at] - (integers[:, at] - zero) * scale) / upper[at, at]
            rest[:, at + 1 : stop] -= np.outer(error, upper[at, at + 1 : stop])
            errors[:, at - start] = error
        rest[:, stop:] -= errors @ upper[start:stop, stop:]
    return integers, scales, zeros


def _fit_scales(
    wanted: Array, integers: Array, scales: Array, zeros: Array, moments: Array, form: BlockFormat
) -> Array:
    """Return the scales of all blocks that change products least, with the integers as they are."""
    outputs, inputs = wanted.shape
    starts = range(0, inputs, form.block)
    centred = integers - np.repeat(zeros, form.block, 1)[:, :inputs]
    matrix = np.zeros((outputs, len(starts), len(starts)))
    right = np.zeros((outputs, len(starts)))
    target = wanted @ moments
    for place, start in enumerate(starts):
        part = slice(start, start + form.block)
        spread = (centred[:, part] @ moments[part]) * centred
        matrix[:, place] = np.add.reduceat(spread, [*starts], axis=1)
        right[:, place] = (centred[:, part] * target[:, part]).sum(1)
    diagonal = np.einsum("nii->ni", matrix)
    diagonal += 1e-9 * diagonal.max(1, keepdims=True) + 1e-30
    fitted = np.linalg.solve(matrix, right[..., None])[..., 0]
    return np.where(np.abs(fitted) > 1e-12, fitted, scales)


def _choose_again(
    wanted: Array, integers: Array, scales: Array, zeros: Array, moments: Array, form: BlockFormat
) -> Array:
    """Choose every integer again, one column after the other, with all others as they are."""
    inputs, chosen = wanted.shape[1], integers.copy()
    places = np.arange(inputs) // form.block
    values = (chosen - zeros[:, places]) * scales[:, places]
    slope = (wanted - values) @ moments
    for place, start in enumerate(range(0, inputs, form.block)):
        stop = min(start + form.block, inputs)
        scale, zero = scales[:, place], zeros[:, place]
        changes = np.zeros((len(wanted), stop - start))
        for at in range(start, stop):
            target = values[:, at] + slope[:, at] / moments[at, at]
            chosen[:, at] = _nearest(target, scale, zero, form.levels)
            change = (chosen[:, at] - zero) * scale - values[:, at]
            slope[:, at:stop] -= np.outer(change, moments[at, at:stop])
            changes[:, at - start] = change
        slope[:, stop:] -= changes @ moments[start:stop, stop:]
    return chosen
