"""Calls of torch models for measuring: at any size, as their users make them."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from edgernn.contract import Contract, Graph, Port, State
from edgernn.errors import ContractError
from edgernn.export.eager_calls import EagerCalls, eager_threads
from edgernn.export.options import SourceOptions


def contract(features: int = 4) -> Contract:
    """Return the contract of a model that takes `x`, and has a state of 8."""
    h_in, h_out = (Port(name, "float32", (1, "batch", 8)) for name in ("h_in", "h_out"))
    x = Port("x", "float32", ("batch", "sequence", features), "x")
    y = Port("y", "float32", ("batch", "sequence", 8), "[0]")
    graphs = {"sequence": Graph((x, h_in), (y, h_out))}
    return Contract("0123456789abcdef", "GRU", (State("h", "h_in", "h_out"),), True, graphs)


class Recording(nn.Module):
    """A layer, or a cell, that writes down the sizes of its calls."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.least = 1

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        """Run the layer."""
        if len(x) < self.least:
            raise ValueError("too few")
        SIZES.append((tuple(x.shape), tuple(h.shape), torch.is_grad_enabled()))
        result: torch.Tensor = self.layer(x, h)
        return result


SIZES: list[tuple[tuple[int, ...], tuple[int, ...], bool]] = []


def calls_of(module: nn.Module, inputs: tuple[str, ...]) -> EagerCalls:
    return EagerCalls(module, SourceOptions(inputs=inputs, states={"h": 1}), contract())


def test_a_layer_runs_a_chunk_in_one_call():
    """Inputs and states have the size of the call, and nothing is kept for gradients."""
    inputs = ("x:float32[batch,sequence,4]", "h:float32[1,batch,8]")
    calls = calls_of(Recording(nn.GRU(4, 8, batch_first=True)), inputs)
    with eager_threads(1):
        assert torch.get_num_threads() == 1
        call = calls.call(3, 5)
        SIZES.clear()
        assert call is not None
        call()
    assert SIZES == [((3, 5, 4), (1, 3, 8), False)]


def test_a_cell_is_called_once_per_step():
    """A model whose forward is one step runs a chunk as its user does."""
    calls = calls_of(Recording(nn.GRUCell(4, 8)), ("x:float32[batch,4]", "h:float32[batch,8]"))
    call = calls.call(2, 6)
    SIZES.clear()
    assert call is not None
    call()
    assert [sizes[:2] for sizes in SIZES] == [((2, 4), (2, 8))] * 6


def test_a_size_that_forward_does_not_take():
    """There is no call, and no error: the artifact may still take it."""
    module = Recording(nn.GRU(4, 8, batch_first=True))
    module.least = 2
    calls = calls_of(module, ("x:float32[batch,sequence,4]", "h:float32[1,batch,8]"))
    assert calls.call(1, 5) is None
    assert calls.call(2, 5) is not None


def test_a_model_with_other_inputs():
    """The message has what the artifact takes and what the model takes."""
    options = SourceOptions(inputs=("input:float32[batch,sequence,4]",))
    message = (
        "The artifact takes `x: float32[batch, sequence, 5]`, and `GRU.forward` takes "
        "`input:float32[batch,sequence,4]`. Give the model that the artifact was made from."
    )
    with pytest.raises(ContractError, match=f"^{re.escape(message)}$"):
        EagerCalls(nn.GRU(4, 8, batch_first=True), options, contract(features=5))
