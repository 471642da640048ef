"""torch's operators of complex numbers, on pairs of real tensors."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from edgernn.export.trace.complex_numbers import ComplexNumbersError
from tests.export.trace.pair_graphs import complex_normal, largest_difference, pairs_of

Z, Y = complex_normal(3, 4), complex_normal(3, 4, seed=1)
FIRST = torch.zeros(3, 1, dtype=torch.int64)


def put(z, index, value):
    z = z.clone()
    z[index] = value
    return z


def write_real(z):
    z = z.clone()
    torch.view_as_real(z)[..., 0] += 1
    return z


CASES = {
    # parts and magnitudes
    "abs": lambda z, y: z.abs(),
    "angle": lambda z, y: (z.angle(), (z.abs() - 1 + 0j).angle(), (0 * z).angle()),
    "real_imag": lambda z, y: (z.real, z.imag, torch.view_as_real(z)),
    "conj": lambda z, y: (z.conj(), z.conj().resolve_conj() * y, torch.conj_physical(z), z.mH),
    "complex": lambda z, y: torch.complex(z.real, y.imag),
    "polar": lambda z, y: torch.polar(y.abs(), z.angle()),
    "view_as_complex": lambda z, y: torch.view_as_complex(torch.stack([y.imag, z.real], -1)),
    "write_real": lambda z, y: write_real(z),
    "sgn": lambda z, y: (z.sgn(), (0 * z).sgn()),
    "norm": lambda z, y: (z.norm(), z.norm(dim=1), torch.linalg.vector_norm(z, 1, dim=0)),
    # arithmetic
    "add": lambda z, y: (z + y, z + y.real, y.real + z, z + 2, z + 3j, z.real + 1j),
    "add_of_other_shape": lambda z, y: (z[:, :1] + y.real, y.real[0] + z),
    "add_alpha": lambda z, y: (torch.add(z, y, alpha=2), torch.sub(z, y.real, alpha=3)),
    "sub": lambda z, y: (z - y, z - 1, 1 - z, y.real - z, torch.rsub(z, y), 2j - z),
    "mul": lambda z, y: (z * y, z * 2.5, z * (1 - 2j), z * y.real, y.real * z, z.real * 1j),
    "div": lambda z, y: (z / y, z / 3, z / (1 + 2j), z / y.abs(), y.real / z, 1 / z),
    "neg": lambda z, y: (-z, +z),
    "pow": lambda z, y: (z**2, z.pow(3), z**1, z.square(), z**2.0),
    "exp": lambda z, y: (z.exp(), torch.exp(1j * y.real)),
    "log": lambda z, y: z.log(),
    "reciprocal": lambda z, y: z.reciprocal(),
    "lerp": lambda z, y: torch.lerp(z, y, 0.3),
    "in_place": lambda z, y: z.clone().mul_(y).add_(1j),
    # products
    "matmul": lambda z, y: (z @ y.mT, z @ y[0], y.real.to(z.dtype) @ z.mT),
    "mm": lambda z, y: (torch.mm(z, y.mT), torch.bmm(z[None], y.mT[None])),
    "dot": lambda z, y: (torch.dot(z[0], y[0]), torch.mv(z, y[0]), torch.inner(z, y)),
    "outer": lambda z, y: (torch.outer(z[0], y[0]), torch.kron(z, y)),
    "einsum": lambda z, y: (torch.einsum("bf,cf->bc", z, y.conj()), torch.einsum("bf->fb", z)),
    "linear": lambda z, y: (F.linear(z, y, y[:, 0]), F.linear(z, y)),
    "conv1d": lambda z, y: F.conv1d(z[None], y[:, :3, None].repeat(1, 1, 2), y[:, 0], padding=1),
    "conv2d": lambda z, y: F.conv2d(z[None, None], y[:, None, None, :2], y[:, 0]),
    "conv3d": lambda z, y: F.conv3d(z[None, None, None], y[:, None, None, None, :2]),
    "conv_transpose1d": lambda z, y: F.conv_transpose1d(z[None], y[:, :, None].mT, stride=2),
    "conv_transpose2d": lambda z, y: F.conv_transpose2d(z[None, None], y[None, :1, :, None]),
    # comparisons
    "eq": lambda z, y: (z == put(y, 0, z[0]), z != put(y, 0, z[0]), z.real + 0j == z.real),
    "isnan": lambda z, y: ((z / 0).isnan(), (z / 0).isinf(), (z / y).isfinite()),
    # shapes and order
    "reshape": lambda z, y: (z.reshape(-1, 2), z.view(2, 6), z.flatten(), z.unflatten(1, (2, 2))),
    "transpose": lambda z, y: (
        z.mT,
        z.T,
        z.t(),
        z.permute(1, 0),
        z.movedim(0, 1),
        z.mT.contiguous(),
    ),
    "reshape_of_conjugate": lambda z, y: z.conj().mT.reshape(-1),
    "squeeze": lambda z, y: z[None].squeeze(0).unsqueeze(-1).squeeze(),
    "expand": lambda z, y: (z[:, :1].expand(3, 5), z[:, :1].expand_as(y)),
    "repeat": lambda z, y: (z.repeat(1, 2), z.tile(2), z.repeat_interleave(2, 1)),
    "flip": lambda z, y: (z.flip(1), z.roll(1, 1)),
    "shift": lambda z, y: (torch.fft.fftshift(z), torch.fft.ifftshift(z, dim=1)),
    "tril": lambda z, y: (z.tril(), z.triu(), z.diagonal(), z.trace()),
    "unfold": lambda z, y: z.unfold(1, 2, 1),
    "split": lambda z, y: (*z.chunk(2, 1), *z.split([1, 3], 1), *z.split(3, 1), *z.unbind(0)),
    # parts and joins
    "index": lambda z, y: (z[:, 1:-1], z[:, [0, 2]], z[:, 0], z[:, None], z[..., -1], z[::2]),
    "gather": lambda z, y: (z.gather(1, FIRST), z.index_select(1, FIRST[:2, 0])),
    "take_along_dim": lambda z, y: torch.take_along_dim(z, FIRST, 1),
    "cat": lambda z, y: (torch.cat([z, y], 1), torch.cat([z, y.real], 1), torch.stack([z, y])),
    "hstack": lambda z, y: (torch.hstack([z, y]), torch.vstack([z, y]), torch.dstack([z, y])),
    "pad": lambda z, y: (F.pad(z, (1, 2)), F.pad(z, (1, 0), value=3.0)),
    "pad_mode": lambda z, y: F.pad(z, (1, 2), mode="reflect"),
    "constant_pad_nd": lambda z, y: torch.constant_pad_nd(z, (1, 2), 2.0),
    "where": lambda z, y: (torch.where(y.real > 0, z, y), torch.where(y.real > 0, z, 0.0)),
    "masked_fill": lambda z, y: (z.masked_fill(y.real > 0, 0), z.masked_fill(y.real > 0, 1j)),
    "write": lambda z, y: (put(z, (slice(None), 0), 0), put(z, (slice(None), slice(1, 3)), 2j)),
    "write_at": lambda z, y: put(z, (slice(None), [0, 2]), y[:, :2]),
    "scatter": lambda z, y: (z.scatter(1, FIRST, y[:, :1]), z.scatter_add(1, FIRST, y[:, :1])),
    "index_add": lambda z, y: z.index_add(1, FIRST[:2, 0], y[:, :2]),
    "index_copy": lambda z, y: z.index_copy(1, FIRST[:1, 0], y[:, :1]),
    "index_fill": lambda z, y: z.index_fill(1, FIRST[:1, 0], 2j),
    "diagonal_scatter": lambda z, y: torch.diagonal_scatter(z, y[:, 0]),
    # sums
    "sum": lambda z, y: (z.sum(), z.sum(1), z.mean(), z.mean((0, 1), keepdim=True)),
    "cumsum": lambda z, y: z.cumsum(1),
    "nan_to_num": lambda z, y: (z / 0).nan_to_num(1.0, 2.0, 3.0),
    # tensors made anew
    "zeros": lambda z, y: (torch.zeros_like(z) + z, z.new_zeros(3, 4) + z),
    "zeros_of_dtype": lambda z, y: torch.zeros(4, dtype=torch.complex64) + z,
    "ones": lambda z, y: torch.ones(4, dtype=torch.complex64) * z,
    "full": lambda z, y: (torch.full((4,), 1 - 2j) * z, torch.full_like(z, 2j) * z),
    "new_full": lambda z, y: z.new_full((3, 4), 1j) + z,
    "empty": lambda z, y: (torch.empty_like(z).copy_(y), torch.empty(3, 4).to(z.dtype).copy_(y)),
    "empty_of_dtype": lambda z, y: torch.empty(3, 4, dtype=torch.complex64).fill_(1j) + z,
    "constant": lambda z, y: z * torch.tensor([1j, 2, 3, 4]),
    "detach": lambda z, y: z.clone().detach(),
    # dtypes
    "to_complex": lambda z, y: (y.real.to(torch.complex64), y.real.to(z.dtype) * z),
    "to_real": lambda z, y: (z.to(torch.float32), z.float()),
    "to_double": lambda z, y: (z.to(torch.complex128), z.type(torch.complex128)),
    "promotes": lambda z, y: (z + torch.arange(4), z * torch.arange(4).double()),
    "size": lambda z, y: z / z.shape[1] * z.dim() * z.is_complex(),
}


def together(functions):
    """Return a function that returns the results of several."""

    def function(z, y):
        results = [one(z, y) for one in functions]
        lists = [one if isinstance(one, tuple) else (one,) for one in results]
        return [tensor for one in lists for tensor in one]

    return function


NAMES = list(CASES)
GROUPS = {f"{NAMES[n]}_to_{NAMES[n:][:20][-1]}": NAMES[n:][:20] for n in range(0, len(NAMES), 20)}


@pytest.mark.filterwarnings("ignore:Casting complex values to real")
@pytest.mark.parametrize("names", GROUPS.values(), ids=GROUPS)
def test_operators_on_pairs(names):
    """Results are those of eager torch, of the same shapes and dtypes."""
    assert largest_difference(together([CASES[name] for name in names]), Z, Y) < 1e-5


def test_the_angle_of_negative_numbers():
    """It is π, as eager torch says of an imaginary part of 0."""
    negative = torch.complex(torch.tensor([-1.0, -2.0]), torch.zeros(2))
    assert largest_difference(torch.angle, negative) < 1e-7


REFUSED = {
    "sqrt": (
        lambda z, y: z.sqrt(),
        "forward computes with complex numbers, of which `sqrt` has no ONNX form. Compute with the "
        "real and the imaginary part as two real tensors, or leave that line to the caller.",
    ),
    "pow": (
        lambda z, y: z**0.5,
        "forward calls `pow` of complex numbers with an exponent that is not an integer from 1 to "
        "8. Compute with `z.abs()` and `z.angle()`.",
    ),
    "einsum": (
        lambda z, y: torch.einsum("ab,cb,cd->ad", z, y, y),
        "forward calls `einsum` with more than two tensors, some of them complex. Multiply two at "
        "a time.",
    ),
}


@pytest.mark.parametrize(("function", "message"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_form_is_refused(function, message):
    """The message names the operator."""
    pairs, reals, _ = pairs_of(function, Z, Y)
    with pytest.raises(ComplexNumbersError) as caught:
        pairs(*reals)
    assert str(caught.value) == message
