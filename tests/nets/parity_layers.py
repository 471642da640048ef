"""The models of the parity suite, and their reference: torch's own layer, called directly."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tests.parity.design import Case

INPUT, HIDDEN, PROJECTED = 3, 5, 4

Array = NDArray[Any]


class Net(nn.Module):
    """A layer whose state comes from where `case.style` says."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case
        self.rnn = layer(case)
        if case.style == "learned":
            shapes = state_shapes(case, 1 if case.batched else None)
            self.start = nn.ParameterList([nn.Parameter(torch.randn(shape)) for shape in shapes])

    def first(self, x: torch.Tensor) -> Any:
        """Return the state that forward starts from."""
        batch = x.shape[0 if self.case.batch_first else 1] if self.case.batched else None
        shapes = state_shapes(self.case, batch)
        if self.case.style == "learned":
            states = tuple(one.expand(shape) for one, shape in zip(self.start, shapes, strict=True))
        else:
            states = tuple(x.new_zeros(shape) for shape in shapes)
        return states if len(states) > 1 else states[0]


class Plain(Net):
    """forward calls the layer without a state."""

    def forward(self, x):
        return self.rnn(x)[0]


class Given(Net):
    """forward takes the state and returns the next one."""

    def forward(self, x, hx):
        return self.rnn(x, hx)


class Own(Net):
    """forward makes the state itself: zeros or a learned one."""

    def forward(self, x):
        return self.rnn(x, self.first(x))[0]


STYLES = {"none": Plain, "given": Given, "zeros": Own, "learned": Own}


def net(case: Case) -> Net:
    """Return the model of a case, with weights large enough for every one to count."""
    torch.manual_seed(0)
    model = STYLES[case.style](case).eval().requires_grad_(False)
    for weight in model.rnn.parameters():
        weight.mul_(0.9)
    return model


def layer(case: Case) -> nn.RNNBase:
    """Return torch's layer for a case."""
    options: dict[str, Any] = {
        "num_layers": case.layers,
        "bidirectional": case.bidirectional,
        "bias": case.bias,
        "batch_first": case.batch_first,
    }
    if case.kind.startswith("lstm"):
        return nn.LSTM(INPUT, HIDDEN, proj_size=PROJECTED * (case.kind == "lstm_proj"), **options)
    if case.kind == "gru":
        return nn.GRU(INPUT, HIDDEN, **options)
    return nn.RNN(INPUT, HIDDEN, nonlinearity=case.kind.removeprefix("rnn_"), **options)


def state_shapes(case: Case, batch: Any) -> list[tuple[Any, ...]]:
    """Return the shape of each state in torch's layout: h, and c of an LSTM."""
    rows = case.layers * (2 if case.bidirectional else 1)
    widths = {"lstm": (HIDDEN, HIDDEN), "lstm_proj": (PROJECTED, HIDDEN)}.get(case.kind, (HIDDEN,))
    return [(rows, *(() if batch is None else (batch,)), width) for width in widths]


def x_shape(case: Case, batch: Any, sequence: Any, width: int = INPUT) -> tuple[Any, ...]:
    """Return the shape of x, or with another `width` of y, in the case's layout."""
    if not case.batched:
        return sequence, width
    return (batch, sequence, width) if case.batch_first else (sequence, batch, width)


def y_width(case: Case) -> int:
    """Return the last size of y."""
    width = PROJECTED if case.kind == "lstm_proj" else HIDDEN
    return width * (2 if case.bidirectional else 1)


def start(model: Net, batch: int) -> list[Array]:
    """Return the state that forward starts from, h and c, in float32."""
    with torch.no_grad():
        first = model.first(torch.zeros(x_shape(model.case, batch, 1)))
    states = first if isinstance(first, tuple) else (first,)
    return [state.numpy().copy() for state in states]


def eager(model: Net, x: Array, states: list[Array]) -> list[Array]:
    """Run torch's layer from `states`; return y and the final states."""
    given = tuple(map(torch.from_numpy, states))
    with torch.no_grad():
        y, after = model.rnn(torch.from_numpy(x), given if len(given) > 1 else given[0])
    finals = after if isinstance(after, tuple) else (after,)
    return [y.numpy(), *(final.numpy() for final in finals)]


def forward(model: Net, x: Array) -> Array:
    """Run forward itself as its user calls it, from the state that it starts from; return y."""
    with torch.no_grad():
        if model.case.style == "given":
            return eager(model, x, start(model, x.shape[0 if model.case.batch_first else 1]))[0]
        y: Array = model(torch.from_numpy(x)).numpy()
    return y


def rng() -> np.random.Generator:
    """Return the suite's source of numbers."""
    return np.random.default_rng(1)
