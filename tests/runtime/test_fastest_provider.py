"""`auto`: the provider whose step is the shortest."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

import edgernn
from edgernn.errors import ProviderError
from edgernn.runtime import fastest_provider
from edgernn.runtime.fastest_provider import load_fastest
from edgernn.runtime.providers import PROVIDERS, ProviderTrial

REFUSED = ProviderError("`coreml` does not run this graph's work.")


@pytest.fixture
def working(monkeypatch):
    """Have the named providers work here."""

    def work(*names):
        trials = [ProviderTrial(name, name in names, "", "1.2.3") for name in PROVIDERS]
        monkeypatch.setattr(fastest_provider, "try_providers", lambda: trials)

    return work


class Slowed:
    """A model whose streams take some time per step."""

    def __init__(self, model, seconds):
        self.contract, self.run = model.contract, model.run
        self._model, self._seconds = model, seconds

    def stream(self, batch):
        stream = self._model.stream(batch)

        def step(**inputs):
            time.sleep(self._seconds)
            return stream.step(**inputs)

        return SimpleNamespace(step=step)


def test_the_only_one_that_works_is_not_measured(working, model):
    """Where only the CPU works, it is loaded once."""
    working("cpu")
    asked = []

    def load(name):
        asked.append(name)
        return model

    assert load_fastest(load) is model
    assert asked == ["cpu"]


def test_the_one_with_the_shortest_step_is_taken(working, model):
    """All that work and run the model are measured, except TensorRT."""
    working("cpu", "cuda", "tensorrt", "coreml")
    models = {"cpu": Slowed(model, 0.004), "cuda": Slowed(model, 0.0)}

    def load(name):
        if name == "coreml":
            raise REFUSED
        return models[name]

    assert load_fastest(load) is models["cuda"]
    models["cuda"] = Slowed(model, 0.01)
    assert load_fastest(load) is models["cpu"]


def test_none_that_runs_the_model(working):
    """Where no provider runs the model, their reasons are the error."""
    working("coreml", "directml")

    def load(name):
        raise REFUSED if name == "coreml" else ProviderError("`directml` neither.")

    with pytest.raises(ProviderError) as caught:
        load_fastest(load)
    assert str(caught.value) == "`directml` neither. `coreml` does not run this graph's work."


def test_every_kind_of_model_is_measured(working, any_model):
    """Models with both graphs and with either alone have a step or a short sequence."""
    working("cpu", "cuda")
    assert load_fastest(lambda name: any_model) is any_model


def test_load_says_which(lstm):
    """The loaded model has the name of the provider."""
    assert edgernn.load(lstm, provider="auto").provider == "cpu"


def test_auto_takes_no_options(lstm):
    """Options belong to one provider."""
    for name, options in (("auto:device_id=1", None), ("auto", {"device_id": 1})):
        with pytest.raises(ProviderError) as caught:
            edgernn.load(lstm, provider=name, provider_options=options)
        assert str(caught.value) == (
            "`auto` takes no options: they are those of one provider. Name the provider, as in "
            "`cuda:device_id=1`."
        )
