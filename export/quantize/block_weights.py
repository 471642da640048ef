"""A matrix of small integers in blocks, each with a scale and a zero point.

    weight = (integer - zero point of its block) · scale of its block

A block is some neighbouring inputs of one output, as in MatMulNBits of ONNX Runtime.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BlockFormat", "BlockWeights"]


@dataclass(frozen=True)
class BlockFormat:
    """How the integers of a matrix are stored.

    Attributes:
        bits: The bits of an integer and of a zero point: 4 or 8.
        block: The inputs of a block, a power of 2 from 16.
    """

    bits: int
    block: int

    @property
    def levels(self) -> int:
        """The number of integers, from 0."""
        return int(2**self.bits)

    def blocks(self, inputs: int) -> int:
        """Return the number of blocks of each output."""
        return -(-inputs // self.block)

    def bytes(self, outputs: int, inputs: int) -> int:
        """Return the bytes of a matrix, with its scales and zero points."""
        blocks = self.blocks(inputs)
        zeros = -(-blocks * self.bits // 8)
        return outputs * (blocks * self.block * self.bits // 8 + 4 * blocks + zeros)

    def __str__(self) -> str:
        return f"int{self.bits} in blocks of {self.block}"


@dataclass(frozen=True)
class BlockWeights:
    """A matrix in blocks.

    Attributes:
        format: How the integers are stored.
        integers: (outputs, inputs), from 0.
        scales: (outputs, blocks) float32.
        zeros: (outputs, blocks), the zero points.
    """

    format: BlockFormat
    integers: NDArray[np.uint8]
    scales: NDArray[np.float32]
    zeros: NDArray[np.uint8]

    @property
    def values(self) -> NDArray[np.float32]:
        """The weights that the integers give, (outputs, inputs)."""
        places = np.arange(self.integers.shape[1]) // self.format.block
        centred = self.integers.astype(np.float32) - self.zeros[:, places]
        return np.asarray(centred * self.scales[:, places], np.float32)

    @property
    def packed(self) -> NDArray[np.uint8]:
        """The integers as bytes, (outputs, blocks, bytes of a block): of two, the first is low."""
        outputs, inputs = self.integers.shape
        blocks, size = self.format.blocks(inputs), self.format.block
        padded = np.repeat(self.zeros, size, 1)
        padded[:, :inputs] = self.integers
        return _packed(padded.reshape(outputs, blocks, size), self.format.bits)

    @property
    def packed_zeros(self) -> NDArray[np.uint8]:
        """The zero points as bytes, (outputs, bytes)."""
        zeros = self.zeros
        if self.format.bits == 4 and zeros.shape[1] % 2:
            zeros = np.concatenate([zeros, np.zeros_like(zeros[:, :1])], 1)
        return _packed(zeros, self.format.bits)


def _packed(numbers: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    if bits == 8:
        return numbers
    return np.asarray(numbers[..., ::2] | (numbers[..., 1::2] << 4), np.uint8)
