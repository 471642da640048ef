"""The moments of what products multiply, from data of the user's and from random data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import edgernn
from edgernn.export.calibration.product_inputs import input_moments
from tests.nets.scorer import Scorer

IDS = np.arange(40)[None] * 5 % 6


def moments(
    folder: Any, model: nn.Module | None = None, **options: Any
) -> Mapping[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Export the scorer or another model in int4, and return the moments that were found."""
    found: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}

    def listen(*args: Any) -> Any:
        found.update(input_moments(*args))
        return found

    with mock.patch("edgernn.export.pipeline.input_moments", listen):
        edgernn.export_model(
            model or Scorer(), folder / "m.edgernn", precision="int4", verify=False, **options
        )
    return found


def test_moments_are_those_of_the_data(tmp_path):
    """The head multiplies what the layer gives at every step of the data."""
    found = moments(tmp_path, calibrate={"ids": IDS})
    stream = edgernn.load(tmp_path / "m.edgernn").stream(batch=1)
    rows = []
    for id_ in IDS[0]:
        stream.step(np.array([id_]))
        rows.append(stream.snapshot()["h"][0, 0])
    mean, covariance = [*found.values()][-1]
    np.testing.assert_allclose(mean, np.mean(rows, 0), atol=0.1)
    assert covariance.shape == (16, 16)
    assert (np.linalg.eigvalsh(covariance) > -1e-9).all()


def test_without_data_they_are_drawn(tmp_path):
    """Every product of the step graph with 16 inputs has moments."""
    found = moments(tmp_path)
    assert len(found) >= 2
    assert all(np.isfinite(one).all() for pair in found.values() for one in pair)


@pytest.mark.parametrize("bad", [np.array([[0, 6]])])
def test_data_that_do_not_fit_are_refused_first(tmp_path, bad):
    """Nothing runs on them."""
    with pytest.raises(edgernn.InputError, match="`ids: int64\\[batch, sequence\\]`"):
        moments(tmp_path, calibrate={"ids": bad})


def test_rows_that_never_vary_have_no_covariance(tmp_path):
    """A layer with zero weights gives its bias at every step, to the last digit."""
    torch.manual_seed(0)
    constant = nn.Linear(8, 16)
    nn.init.zeros_(constant.weight)
    scorer: Any = Scorer()
    scorer.embedding = nn.Sequential(scorer.embedding, constant)
    scorer.gru = nn.GRU(16, 16, batch_first=True)
    mean, covariance = moments(tmp_path, scorer, fold="no")["gru_W"]
    np.testing.assert_allclose(mean, constant.bias.detach())
    assert not covariance.any()
