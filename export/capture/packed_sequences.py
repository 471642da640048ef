"""Packed sequences in a trace: sequences stay padded and rectangular, their lengths go along.

torch packs sequences of different lengths into rows whose number depends on the lengths, which no
trace can hold. While forward is traced, `PaddedPacking` answers torch's packing functions with the
padded tensor, (sequence · batch, features), and remembers the lengths for the recurrent calls.
Sorting by length, which only packing needs, is left out.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.onnx.ops import symbolic

from edgernn.export.capture.length_values import LengthValues
from edgernn.export.capture.pytree import mark_layout
from edgernn.export.ir.operator_kinds import PAD, TORCH

__all__ = ["PaddedPacking", "sorts_for_packing", "unchecked_layers"]

# Functions that only bring sequences in order, or compute that order → the place of the argument.
_TAKES_ORDER = {"to": 0, "empty_like": 0, "scatter_": 0, "index_select": 2, "__getitem__": 1}


def sorts_for_packing(name: str, depth: int) -> bool:
    """Return whether the function called `depth` frames up is `pack_padded_sequence`'s own sort."""
    code = sys._getframe(depth + 1).f_code
    return name == "sort" and code is pack_padded_sequence.__code__


class PaddedPacking:
    """Answers torch's packing functions during a trace.

    Attributes:
        length_values: Answers functions that ask for the values of lengths.
    """

    def __init__(self) -> None:
        self.length_values = LengthValues()
        # by id, each with its tensor, so that no other gets the id
        self._packed: dict[int, tuple[torch.Tensor, torch.Tensor, tuple[Any, Any]]] = {}
        self._orders: dict[int, torch.Tensor] = {}

    def lengths(self, batch_sizes: torch.Tensor) -> torch.Tensor:
        """Return the lengths, (batch,) int64, of the sequences with these `batch_sizes`."""
        return self._packed[id(batch_sizes)][1]

    def steps(self, batch_sizes: torch.Tensor) -> tuple[Any, Any]:
        """Return the sizes (sequence, batch) of their padded tensor."""
        return self._packed[id(batch_sizes)][2]

    def __call__(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Answer a torch function, or return NotImplemented if it does not pack."""
        if name == "tolist" and args[0].dim() == 1:
            return args[0]  # packing takes the tensor as well
        if sorts_for_packing(name, 2):
            order = torch.zeros_like(args[0])
            self._orders[id(order)] = order
            return args[0], order
        if name == "_pack_padded_sequence":
            return self._pack(*args)
        if name == "_pad_packed_sequence":
            return self._pad(*args)
        if name == "__getitem__" and id(args[0]) in self._packed and args[1] == 0:
            return self.steps(args[0])[1]
        if name in _TAKES_ORDER and id(args[_TAKES_ORDER[name]]) in self._orders:
            return args[0]
        return NotImplemented

    def _pack(self, padded: torch.Tensor, lengths: torch.Tensor, batch_first: bool) -> Any:
        x = padded.transpose(0, 1) if batch_first else padded
        steps, batch = x.shape[0], x.shape[1]
        batch_sizes = lengths.new_zeros(steps)
        mark_layout(batch_sizes, bool(batch_first))
        self._packed[id(batch_sizes)] = batch_sizes, lengths, (steps, batch)
        return x.reshape(steps * batch, *x.shape[2:]), batch_sizes

    def _pad(
        self,
        data: torch.Tensor,
        batch_sizes: torch.Tensor,
        batch_first: bool,
        padding: float,
        total_length: int,
    ) -> Any:
        _, lengths, (steps, batch) = self._packed[id(batch_sizes)]
        y = data.reshape(steps, batch, *data.shape[1:])
        value: dict[str, Any] = {"padding": float(padding)}
        y = symbolic(
            f"{TORCH}::{PAD}", (y, lengths), value, dtype=y.dtype, shape=y.shape, version=1
        )
        more = total_length - steps if isinstance(total_length, int) else 0
        if more:
            y = nn.functional.pad(y, (0, 0) * (y.dim() - 1) + (0, more), value=padding)
        return y.transpose(0, 1) if batch_first else y, lengths


def _maximum(*args: torch.Tensor, maximum: Any = torch.maximum) -> Any:
    return args[0].max() if len(args) == 1 else maximum(*args)


def _padded(*args: Any, pad: Any = torch._VF._pad_packed_sequence) -> Any:
    *others, total_length = args
    return pad(*others, getattr(total_length, "steps", total_length))


@contextlib.contextmanager
def unchecked_layers() -> Iterator[None]:
    """Keep layers from checking the sizes of what they are given, which pins packed sequences.

    An eager forward with the same arguments has passed these checks before.
    """
    with contextlib.ExitStack() as stack:
        for layer in (nn.RNNBase, nn.LSTM):
            stack.enter_context(mock.patch.object(layer, "check_forward_args"))
        stack.enter_context(mock.patch.object(torch._VF, "_pad_packed_sequence", _padded))
        # torch.export has max() call it, with one tensor too
        stack.enter_context(mock.patch.object(torch, "maximum", _maximum))
        yield
