"""The rules for which rows of a layer's state belong to which sequence."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.row_orders import constant_batch, final_states_of, find_row_orders

ROWS = {(0, 0): 1}


class Folds(nn.Module):
    """Runs a GRU on (batch, steps, 2, 3, 4), whose axes it folds into rows in the order `axes`."""

    def __init__(self, *axes: int, batch_first: bool = True):
        super().__init__()
        self.axes, self.gru = axes, nn.GRU(4, 6, batch_first=batch_first)

    def forward(self, x):
        x = x.permute(*self.axes, 4)
        time = 3 if self.gru.batch_first else 0
        rows = x.flatten(0, 2) if time else x.flatten(1, 3)
        return self.gru(rows)[0]


def call(batch: int | str, size: int = 2) -> ExampleCall:
    shape = (batch, "sequence", 2, 3, 4)
    return ExampleCall({"x": torch.randn(size, 5, 2, 3, 4)}, {"x": shape})


def orders(module: nn.Module, example: ExampleCall) -> dict[tuple[int, int], tuple[int, int]]:
    return find_row_orders(partial(final_states_of, module), example, ROWS)


@pytest.mark.parametrize("batch", ["batch", 2])
@pytest.mark.parametrize(
    ("module", "order"),
    [
        (Folds(0, 2, 3, 1), (1, 6)),
        (Folds(2, 0, 3, 1), (2, 3)),
        (Folds(3, 0, 2, 1), (3, 2)),
        (Folds(2, 3, 0, 1), (6, 1)),
        (Folds(1, 2, 0, 3, batch_first=False), (2, 3)),
    ],
)
def test_rows_of_a_sequence_are_those_that_change_with_it(
    module: nn.Module, order: tuple[int, int], batch: int | str
):
    """Whatever is folded outside and inside of the batch, dynamic or constant."""
    assert orders(module, call(batch)) == {(0, 0): order}


def test_all_rows_are_those_of_an_only_sequence():
    """So no run has to tell."""
    assert orders(Folds(2, 3, 0, 1), call(1, size=1)) == {(0, 0): (1, 6)}


class Mixed(Folds):
    """Every row depends on all sequences."""

    def forward(self, x):
        return super().forward(x - x.mean(0))


class Rolled(Folds):
    """Rows that no array of axes has: they are shifted by one."""

    def forward(self, x):
        return self.gru(x.permute(0, 2, 3, 1, 4).flatten(0, 2).roll(1, 0))[0]


class Pairs(Folds):
    """Takes two sequences only."""

    def forward(self, x):
        first, second = x
        return super().forward(torch.stack((first, second)))


@pytest.mark.parametrize("kind", [Mixed, Rolled, Pairs])
def test_rows_in_no_order_are_left_out(kind: type[Folds]):
    """Nothing is guessed."""
    assert orders(kind(0, 2, 3, 1), call("batch")) == {}


def test_a_constant_batch_stands_beside_the_steps():
    """Time may come first; without steps nothing is known."""
    assert constant_batch(call(2)) == 2
    time_first = ExampleCall({"x": torch.zeros(5, 3, 4)}, {"x": ("sequence", 3, 4)})
    assert constant_batch(time_first) == 3
    step = ExampleCall({"x": torch.zeros(3, 4)}, {"x": (3, 4)})
    assert constant_batch(step) is None
