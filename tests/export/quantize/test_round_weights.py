"""Rounding in blocks, with the inputs in view."""

from __future__ import annotations

import numpy as np
import pytest

from edgernn.export.quantize.block_weights import BlockFormat
from edgernn.export.quantize.round_weights import (
    Matrix,
    bias_correction,
    relative_error,
    round_nearest,
    round_weights,
)

FORM = BlockFormat(4, 16)


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    """Weights of 40 inputs that depend on one another and are not 0 in the mean."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((24, 40)).astype(np.float32)
    x = rng.standard_normal((500, 12)) @ rng.standard_normal((12, 40)) + 1
    return Matrix(weights, x.mean(0), np.cov(x.T, bias=True))


def test_weights_that_fit_stay_as_they_are():
    """Integers times a scale are stored without an error."""
    integers = np.random.default_rng(0).integers(-8, 8, (4, 32))
    integers[:, ::16], integers[:, 1::16] = -8, 7
    matrix = Matrix.of_unknown_inputs((integers * np.float32(0.25)).astype(np.float32))
    for rounded in (round_weights(matrix, FORM), round_nearest(matrix, FORM)):
        assert relative_error(matrix, rounded) < 1e-3


def test_other_weights_make_up_for_an_error(matrix):
    """Products change far less than by rounding each weight by itself."""
    nearest = relative_error(matrix, round_nearest(matrix, FORM))
    assert relative_error(matrix, round_weights(matrix, FORM)) < 0.25 * nearest


def test_a_bias_keeps_the_mean(matrix):
    """Rounded products of the mean input, with the correction, are the exact ones."""
    rounded = round_weights(matrix, FORM)
    got = rounded.values @ matrix.mean + bias_correction(matrix, rounded)
    np.testing.assert_allclose(got, matrix.weights @ matrix.mean, atol=1e-4)


def test_zeros_and_single_values_are_no_trouble():
    """A matrix of zeros stays one; a constant one is found again."""
    for value in (0.0, 3.0, -2.0):
        matrix = Matrix.of_unknown_inputs(np.full((3, 20), value, np.float32))
        np.testing.assert_allclose(round_weights(matrix, FORM).values, value, atol=1e-5)
