"""Matrices in blocks: what they store, and what comes out of it."""

from __future__ import annotations

import numpy as np

from edgernn.export.quantize.block_weights import BlockFormat, BlockWeights


def example(bits: int) -> BlockWeights:
    """Two outputs of 18 inputs, in two blocks of 16."""
    rng = np.random.default_rng(0)
    integers = rng.integers(0, 2**bits, (2, 18)).astype(np.uint8)
    zeros = rng.integers(0, 2**bits, (2, 2)).astype(np.uint8)
    scales = rng.random((2, 2)).astype(np.float32)
    return BlockWeights(BlockFormat(bits, 16), integers, scales, zeros)


def test_values_are_scaled_from_the_zero_point():
    """The last two inputs are of the second block."""
    one = example(4)
    expected = (float(one.integers[1, 17]) - one.zeros[1, 1]) * one.scales[1, 1]
    assert one.values.shape == (2, 18)
    np.testing.assert_allclose(one.values[1, 17], expected, rtol=1e-6)


def test_two_integers_of_four_bits_share_a_byte():
    """The first is low; what pads a block is its zero point, so that it counts as 0."""
    one = example(4)
    packed = one.packed
    assert packed.shape == (2, 2, 8)
    np.testing.assert_array_equal(packed[:, 0] & 15, one.integers[:, 0:16:2])
    np.testing.assert_array_equal(packed[:, 0] >> 4, one.integers[:, 1:16:2])
    np.testing.assert_array_equal(packed[:, 1, 1:] & 15, np.repeat(one.zeros[:, 1:], 7, 1))
    np.testing.assert_array_equal(one.packed_zeros[:, 0], one.zeros[:, 0] | one.zeros[:, 1] << 4)


def test_bytes_are_those_that_are_stored():
    """With scales and zero points, for both numbers of bits."""
    for bits in (4, 8):
        one = example(bits)
        stored = one.packed.nbytes + one.scales.nbytes + one.packed_zeros.nbytes
        assert one.format.bytes(2, 18) == stored
    assert str(BlockFormat(4, 32)) == "int4 in blocks of 32"
