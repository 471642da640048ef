"""The choice of the next symbol from the scores of all symbols."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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

    def choose(self, scores: NDArray[Any], uniform: float = 0.0) -> int:
        """Return the id of the symbol that is chosen.

        Args:
            scores: (symbols,).
            uniform: A random number from 0 to below 1; not used unless `is_random`.

        Raises:
            InputError: The best score is NaN or infinite.
        """
        id_ = int(scores.argmax())
        best = scores[id_]
        if not math.isfinite(best):
            raise _no_best()
        if not self.is_random:
            return id_
        ids = None
        if self.top_k is not None or self.top_p < 1:
            ids = _ranked(scores, self.top_k)
            scores = scores[ids]
        sums = self._weights(scores, best).cumsum()
        total = sums[-1]
        if self.top_p < 1:
            total = sums[sums.searchsorted(self.top_p * total)]
        place = sums.searchsorted(uniform * total, "right")
        return int(place if ids is None else ids[place])

    def choose_each(self, scores: NDArray[Any], uniform: Sequence[float] = ()) -> list[int]:
        """Return the id of the symbol that is chosen in each row, as `choose` would alone.

        Args:
            scores: (batch, symbols).
            uniform: (batch,): a random number for each row.

        Raises:
            InputError: The best score of a row is NaN or infinite.
        """
        best = scores.max(-1, keepdims=True)
        if not np.isfinite(best).all():
            raise _no_best()
        if not self.is_random:
            first: list[int] = scores.argmax(-1).tolist()
            return first
        ids = np.broadcast_to(np.arange(scores.shape[-1]), scores.shape)
        if self.top_k is not None or self.top_p < 1:
            ids = _ranked(scores, self.top_k)
            scores = np.take_along_axis(scores, ids, -1)
        sums = self._weights(scores, best).cumsum(-1)
        totals = sums[:, -1:]
        if self.top_p < 1:
            last = (sums < self.top_p * totals).sum(-1, keepdims=True)
            totals = np.take_along_axis(sums, last, -1)
        places = (sums <= np.array(uniform)[:, None] * totals).sum(-1, keepdims=True)
        chosen: list[int] = np.take_along_axis(ids, places, -1)[:, 0].tolist()
        return chosen

    def _weights(self, scores: NDArray[Any], best: Any) -> NDArray[np.float64]:
        """Return the probabilities before they are divided by their sum; that of `best` is 1."""
        logits = np.subtract(scores, best, dtype=np.float64)
        weights: NDArray[np.float64] = np.exp(logits / max(self.temperature, _LOWEST))
        return weights


def _no_best() -> InputError:
    return InputError(
        "The best of the scores is NaN or infinite, so that no symbol can be chosen. Generate "
        "fewer symbols, or look for the first such values in the outputs."
    )


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
    best = _ranked(np.take_along_axis(scores, ids, -1), None)
    return np.take_along_axis(ids, best, -1)
