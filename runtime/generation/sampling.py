"""The choice of the next symbol from the scores of all symbols."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgernn.errors import InputError

__all__ = ["Sampling"]

_LOWEST = 1e-200  # a difference of float32 numbers divided by a lower one could overflow
_SORTED_SHARE = 8  # fewer candidates than one symbol in so many are found before they are sorted


@dataclass(frozen=True)
class Sampling:
    """How the next symbol is chosen: the best one, or one drawn by its probability.

    The probabilities are softmax(scores / temperature) over the `top_k` best symbols, and then over
    the fewest of these, the likeliest first, whose probabilities add up to at least `top_p`. Of
    symbols with equal scores, the one with the lower id comes first.

    Attributes:
        temperature: At least 0, where 0 is always the best symbol; a lower one stays closer to it.
        top_k: The number of best symbols to draw from; None, or more than there are, for all.
        top_p: Above 0 and at most 1, which is all.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise InputError(
                f"`temperature` is {self.temperature}; it must be a finite number of at least 0. "
                "Give 1 for the model's own probabilities, or 0 for the best symbol."
            )
        if self.top_k is not None and self.top_k < 1:
            raise InputError(
                f"`top_k` is {self.top_k}; it must be at least 1. Leave it out for all symbols."
            )
        if not 0 < self.top_p <= 1:
            raise InputError(
                f"`top_p` is {self.top_p}; it must be above 0 and at most 1, which is all symbols."
            )

    @classmethod
    def of(cls, temperature: float | None, top_k: int | None, top_p: float | None) -> Sampling:
        """Return how to choose by options, of which None is one that is not given.

        Without any, the best symbol is chosen. With `top_k` or `top_p` alone, symbols are drawn at
        temperature 1.
        """
        if temperature is None:
            temperature = 0.0 if top_k is None and top_p is None else 1.0
        return cls(temperature, top_k, 1.0 if top_p is None else top_p)

    @property
    def is_random(self) -> bool:
        """Whether random numbers are needed."""
        return self.temperature > 0 and self.top_k != 1

    def choose(self, scores: NDArray[Any], uniform: Sequence[float] = ()) -> list[int]:
        """Return the id of the symbol that is chosen in each row.

        Args:
            scores: (batch, symbols).
            uniform: (batch,): random numbers from 0 to below 1; not used unless `is_random`.

        Raises:
            InputError: The best score of a row is NaN or infinite.
        """
        if not self.is_random:
            _finite_best(scores)
            best: list[int] = scores.argmax(-1).tolist()
            return best
        if len(scores) == 1:  # a row alone is faster without the axis of the batch
            drawn = self._draw(scores[0], uniform[0])
        else:
            drawn = self._draw(scores, np.array(uniform)[:, None])
        chosen: list[int] = drawn.ravel().tolist()
        return chosen

    def _draw(self, scores: NDArray[Any], uniform: float | NDArray[np.float64]) -> NDArray[Any]:
        """Return the ids that random numbers draw, (…, 1), from scores (…, symbols)."""
        best = _finite_best(scores)
        ids = None
        if self.top_k is not None or self.top_p < 1:
            ids = _ranked(scores, self.top_k)
            scores = _take(scores, ids)
        logits = np.subtract(scores, best, dtype=np.float64)  # at most 0, so that exp is at most 1
        sums = np.exp(logits / max(self.temperature, _LOWEST)).cumsum(-1)
        totals = sums[..., -1:]
        if self.top_p < 1:
            totals = _take(sums, _places(sums, self.top_p * totals, "left"))
        places = _places(sums, uniform * totals, "right")
        return places if ids is None else _take(ids, places)


def _finite_best(scores: NDArray[Any]) -> NDArray[Any]:
    """Return the best scores, (…, 1).

    Raises:
        InputError: One is NaN or infinite.
    """
    best: NDArray[Any] = scores.max(-1, keepdims=True)
    if not (math.isfinite(best.item()) if best.size == 1 else np.isfinite(best).all()):
        raise InputError(
            "The best of the scores is NaN or infinite, so that no symbol can be chosen. Generate "
            "fewer symbols, or look for the first such values in the outputs."
        )
    return best


def _ranked(scores: NDArray[Any], count: int | None) -> NDArray[np.intp]:
    """Return the ids of the best symbols, the best first; of equal ones, the lower id first."""
    symbols = scores.shape[-1]
    if count is None or count * _SORTED_SHARE > symbols:
        order: NDArray[np.intp] = (-scores).argsort(-1, kind="stable")
        return order[..., :count]
    last = np.partition(scores, symbols - count, -1)[..., symbols - count, None]
    above, equal = scores > last, scores == last
    room = count - above.sum(-1, keepdims=True)
    kept = above | (equal & (equal.cumsum(-1) <= room))
    ids = kept.nonzero()[-1].reshape(*scores.shape[:-1], count)
    return _take(ids, _ranked(_take(scores, ids), None))


def _places(sums: NDArray[Any], bounds: NDArray[Any], side: Literal["left", "right"]) -> Any:
    """Return the places, (…, 1), of the first sums that are at least the bounds, or above them."""
    if sums.ndim == 1:
        return sums.searchsorted(bounds, side)
    return (sums < bounds if side == "left" else sums <= bounds).sum(-1, keepdims=True)


def _take(array: NDArray[Any], places: NDArray[Any]) -> NDArray[Any]:
    taken: NDArray[Any] = (
        array[places] if array.ndim == 1 else np.take_along_axis(array, places, -1)
    )
    return taken
