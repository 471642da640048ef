"""The rule of all rules: any model, run in any pieces, gives what torch gives."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

import edgernn

TOLERANCE = 1e-5
SYMBOLS = 11

LAYERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "lstm": (nn.LSTM, {}),
    "lstm projected": (nn.LSTM, {"proj_size": 1}),
    "gru": (nn.GRU, {}),
    "tanh": (nn.RNN, {"nonlinearity": "tanh"}),
    "relu": (nn.RNN, {"nonlinearity": "relu"}),
}


@dataclass(frozen=True)
class Architecture:
    """What a model is made of; the first value of each choice is the simplest."""

    kind: str
    input_size: int
    hidden_size: int
    num_layers: int
    bidirectional: bool
    bias: bool
    batch_first: bool
    embedding: bool
    norm: bool
    head: bool
    dropout: float
    state: str
    last_only: bool


ARCHITECTURES = st.builds(
    Architecture,
    kind=st.sampled_from(list(LAYERS)),
    input_size=st.integers(1, 6),
    hidden_size=st.integers(2, 7),
    num_layers=st.integers(1, 3),
    bidirectional=st.sampled_from([False, False, True]),
    bias=st.sampled_from([True, False]),
    batch_first=st.sampled_from([True, False]),
    embedding=st.booleans(),
    norm=st.booleans(),
    head=st.booleans(),
    dropout=st.sampled_from([0.0, 0.5]),
    state=st.sampled_from(["none", "given", "zeros", "learned"]),
    last_only=st.sampled_from([False, False, True]),
)


class Model(nn.Module):
    """The model of an architecture; `run` is forward with the state in the open."""

    def __init__(self, made: Architecture) -> None:
        super().__init__()
        self.made = made
        cls, options = LAYERS[made.kind]
        self.rnn = cls(
            made.input_size,
            made.hidden_size,
            num_layers=made.num_layers,
            bias=made.bias,
            batch_first=made.batch_first,
            dropout=made.dropout if made.num_layers > 1 else 0.0,
            bidirectional=made.bidirectional,
            **options,
        )
        width = (self.rnn.proj_size or made.hidden_size) * (2 if made.bidirectional else 1)
        self.before = (
            nn.Embedding(SYMBOLS, made.input_size) if made.embedding else nn.Dropout(made.dropout)
        )
        self.norm = nn.LayerNorm(width) if made.norm else nn.Identity()
        self.head = nn.Linear(width, 4) if made.head else nn.Identity()
        if made.state == "learned":
            self.start = nn.ParameterList(
                nn.Parameter(torch.randn(shape)) for shape in self.shapes(1)
            )

    def shapes(self, batch: int) -> list[tuple[int, int, int]]:
        rows = self.made.num_layers * (2 if self.made.bidirectional else 1)
        h = (rows, batch, self.rnn.proj_size or self.made.hidden_size)
        return [h, (rows, batch, self.made.hidden_size)] if self.rnn.mode == "LSTM" else [h]

    def initial(self, batch: int) -> tuple[torch.Tensor, ...]:
        shapes = self.shapes(batch)
        if self.made.state == "learned":
            return tuple(one.expand(shape) for one, shape in zip(self.start, shapes, strict=True))
        return tuple(torch.zeros(shape) for shape in shapes)

    def run(self, x, states):
        hx = None if states is None else states if len(states) > 1 else states[0]
        y, after = self.rnn(self.before(x), hx)
        y = self.head(self.norm(y))
        if self.made.last_only:
            y = y[:, -1] if self.made.batch_first else y[-1]
        return y, after if isinstance(after, tuple) else (after,)


class Given(Model):
    def forward(self, x, states):
        return self.run(x, states)


class Own(Model):
    def forward(self, x):
        batch = x.shape[0 if self.made.batch_first else 1]
        return self.run(x, None if self.made.state == "none" else self.initial(batch))[0]


def data(made: Architecture, batch: int, steps: int, rng: np.random.Generator) -> NDArray[Any]:
    """Return x in the model's own layout."""
    axes = (batch, steps) if made.batch_first else (steps, batch)
    if made.embedding:
        return rng.integers(SYMBOLS, size=axes)
    return rng.standard_normal((*axes, made.input_size)).astype(np.float32)


def eager(model: Model, x: NDArray[Any], states: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """Return what torch gives from `states`: the output, and the final h and c."""
    given_states = tuple(torch.from_numpy(states[name]) for name in ("h", "c") if name in states)
    with torch.no_grad():
        y, after = model.run(torch.from_numpy(x), given_states)
    return [y.numpy(), *(state.numpy() for state in after)]


def close(got: NDArray[Any], expected: NDArray[Any]) -> bool:
    return got.shape == expected.shape and bool(np.abs(got - expected).max() < TOLERANCE)


@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    made=ARCHITECTURES,
    batch=st.integers(1, 4),
    chunks=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    seed=st.integers(0, 99),
)
def test_any_model_in_any_pieces_gives_what_torch_gives(made, batch, chunks, seed):
    """Whole from any state; and as a stream, in chunks and single steps, where there can be one."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = (Given if made.state == "given" else Own)(made).eval().requires_grad_(False)
    example: list[Any] = [torch.from_numpy(data(made, 3, 4, rng))]
    if made.state == "given":
        example.append(model.initial(3))
    with tempfile.TemporaryDirectory() as folder:
        artifact = edgernn.export_model(model, Path(folder) / "m.edgernn", inputs=tuple(example))
        exported = edgernn.load(artifact.path)
        x = data(made, batch, sum(chunks), rng)
        states = {
            name: rng.standard_normal(shape).astype(np.float32)
            for name, shape in zip(("h", "c"), model.shapes(batch), strict=False)
        }
        y, *finals = eager(model, x, states)
        result = exported.run({"x": x}, states)
        assert close(result.outputs["output"], y)
        assert all(close(result.state[n], f) for n, f in zip(states, finals, strict=True))
        if not artifact.contract.carry:
            assert made.bidirectional
            return
        stream = exported.stream(batch)
        axis = 1 if made.batch_first else 0
        start = dict(zip(states, (s.numpy() for s in model.initial(batch)), strict=True))
        place = 0
        for length in chunks:
            part = x.take(range(place, place + length), axis)
            so_far, *finals = eager(model, x.take(range(place + length), axis), start)
            place += length
            if length == 1:
                got = stream.step(part.take(0, axis))
                expected = so_far if made.last_only else so_far.take(-1, axis)
            else:
                got = stream.feed(part)
                steps = range(place - length, place)
                expected = so_far if made.last_only else so_far.take(steps, axis)
            assert close(np.asarray(got), expected)
        snapshot = stream.snapshot()
        assert all(close(snapshot[n], f) for n, f in zip(states, finals, strict=True))
