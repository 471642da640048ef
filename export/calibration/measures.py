"""Measures of a model's quality: perplexity, accuracy and error, before and after a change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.contract import Contract
from edgernn.errors import InputError, ParityError
from edgernn.export.calibration.user_data import UserData
from edgernn.precision_report import Measure

__all__ = ["measure", "relative_loss"]

Outputs = Mapping[str, NDArray[Any]]

_LARGEST_EXPONENT = 700.0
"""The largest mean loss whose exponential is a float64."""


def measure(
    contract: Contract, user: UserData, axes: Mapping[str, int], before: Outputs, after: Outputs
) -> tuple[Measure, ...]:
    """Measure the outputs of two runs on the same data; the first measure counts.

    1. An output with expected values: perplexity and accuracy of scores, where these are integers;
       else the root mean square of the error.
    2. An output with one score for each id of the only input: perplexity and accuracy of the ids
       that follow.
    3. Neither: the root mean square of the difference, relative to that of the outputs before.

    Args:
        contract: The contract of the model, with a sequence graph.
        user: The data, and what is expected.
        axes: Name of an output → the axis of its steps.
        before: The outputs of the model in float32.
        after: Those of the exported graph.

    Raises:
        InputError: What is expected of an output does not fit it.
        ParityError: An output of the exported graph is NaN or infinite where it was not before.
    """
    for name, array in after.items():
        if (np.isfinite(before[name]) & ~np.isfinite(array)).any():
            raise ParityError(
                f"`{name}` is NaN or infinite on the calibration data ({user.source}), which it is "
                "not in float32. Nothing was written. Choose another precision."
            )
    for name, expected in user.expected.items():
        runs = [run[name] for run in (before, after)]
        labels = _labels(name, runs[0], expected)
        if labels is not None:
            return _of_scores(runs[0], runs[1], labels)
        _check_shape(name, runs[0].shape, expected)
        return (Measure("error", *(_root_mean_square(_change(run, expected)) for run in runs)),)
    for name in before:
        following = user.next_ids(contract, name)
        if following is not None and name in axes:
            scores = [np.moveaxis(run[name], axes[name], 0)[:-1] for run in (before, after)]
            return _of_scores(scores[0], scores[1], following)
    return (Measure("difference", 0.0, max(map(_difference, before.values(), after.values()))),)


def relative_loss(measures: tuple[Measure, ...], user: UserData) -> float:
    """Return by how much the first measure is worse, in percent of its value before.

    A difference is relative already. An error of 0 before is held against the size of what is
    expected.
    """
    first = measures[0]
    if first.name == "difference":
        return 100 * first.after
    unit = first.before or max(map(_root_mean_square, user.expected.values()), default=1.0)
    return 100 * (first.after - first.before) / (unit or 1.0)


def _labels(name: str, scores: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.int64] | None:
    """Return expected ids of scores, negative where none is expected; None for other values."""
    if expected.dtype.kind not in "iu" or scores.dtype.kind != "f":
        return None
    _check_shape(name, scores.shape[:-1], expected)
    count = scores.shape[-1]
    if (expected >= count).any() or not (expected >= 0).any():
        raise InputError(
            f"The calibration data expect {int(expected.max())} of `{name}`, which has scores for "
            f"ids 0 to {count - 1}. Give ids in that range, and negative ones where none is "
            "expected."
        )
    return expected.astype(np.int64)


def _check_shape(name: str, shape: tuple[int, ...], expected: NDArray[Any]) -> None:
    if expected.shape != shape:
        raise InputError(
            f"The calibration data have {expected.shape} for the output `{name}`; the model "
            f"gives {shape}. Give as many values as the output has."
        )


def _of_scores(
    before: NDArray[Any], after: NDArray[Any], labels: NDArray[np.int64]
) -> tuple[Measure, ...]:
    """Return perplexity and accuracy of scores (…, ids) for labels (…)."""
    known = labels >= 0
    labels = labels[known]
    runs = [np.asarray(scores[known], np.float64) for scores in (before, after)]
    losses = [-np.take_along_axis(_log_probabilities(s), labels[:, None], 1).mean() for s in runs]
    perplexities = [float(np.exp(min(loss, _LARGEST_EXPONENT))) for loss in losses]
    accuracies = [float((scores.argmax(-1) == labels).mean()) for scores in runs]
    return Measure("perplexity", *perplexities), Measure("accuracy", *accuracies)


def _log_probabilities(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithms of probabilities, of scores before or after a softmax."""
    if (scores >= 0).all() and np.allclose(scores.sum(-1), 1, atol=1e-2):
        return np.log(np.maximum(scores, np.finfo(np.float64).tiny))
    shifted = scores - scores.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def _difference(before: NDArray[Any], after: NDArray[Any]) -> float:
    """Return the root mean square of the difference, relative to that of the values before."""
    finite = np.isfinite(before)
    size = _root_mean_square(before[finite])
    return _root_mean_square(_change(after[finite], before[finite])) / (size or 1.0)


def _change(values: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.float64]:
    """Return a difference of numbers of any dtype, flags and unsigned integers too."""
    return np.asarray(np.subtract(values, wanted, dtype=np.float64))


def _root_mean_square(values: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64)))) if values.size else 0.0
