"""Formats of matrices: the least error within a number of bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgernn.export.quantize.block_weights import BlockFormat
from edgernn.export.quantize.choose_formats import choose_formats
from edgernn.export.quantize.round_weights import Matrix

WEIGHTS = np.random.default_rng(0).standard_normal((8, 256)).astype(np.float32)
EASY = replace(Matrix.of_unknown_inputs(np.sign(WEIGHTS).astype(np.float32)), recurs=False)
HARD = Matrix.of_unknown_inputs(WEIGHTS)


def test_with_bytes_to_spare_the_error_is_the_least():
    """Small blocks, and 8 bits for the weights of rows of a table."""
    assert choose_formats({b"a": HARD}, 1e9) == {b"a": BlockFormat(4, 16)}
    looked_up = replace(HARD, looked_up=True)
    assert choose_formats({b"a": looked_up}, 1e9) == {b"a": BlockFormat(8, 32)}


def test_without_bytes_blocks_are_large():
    """Where even these are too many, they are taken all the same."""
    assert choose_formats({b"a": HARD, b"b": EASY}, 0) == dict.fromkeys(
        (b"a", b"b"), BlockFormat(4, 256)
    )


def test_bytes_go_where_they_help():
    """Weights that any block holds without an error leave them to others."""
    most = BlockFormat(4, 256).bytes(8, 256) + BlockFormat(4, 32).bytes(8, 256)
    chosen = choose_formats({b"easy": EASY, b"hard": HARD}, most)
    assert chosen[b"hard"] == BlockFormat(4, 32)
    assert sum(form.bytes(8, 256) for form in chosen.values()) <= most
