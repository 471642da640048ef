"""The format of each matrix: the bits and the block that lose least within a number of bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edgernn.export.quantize.block_weights import BlockFormat
from edgernn.export.quantize.round_weights import Matrix, relative_error, round_nearest

__all__ = ["DEFAULT", "choose_formats"]

DEFAULT = BlockFormat(4, 32)
"""The format of a matrix that was not there when formats were chosen."""

_SMALL = tuple(BlockFormat(4, block) for block in (256, 128, 64, 32, 16))
_LARGE = BlockFormat(8, 32)
"""The format that weights of looked-up rows may have too: the error of a row comes again whenever
its id does, so that it is worth more."""


_RECURRING = 3.0
"""How much more an error counts that is in a state, and so comes again at every later step."""


def choose_formats(matrices: Mapping[bytes, Matrix], most: float) -> dict[bytes, BlockFormat]:
    """Return a format for each matrix.

    All begin with the format of the least error. As long as they have too many bytes, the matrix
    changes to a smaller format that gains the least error for each byte. Bytes that are left then
    go where they take away the most error.

    Args:
        matrices: Any key → the matrix.
        most: The bytes of all matrices together, where they can be so few.
    """
    choices = {key: _choices(one) for key, one in matrices.items()}
    chosen = {key: min(of, key=lambda one: one.error) for key, of in choices.items()}
    while _bytes(chosen) > most:
        steps = [
            ((other.error - now.error) / (now.bytes - other.bytes), key, other)
            for key, now, other in _pairs(choices, chosen)
            if other.bytes < now.bytes
        ]
        if not steps:
            break
        _, key, smaller = min(steps, key=lambda step: step[0])
        chosen[key] = smaller
    while gains := [
        (now.error - other.error, key, other)
        for key, now, other in _pairs(choices, chosen)
        if other.error < now.error and _bytes(chosen) - now.bytes + other.bytes <= most
    ]:
        _, key, better = max(gains, key=lambda gain: gain[0])
        chosen[key] = better
    return {key: one.form for key, one in chosen.items()}


@dataclass(frozen=True)
class _Choice:
    """A format of a matrix, its bytes, and how much its error counts."""

    form: BlockFormat
    bytes: int
    error: float


def _bytes(chosen: Mapping[bytes, _Choice]) -> int:
    return sum(one.bytes for one in chosen.values())


def _pairs(
    choices: Mapping[bytes, list[_Choice]], chosen: Mapping[bytes, _Choice]
) -> Iterator[tuple[bytes, _Choice, _Choice]]:
    """Yield key, present choice and another choice."""
    for key, now in chosen.items():
        yield from ((key, now, other) for other in choices[key])


def _choices(matrix: Matrix) -> list[_Choice]:
    unit = len(matrix.weights) * (_RECURRING if matrix.recurs else 1.0)
    return [
        _Choice(
            form,
            form.bytes(*matrix.weights.shape),
            unit * relative_error(matrix, round_nearest(matrix, form)),
        )
        for form in (*_SMALL, *([_LARGE] if matrix.looked_up else []))
    ]
