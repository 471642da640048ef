"""torch's operators of complex numbers, on pairs of real tensors.

Three kinds cover most of them: what moves numbers or is linear works on each part by itself, a
product multiplies each part with each, and the others have a formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import onnx_ir as ir
import torch

from edgernn.export.trace.pairs import (
    Pair,
    Rule,
    UnsupportedForm,
    each_part,
    parts,
    product,
    real_dtype,
)

__all__ = ["complex_rule"]

_LARGEST_POWER = 8


def complex_rule(operator: Any, name: str) -> Rule | None:
    """Return how an operator works on pairs; None where it has no form for them.

    Args:
        operator: What torch.export's graph calls, `torch.ops.aten.add.Tensor`.
        name: Its name without the overload.
    """
    if name in _VALUES:
        return each_part(_ON_PARTS.get(name, operator), _VALUES[name])
    if name in _PRODUCTS.split():
        return product(operator)
    if name in _LAYERS.split():
        return _layer(operator)
    if name == "_symbolic":
        return each_part(partial(_real_symbolic, operator), (0,))
    return _FORMULAS.get(name)


_multiply: Callable[..., Pair] = product(torch.mul)


def _einsum(equation: str, operands: Any, **_: Any) -> Pair:
    if len(operands) == 1:
        return Pair(*(torch.einsum(equation, part) for part in parts(operands[0])))
    if len(operands) > 2:
        raise UnsupportedForm(
            "with more than two tensors, some of them complex. Multiply two at a time."
        )
    return product(lambda a, b: torch.einsum(equation, a, b))(*operands)


def _layer(operator: Callable[..., torch.Tensor]) -> Rule:
    """Return a rule for a product with weights and a bias: a linear layer or a convolution."""

    def rule(x: Any, weight: Any, bias: Any = None, *args: Any, **kwargs: Any) -> Pair:
        result = product(lambda a, b: operator(a, b, None, *args, **kwargs))(x, weight)
        if bias is None:
            return result
        axes = parts(weight)[0].dim() - 2
        return _add(result, Pair(*(part.reshape(-1, *[1] * axes) for part in parts(bias))))

    return rule


def _real_symbolic(operator: Any, inputs: Any, op_type: str, dtype: int, **options: Any) -> Any:
    """Write a node of torch.onnx.ops.symbolic for one part."""
    real = {ir.DataType.COMPLEX64: ir.DataType.FLOAT, ir.DataType.COMPLEX128: ir.DataType.DOUBLE}
    return operator(inputs, op_type, int(real.get(ir.DataType(dtype), dtype)), **options)


def _add(a: Any, b: Any, *, alpha: Any = 1) -> Pair:
    (a_real, a_imag), (b_real, b_imag) = parts(a), parts(b)
    if alpha != 1:
        b_real, b_imag = parts(_multiply(Pair(b_real, b_imag), alpha))
    # a real number leaves the imaginary part as it is
    return Pair(a_real + b_real, a_imag if type(b_imag) is int else a_imag + b_imag)


def _subtract(a: Any, b: Any, *, alpha: Any = 1) -> Pair:
    return _add(a, b, alpha=-alpha)


def _divide(a: Any, b: Any) -> Pair:
    if isinstance(b, Pair):
        return _multiply(a, _reciprocal(b))
    return _multiply(a, 1 / b) if isinstance(b, complex) else Pair(a.real / b, a.imag / b)


def _reciprocal(z: Pair) -> Pair:
    square = z.real * z.real + z.imag * z.imag
    return Pair(z.real / square, -z.imag / square)


def _magnitude(z: Pair) -> torch.Tensor:
    return (z.real * z.real + z.imag * z.imag).sqrt()


def _angle(z: Pair) -> torch.Tensor:
    """Return the angle; that of a negative real number is π, which torch's exporter misses."""
    is_zero = (z.real == 0) & (z.imag == 0)
    slope = torch.atan(z.imag / torch.where(is_zero, 1.0, z.real))
    turned = slope + torch.where(z.imag < 0, -math.pi, math.pi)
    return torch.where(z.real < 0, turned, slope)


def _direction(z: Pair) -> Pair:
    magnitude = _magnitude(z)
    return _divide(z, torch.where(magnitude == 0, 1.0, magnitude))


def _polar(magnitude: torch.Tensor, angle: torch.Tensor) -> Pair:
    return Pair(magnitude * angle.cos(), magnitude * angle.sin())


def _power(z: Any, exponent: Any) -> Any:
    if exponent not in range(1, _LARGEST_POWER + 1):
        raise UnsupportedForm(
            f"of complex numbers with an exponent that is not an integer from 1 to "
            f"{_LARGEST_POWER}. Compute with `z.abs()` and `z.angle()`."
        )
    result = z
    for _ in range(int(exponent) - 1):
        result = _multiply(result, z)
    return result


def _to(value: Any, *, dtype: torch.dtype | None = None, **_: Any) -> Any:
    real, imag = parts(value)
    if dtype is None:
        return value
    to = real_dtype(dtype)
    return Pair(real.to(to), imag.to(to)) if dtype.is_complex else real.to(to)


def _ones(*args: Any, dtype: torch.dtype, **kwargs: Any) -> Pair:
    real = torch.ones(*args, dtype=real_dtype(dtype), **kwargs)
    return Pair(real, torch.zeros_like(real))


def _compare(combine: Callable[..., torch.Tensor], operator: Callable[..., torch.Tensor]) -> Rule:
    """Return a rule that compares both parts."""

    def rule(a: Any, b: Any) -> torch.Tensor:
        (a_real, a_imag), (b_real, b_imag) = parts(a), parts(b)
        return combine(operator(a_real, b_real), operator(a_imag, b_imag))

    return rule


def _either(test: Callable[[torch.Tensor], torch.Tensor]) -> Rule:
    """Return a rule for a test that one part must pass."""
    return lambda z: test(z.real) | test(z.imag)


_PLACES_OF_VALUES: Mapping[tuple[int, ...], str] = {
    (): "empty zeros",
    (0,): (
        "cat clone cumsum detach diagonal dstack empty_like expand fft_fftshift "
        "fft_ifftshift flip gather hstack index index_select mean nan_to_num neg new_zeros permute "
        "repeat repeat_interleave roll select slice split split_with_sizes squeeze stack sum t "
        "take_along_dim tile trace transpose tril triu unbind unfold unsqueeze view vstack "
        "_unsafe_view zeros_like"
    ),
    (1,): "full",
    (0, 1): "copy diagonal_scatter fill full_like lerp select_scatter slice_scatter",
    (0, 2): "constant_pad_nd index_put masked_fill new_full",
    (1, 2): "where",
    (0, 3): "index_add index_copy index_fill pad scatter scatter_add",
}
"""Which arguments are values → operators that move numbers or are linear."""

_VALUES = {name: places for places, names in _PLACES_OF_VALUES.items() for name in names.split()}

_ON_PARTS: Mapping[str, Callable[..., Any]] = {
    # strides of parts are not those of complex tensors
    "view": torch.reshape,
    "_unsafe_view": torch.reshape,
}
"""What is called with the parts where it is not the operator itself."""

_PRODUCTS = "bmm dot inner kron matmul mm mul mv outer"
"""Operators that are linear in each of their first two arguments."""

_LAYERS = "conv1d conv2d conv3d conv_transpose1d conv_transpose2d linear"
"""Products of an input and weights, with a bias as the third argument."""

_FORMULAS: Mapping[str, Rule] = {
    "_assert_tensor_metadata": lambda *_, **__: None,
    "_conj": lambda z: Pair(z.real, -z.imag),
    "_conj_physical": lambda z: Pair(z.real, -z.imag),
    "_to_copy": _to,
    "abs": _magnitude,
    "add": _add,
    "angle": _angle,
    "complex": Pair,
    "div": _divide,
    "einsum": _einsum,
    "eq": _compare(torch.logical_and, torch.eq),
    "exp": lambda z: _polar(z.real.exp(), z.imag),
    "isfinite": lambda z: torch.isfinite(z.real) & torch.isfinite(z.imag),
    "isinf": _either(torch.isinf),
    "isnan": _either(torch.isnan),
    "linalg_vector_norm": lambda z, *a, **k: torch.linalg.vector_norm(_magnitude(z), *a, **k),
    "log": lambda z: Pair(_magnitude(z).log(), _angle(z)),
    "ne": _compare(torch.logical_or, torch.ne),
    "ones": _ones,
    "polar": _polar,
    "pow": _power,
    "reciprocal": _reciprocal,
    "rsub": lambda a, b, alpha=1: _subtract(b, a, alpha=alpha),
    "sgn": _direction,
    "square": lambda z: _multiply(z, z),
    "sub": _subtract,
    "sym_size": lambda z, axis: z.real.shape[axis],
    "view_as_complex": lambda x: Pair(x.select(-1, 0), x.select(-1, 1)),
    "view_as_real": lambda z: torch.stack([z.real, z.imag], -1),
}
"""The others."""
