"""Framings of a signal, and streams of them whose outputs are laid out as the model's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgernn.errors import InputError, StateError
from edgernn.runtime import Model
from tests.nets.framed import Framed

__all__ = ["FRAMINGS", "GRAPHS", "TOLERANCE", "Runner", "check", "refused", "signal"]

Array = NDArray[Any]

TOLERANCE = 1e-5
FRAMINGS = {
    "valid": Framed(4, 2, 0, 0),
    "causal": Framed(4, 2, 2, 0),
    "ahead": Framed(4, 2, 0, 2),
    "centred": Framed(4, 2, 2, 2),
    "far": Framed(7, 2, 1, 4),
    "valid-1": Framed(3, 1, 0, 0),
    "causal-1": Framed(3, 1, 2, 0),
    "centred-1": Framed(3, 1, 1, 1),
}
GRAPHS = {
    "both": ("sequence", "step"),
    "sequence": ("sequence",),
    "step": ("step",),
    "constant": ("sequence", "step"),
}


def signal(batch: int, steps: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(batch, steps)).astype(np.float32)


class Runner:
    """A stream of a framing, fed with signals (batch, steps), its outputs (batch, steps, …)."""

    def __init__(self, framed: Framed, model: Model, batch: int) -> None:
        self.hop = framed.hop
        self.steps_first = framed.hop == 1 and model.contract.sequence is None
        self.alone = model.contract.sequence is None
        self.stream = model.stream(batch)
        self.parts: list[dict[str, Array]] = []

    def feed(self, x: Array) -> None:
        self._keep(self.stream.feed(x.T if self.steps_first else x))

    def step(self, x: Array) -> None:
        outputs = self.stream.step(x[:, 0] if self.hop == 1 else x)
        wave = outputs["wave"]
        assert (outputs["scores"] is None) == (outputs["last"] is None)
        if outputs["scores"] is None:
            assert wave is None or wave.shape[1] == 0
            return
        wave = wave[:, None] if self.hop == 1 else wave
        self.parts.append({"scores": outputs["scores"][:, None], "wave": wave})

    def finish(self, **options: Any) -> dict[str, Array]:
        """Finish, and return all outputs."""
        self._keep(self.stream.finish(**options))
        return {
            name: np.concatenate([part[name] for part in self.parts], 1)
            for name in ("scores", "wave")
        }

    def _keep(self, outputs: dict[str, Any]) -> None:
        scores, wave = outputs["scores"], outputs["wave"]
        if self.alone:
            scores = np.moveaxis(scores, 0, 1)
        if self.steps_first:
            wave = wave.T
        self.parts.append({"scores": scores, "wave": wave})


def check(found: dict[str, Array], expected: dict[str, Array]) -> None:
    for name, array in found.items():
        np.testing.assert_allclose(array, expected[name], atol=TOLERANCE, strict=True)


def refused(call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises((InputError, StateError)) as caught:
        call(*arguments, **named)
    return str(caught.value)
