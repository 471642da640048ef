"""The limits of a machine: how fast it reads weights, and how fast it multiplies matrices.

Both are measured with ONNX Runtime's own product of float32 matrices, on the provider and with the
threads of the model that is compared with them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from edgernn.runtime.io_binding import TensorBuffer
from edgernn.runtime.measure.timing import measure
from edgernn.runtime.providers import find_provider, quiet_options, start_session

__all__ = ["Limits", "Probe", "matrix_product", "measure_limits", "weight_reader"]

# y = MatMul(a, b), opset 18, all three float32 of any shape.
_PRODUCT = (
    b'\x08\x08:7\n\x11\n\x01a\n\x01b\x12\x01y"\x06MatMul\x12\x01gZ\t\n\x01a\x12\x04\n\x02\x08\x01'
    b"Z\t\n\x01b\x12\x04\n\x02\x08\x01b\t\n\x01y\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\x12"
)
_MEBIBYTE = 1 << 20
# So much that the call itself does not count; so little that other programs rarely interrupt it.
_READ_IN_ONE_CALL = {"cpu": 32 * _MEBIBYTE}
_READ_IN_ONE_CALL_OF_DEVICES = 2048 * _MEBIBYTE
_MEMORY = {"cpu": 256 * _MEBIBYTE}
_MEMORY_OF_DEVICES = 2048 * _MEBIBYTE
_PRODUCT_SIZES = {"cpu": (384, 1024)}
_PRODUCT_SIZES_OF_DEVICES = (8192,)


@dataclass(frozen=True)
class Probe:
    """A call that does a known amount of work.

    Attributes:
        call: What does it.
        amount: The work of one call: bytes that are read, or multiply-adds.
    """

    call: Callable[[], Any]
    amount: int


@dataclass(frozen=True)
class Limits:
    """What a machine can do at most.

    Attributes:
        memory: Bytes per second, read from an array that no cache holds.
        weights: Bytes per second, read from an array as large as the weights of a model, which a
            cache may hold.
        multiply_adds: Multiply-adds per second of a product of large float32 matrices.
    """

    memory: float
    weights: float
    multiply_adds: float

    @property
    def is_cached(self) -> bool:
        """Whether the weights are read clearly faster than the memory is."""
        return self.weights > 1.25 * self.memory


def weight_reader(nbytes: int, provider: str = "cpu", threads: int | None = 1) -> Probe:
    """Return products of single rows with two matrices, again and again.

    Of a large size, each call reads another part, one after the other.

    Args:
        nbytes: The size of all matrices together, in bytes.
        provider: Where to run them, with options as `load` takes them.
        threads: The number of threads; None for all cores.

    Raises:
        ProviderError: The provider does not run here.
    """
    least = _READ_IN_ONE_CALL.get(find_provider(provider).name, _READ_IN_ONE_CALL_OF_DEVICES)
    parts = max(1, nbytes // least)
    side = max(4, round((nbytes / parts / 8) ** 0.5))
    size = 2 * side * side * 4
    rows = -(-least // size)
    # With two matrices, ONNX Runtime cannot join the rows to one product that reads once for all.
    shapes = (rows, 1, 1, side), (1, 2, side, side)
    reads = itertools.cycle([_product(*shapes, provider, threads) for _ in range(parts)])
    return Probe(lambda: next(reads)(), rows * size)


def matrix_product(side: int, provider: str = "cpu", threads: int | None = 1) -> Probe:
    """Return the product of two square matrices with `side` rows; threads as in `weight_reader`."""
    return Probe(_product((side, side), (side, side), provider, threads), side**3)


def measure_limits(
    weight_bytes: int,
    provider: str = "cpu",
    threads: int | None = 1,
    before_probe: Callable[[str], Any] = lambda name: None,
) -> Limits:
    """Measure what this machine can do at most: the best of several rounds.

    Args:
        weight_bytes: The size of a model's weights in bytes.
        provider: Where to run.
        threads: The number of threads; None for all cores.
        before_probe: Is called before each probe with its name.

    Raises:
        ProviderError: The provider does not run here.
    """
    name = find_provider(provider).name
    memory = _MEMORY.get(name, _MEMORY_OF_DEVICES)
    sizes = _PRODUCT_SIZES.get(name, _PRODUCT_SIZES_OF_DEVICES)
    before_probe("memory")
    of_memory = _best_rate(weight_reader(memory, provider, threads))
    before_probe("weights")
    of_weights = _best_rate(weight_reader(min(weight_bytes, memory), provider, threads))
    before_probe("multiply_adds")
    peak = max(_best_rate(matrix_product(size, provider, threads)) for size in sizes)
    return Limits(of_memory, of_weights, peak)


def _best_rate(probe: Probe) -> float:
    """Return the largest amount of work per second in several rounds."""
    return probe.amount / measure({"probe": probe.call}, 20, seconds=0.5)["probe"].best


def _product(
    left: tuple[int, ...], right: tuple[int, ...], provider: str, threads: int | None
) -> Callable[[], Any]:
    """Return the product of two matrices that are bound once on the provider's device."""
    chosen, options = find_provider(provider), quiet_options()
    options.intra_op_num_threads = threads or 0
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = start_session(_PRODUCT, chosen, options)
    binding = session.io_binding()
    result = (*np.broadcast_shapes(left[:-2], right[:-2]), left[-2], right[-1])
    shapes = {"a": left, "b": right, "y": result}
    buffers = {
        name: TensorBuffer(shape, "float32", chosen.device) for name, shape in shapes.items()
    }
    for name in ("a", "b"):
        buffers[name].write(np.full(shapes[name], 1e-3, np.float32))
        binding.bind_ortvalue_input(name, buffers[name].value)
    binding.bind_ortvalue_output("y", buffers["y"].value)
    return partial(_run, session, binding, buffers)


def _run(session: Any, binding: Any, buffers: Mapping[str, TensorBuffer]) -> None:
    """Run a bound session, whose buffers live as long as the call."""
    session.run_with_iobinding(binding)
