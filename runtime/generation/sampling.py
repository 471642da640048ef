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
            _best_scores(scores)
            best: list[int] = scores.argmax(-1).tolist()
            return best
        ids, weights = self.candidates(scores)
        sums = weights.cumsum(-1)
        targets = sums[:, -1:] * np.array(uniform)[:, None]
        places: NDArray[np.intp] = (sums <= targets).sum(-1)
        if ids is not None:
            places = ids[np.arange(len(ids)), places]
        chosen: list[int] = places.tolist()
        return chosen

    def candidates(
        self, scores: NDArray[Any]
    ) -> tuple[NDArray[np.intp] | None, NDArray[np.float64]]:
        """Return the symbols to draw from and their weights, in proportion to the probabilities.

        Args:
            scores: (batch, symbols).

        Returns:
            The ids, (batch, candidates), or None where they are those of all symbols; the weights,
            (batch, candidates), of which those that `top_p` leaves out are 0.

        Raises:
            InputError: The best score of a row is NaN or infinite.
        """
        best, ids = _best_scores(scores), None
        if self.top_k is not None and self.top_k < scores.shape[-1]:
            ids = _best_ids(scores, self.top_k)
            scores = np.take_along_axis(scores, ids, -1)
        logits = np.subtract(scores, best, dtype=np.float64)  # at most 0, so that exp is at most 1
        weights = np.exp(logits / max(self.temperature, _LOWEST))
        if self.top_p < 1:
            order = (-weights).argsort(-1, kind="stable")
            weights = np.take_along_axis(weights, order, -1)
            sums = weights.cumsum(-1)
            weights[sums - weights >= self.top_p * sums[:, -1:]] = 0
            ids = order if ids is None else np.take_along_axis(ids, order, -1)
        return ids, weights


def _best_scores(scores: NDArray[Any]) -> NDArray[Any]:
    """Return the best score of each row, (batch, 1).

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


def _best_ids(scores: NDArray[Any], count: int) -> NDArray[np.intp]:
    """Return the ids of the `count` best symbols of each row, (batch, count), ascending."""
    batch, symbols = scores.shape
    last = np.partition(scores, symbols - count, -1)[:, symbols - count, None]
    above, equal = scores > last, scores == last
    room = count - np.count_nonzero(above, -1)[:, None]
    kept = above | (equal & (np.cumsum(equal, -1) <= room))
    ids: NDArray[np.intp] = kept.nonzero()[1].reshape(batch, count)
    return ids
