"""The limits of a machine: what their probes do, and what they say of a model."""

import numpy as np
import pytest

from edgernn.errors import ProviderError
from edgernn.runtime.measure import limits
from edgernn.runtime.measure.limits import Limits, matrix_product, measure_limits, weight_reader


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the largest array and the largest product be small."""
    monkeypatch.setattr(limits, "_MEMORY", {"cpu": 1 << 20})
    monkeypatch.setattr(limits, "_PRODUCT_SIZES", {"cpu": (64, 96)})


def test_small_weights_are_read_many_times_in_one_call():
    """A call then takes so long that its own overhead does not count."""
    probe = weight_reader(8192)
    assert probe.amount == 4096 * 8192
    assert weight_reader(1 << 25).amount == 1 << 25
    assert matrix_product(64).amount == 64**3


def test_limits_are_rates(small: None):
    """Every probe is announced before it runs."""
    announced: list[str] = []
    found = measure_limits(8192, before_probe=announced.append)
    assert announced == ["memory", "weights", "multiply_adds"]
    assert min(found.memory, found.weights, found.multiply_adds) > 1e6
    assert np.isfinite([found.memory, found.weights, found.multiply_adds]).all()


def test_weights_that_a_cache_holds_are_read_clearly_faster_than_memory():
    """A quarter more is noise."""
    assert Limits(memory=10.0, weights=20.0, multiply_adds=1.0).is_cached
    assert not Limits(memory=10.0, weights=12.0, multiply_adds=1.0).is_cached


def test_an_unknown_provider_is_refused():
    """The message lists the known ones."""
    with pytest.raises(ProviderError, match=r"^`npu` is not a provider; known are: auto, cpu, "):
        measure_limits(8192, provider="npu")
