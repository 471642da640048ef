"""Complex tensors as pairs of real ones, and operators that work on pairs part by part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["Pair", "Rule", "UnsupportedForm", "each_part", "parts", "product", "real_dtype"]

Rule = Callable[..., Any]
"""An operator, as a function of its arguments with a pair in place of each complex tensor."""


@dataclass(frozen=True)
class Pair:
    """A complex tensor as its real and its imaginary part, of one shape and dtype."""

    real: torch.Tensor
    imag: torch.Tensor


class UnsupportedForm(Exception):
    """When an operator has no form for some arguments; the text follows its name in a sentence."""


def real_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of the parts of complex numbers; other dtypes as they are."""
    return dtype.to_real() if dtype.is_complex else dtype


def parts(value: Any) -> tuple[Any, Any]:
    """Return the real and the imaginary part of a pair, a real tensor or a number."""
    if isinstance(value, (Pair, complex)):
        return value.real, value.imag
    return value, torch.zeros_like(value) if isinstance(value, torch.Tensor) else 0


def each_part(operator: Any, places: tuple[int, ...]) -> Rule:
    """Return a rule that applies an operator to the real parts and to the imaginary parts.

    The arguments at `places` are values, whose imaginary part is zero where they are real; others,
    such as shapes and indices, are the same for both parts.
    """

    def rule(*args: Any, **kwargs: Any) -> Any:
        options = {
            name: real_dtype(option) if isinstance(option, torch.dtype) else option
            for name, option in kwargs.items()
        }
        real, imag = (
            operator(
                *(_part(value, part, place in places) for place, value in enumerate(args)),
                **options,
            )
            for part in (0, 1)
        )
        return _pairs(real, imag)

    return rule


def _part(value: Any, part: int, is_value: bool) -> Any:
    if isinstance(value, (tuple, list)):
        return [_part(one, part, is_value) for one in value]
    is_value = (is_value and value is not None) or isinstance(value, Pair)
    return parts(value)[part] if is_value else value


def _pairs(real: Any, imag: Any) -> Any:
    if isinstance(real, (tuple, list)):
        return [Pair(*both) for both in zip(real, imag, strict=True)]
    return Pair(real, imag)


def product(operator: Callable[..., torch.Tensor]) -> Callable[..., Pair]:
    """Return a rule for an operator that is linear in each of its first two arguments."""

    def rule(a: Any, b: Any, *args: Any, **kwargs: Any) -> Pair:
        def times(x: Any, y: Any) -> torch.Tensor:
            return operator(x, y, *args, **kwargs)

        if not isinstance(a, (Pair, complex)):
            return Pair(times(a, b.real), times(a, b.imag))
        if not isinstance(b, (Pair, complex)):
            return Pair(times(a.real, b), times(a.imag, b))
        return Pair(
            times(a.real, b.real) - times(a.imag, b.imag),
            times(a.real, b.imag) + times(a.imag, b.real),
        )

    return rule
