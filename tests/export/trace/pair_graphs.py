"""Functions of complex tensors, run on pairs of reals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.export import Dim

from edgernn.export.call.example_call import ExampleCall
from edgernn.export.ir.fold_constants import silence_exporters
from edgernn.export.trace.complex_numbers import PairsOfReals
from edgernn.export.trace.export_forward import export_function

__all__ = ["complex_normal", "largest_difference", "pairs_of"]


class OnReals(nn.Module):
    """A function of tensors, complex ones given and returned as real."""

    def __init__(self, function: Callable[..., Any], complex_: tuple[bool, ...]) -> None:
        super().__init__()
        self.function = function
        self._complex = complex_

    def forward(self, *tensors: torch.Tensor) -> dict[str, torch.Tensor]:
        """Run the function; returns its results by path."""
        given = [
            torch.view_as_complex(tensor) if is_complex else tensor
            for tensor, is_complex in zip(tensors, self._complex, strict=True)
        ]
        results = self.function(*given)
        results = results if isinstance(results, (tuple, list)) else [results]
        return {f"[{index}]": _real(one) for index, one in enumerate(results)}


def _real(tensor: torch.Tensor) -> torch.Tensor:
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def pairs_of(
    function: Callable[..., Any], *tensors: torch.Tensor
) -> tuple[PairsOfReals, tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    """Return a function on pairs, its arguments as reals, and what eager torch returns."""
    reals = tuple(_real(tensor) for tensor in tensors)
    module = OnReals(function, tuple(tensor.is_complex() for tensor in tensors))
    names = [f"x{index}" for index in range(len(reals))]
    shapes = {name: tuple(real.shape) for name, real in zip(names, reals, strict=True)}
    example = ExampleCall(dict(zip(names, reals, strict=True)), shapes)
    with silence_exporters():
        program = export_function(module, example, lambda _: Dim.DYNAMIC)
        return PairsOfReals(program, example), reals, module(*reals)


def largest_difference(function: Callable[..., Any], *tensors: torch.Tensor) -> float:
    """Return how far a function on pairs is from eager torch, of the largest magnitude."""
    pairs, reals, expected = pairs_of(function, *tensors)
    results = pairs(*reals)
    assert results.keys() == expected.keys()
    worst = 0.0
    for path, result in results.items():
        wanted = expected[path]
        assert (result.shape, result.dtype) == (wanted.shape, wanted.dtype)
        if wanted.numel():
            scale = wanted.double().abs().max().clamp(min=1e-30)
            worst = max(worst, float((result.double() - wanted.double()).abs().max() / scale))
    return worst


def complex_normal(*shape: int, seed: int = 0) -> torch.Tensor:
    """Return normal complex numbers."""
    draw = torch.Generator().manual_seed(seed)
    return torch.view_as_complex(torch.randn(*shape, 2, generator=draw))
