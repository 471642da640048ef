"""A model of the corpus, and what its artifact has to be."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from tests.models.proof import ODD_SIZES

__all__ = ["Case", "by_steps"]

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Case:
    """A model as its author left it, with the ports of its artifact.

    Attributes:
        name: The case in a few words.
        rule: What it shows.
        model: Makes the module.
        ports: The ports in one line, see `proof.signature`.
        data: From (batch, sequence) to the data inputs by name; by default drawn as `ports` says.
        symbols: Ids that are drawn are below this.
        example: What the export is shown: data of this (batch, sequence), or what makes another
            example; None for nothing.
        call: What a user calls: from the module and the inputs as keywords to the outputs.
        sizes: (batch, sequence) of the runs that prove the artifact.
        options: Further options of `export_model`.
        notes: The notes of the contract, if they are part of the rule.
    """

    name: str
    rule: str
    model: Callable[[], nn.Module]
    ports: str
    data: Callable[[int, int], Tensors] | None = None
    symbols: int = 0
    example: tuple[int, int] | Callable[[], Any] | None = None
    call: Callable[..., Any] | None = None
    sizes: Sequence[tuple[int, int]] = ODD_SIZES
    options: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] | None = None

    def draw(self, batch: int, sequence: int) -> Tensors:
        """Return data inputs; axes that are neither batch nor sequence have two entries more."""
        if self.data is not None:
            return self.data(batch, sequence)
        drawn = {}
        ports = re.findall(r"(\w+): (\w+)\[(.*?)\]", self.ports.partition(";")[0])
        for name, dtype, axes in ports:
            sizes = {"batch": batch, "sequence": sequence}
            shape = [
                int(axis) if axis.isdigit() else sizes.get(axis, sequence + 2)
                for axis in axes.split(", ")
            ]
            if dtype == "float32":
                drawn[name] = torch.randn(shape)
            else:
                drawn[name] = torch.randint(self.symbols, shape, dtype=getattr(torch, dtype))
        return drawn

    def inputs(self) -> Any:
        """Return the example for `export_model`."""
        if isinstance(self.example, tuple):
            return tuple(self.draw(*self.example).values())
        return None if self.example is None else self.example()


def by_steps(
    start: Callable[[int], Any], step: Callable[..., Any] = lambda model, *args: model(*args)
) -> Callable[..., torch.Tensor]:
    """Return how a user calls a model of one step: over all steps, with the state handed on.

    Args:
        start: From the batch to the first state.
        step: From the module, its inputs (batch, …) and the state to its output and the next state.

    Returns:
        From the module and inputs (batch, sequence, …) to the outputs (batch, sequence, …).
    """

    def call(model: nn.Module, **inputs: torch.Tensor) -> torch.Tensor:
        state, outputs = start(len(next(iter(inputs.values())))), []
        for data in zip(*(tensor.unbind(1) for tensor in inputs.values()), strict=True):
            output, state = step(model, *data, state)
            outputs.append(output)
        return torch.stack(outputs, 1)

    return call
