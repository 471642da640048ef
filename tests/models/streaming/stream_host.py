"""A host with its own code: ONNX Runtime, and what the metadata of the graphs says.

It shares nothing with edgernn, so that a mistake there cannot hide itself here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
Eager = Callable[[Arrays], Mapping[str, torch.Tensor]]

DTYPES = {
    "tensor(float)": np.float32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
    "tensor(float16)": np.float16,
}


class HostedGraph:
    """A graph and its metadata.

    Attributes:
        hop: Steps of the input in one call of the step graph.
        pairs: From each state's input to its output.
        inputs: The data inputs, name → (shape, dtype).
        outputs: The data outputs, name → shape.
    """

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(path), options)
        fields = self.session.get_modelmeta().custom_metadata_map
        self.fields = {key.removeprefix("edgernn."): text for key, text in fields.items()}
        self.hop = int(self.fields.get("hop", "1"))
        texts = filter(None, self.fields["states"].split(","))
        self.pairs = dict(text.split(":") for text in texts)
        ports = {port.name: (port.shape, DTYPES[port.type]) for port in self.session.get_inputs()}
        self.inputs = {name: port for name, port in ports.items() if name not in self.pairs}
        self.states = {name: ports[name] for name in self.pairs}
        self.outputs = {
            port.name: port.shape
            for port in self.session.get_outputs()
            if port.name not in self.pairs.values()
        }

    def number(self, key: str, port: str) -> int:
        """Return the count that the metadata has for a port, 0 where it has none."""
        return int(self.fields.get(f"{key}.{port}", "0"))

    def start(self, batch: int) -> Arrays:
        """Return what the states start from."""
        arrays: Arrays = {}
        for name, (shape, dtype) in self.states.items():
            assert all(isinstance(size, int) or size == "batch" for size in shape), (name, shape)
            sizes = [batch if size == "batch" else size for size in shape]
            text = self.fields.get(f"initial.{name.removesuffix('_in')}")
            one = [1 if size == "batch" else size for size in shape]
            value = np.zeros(one) if text is None else np.array(text.split(), float).reshape(one)
            arrays[name] = np.broadcast_to(value.astype(dtype), sizes)
        return arrays

    def run(self, data: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        """Return the outputs and the next state of one call."""
        names = [*self.outputs, *self.pairs.values()]
        got = dict(zip(names, self.session.run(names, {**data, **state}), strict=True))
        return got, {name: got.pop(after) for name, after in self.pairs.items()}


def time_axis(shape: Iterable[Any]) -> int:
    """Return the axis whose size follows from the number of steps."""
    axes = [axis for axis, size in enumerate(shape) if "sequence" in str(size)]
    assert len(axes) == 1, shape
    return axes[0]


class StreamHost:
    """Both graphs of an artifact, run in pieces of whole hops."""

    def __init__(self, folder: Path) -> None:
        self.sequence = HostedGraph(folder / "sequence.onnx")
        assert (folder / "step.onnx").exists(), "there is no step graph"
        self.step = HostedGraph(folder / "step.onnx")
        assert self.sequence.hop == self.step.hop
        assert self.sequence.pairs == self.step.pairs
        self.hop = self.sequence.hop

    def run(self, data: Arrays, sizes: Iterable[int], by_step: bool = False) -> Arrays:
        """Return the outputs of consecutive chunks, joined, undefined frames included.

        Args:
            data: The inputs, all of their steps.
            sizes: The number of hops of each chunk; their sum is that of the data.
            by_step: Whether each hop is one call of the step graph.
        """
        state, begin = self.sequence.start(self.batch(data)), 0
        parts: dict[str, list[NDArray[Any]]] = {name: [] for name in self.sequence.outputs}
        for hops in sizes:
            span = range(begin * self.hop, (begin + hops) * self.hop)
            chunk = {
                name: array.take(span, time_axis(self.sequence.inputs[name][0]))
                for name, array in data.items()
            }
            got, state = self._call(chunk, state, hops, by_step and hops == 1)
            for name, array in got.items():
                parts[name].append(array)
            begin += hops
        return {
            name: np.concatenate(arrays, time_axis(self.sequence.outputs[name]))
            for name, arrays in parts.items()
        }

    def batch(self, data: Arrays) -> int:
        """Return how many sequences run side by side."""
        for name, (shape, _) in self.sequence.inputs.items():
            if "batch" in shape:
                return int(data[name].shape[shape.index("batch")])
        return 1

    def _call(self, chunk: Arrays, state: Arrays, hops: int, by_step: bool) -> Any:
        if not by_step:
            return self.sequence.run(chunk, state)
        for name, (shape, _) in self.sequence.inputs.items():
            if self.hop == 1:
                chunk[name] = chunk[name].squeeze(time_axis(shape))
        got, state = self.step.run(chunk, state)
        for name, shape in self.sequence.outputs.items():
            if got[name].ndim < len(shape):
                got[name] = np.expand_dims(got[name], time_axis(shape))
        return got, state


def draw(host: StreamHost, batch: int, hops: int, rng: np.random.Generator) -> Arrays:
    """Return random data for the inputs."""
    arrays: Arrays = {}
    for name, (shape, dtype) in host.sequence.inputs.items():
        sizes = {"batch": batch, "sequence": hops * host.hop}
        drawn = [sizes[size] if isinstance(size, str) else size for size in shape]
        if dtype is np.int64:
            arrays[name] = rng.integers(int(host.sequence.fields[f"limit.{name}"]), size=drawn)
        else:
            arrays[name] = rng.standard_normal(drawn).astype(dtype)
    return arrays


def check_streaming(
    folder: Path,
    eager: Eager,
    hops: int,
    batches: Iterable[int] = (1, 3),
    tolerance: float = 1e-5,
) -> None:
    """Hold the graphs against eager torch: whole, in random chunks, by steps, and by both in turn.

    Args:
        folder: The artifact.
        eager: From the inputs of a whole sequence to the outputs by the names of their ports.
        hops: The length of the sequences.
        batches: How many sequences run side by side, one run for each.
        tolerance: The largest difference, relative to the largest number if that is over 1.

    Raises:
        AssertionError: Numbers or sizes differ.
    """
    host = StreamHost(folder)
    for batch in batches:
        rng = np.random.default_rng(batch)
        data = draw(host, batch, hops, rng)
        with torch.no_grad():
            expected = {name: tensor.numpy() for name, tensor in eager(data).items()}
        assert expected.keys() == host.sequence.outputs.keys()
        cuts = np.sort(rng.choice(np.arange(1, hops), min(4, hops - 1), replace=False))
        chunks = np.diff([0, *cuts, hops]).tolist()
        ways = {
            "whole": host.run(data, [hops]),
            f"chunks {chunks}": host.run(data, chunks),
            "steps": host.run(data, [1] * hops, by_step=True),
            "a chunk and steps": host.run(data, [hops // 2, *[1] * (hops - hops // 2)], True),
        }
        for way, outputs in ways.items():
            for name, got in outputs.items():
                _compare(host, name, got, expected[name], f"{name}, {way}, {batch=}", tolerance)
        _check_end(host, data, hops, expected, tolerance)


def _compare(
    host: StreamHost,
    name: str,
    got: NDArray[Any],
    expected: NDArray[Any],
    where: str,
    tolerance: float,
) -> None:
    """Compare a stream without its undefined frames with the model's output without its tail."""
    graph = host.sequence
    axis = time_axis(graph.outputs[name])
    delay, tail = graph.number("delay", name), graph.number("tail", name)
    known = expected.shape[axis] - tail
    assert got.shape[axis] - delay == known, (
        f"{where}: {got.shape[axis]} frames with a delay of {delay}; "
        f"the model gives {expected.shape[axis]}, with a tail of {tail}"
    )
    got = got.take(range(delay, got.shape[axis]), axis)
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(
        got, expected.take(range(known), axis), rtol=0, atol=tolerance * scale, err_msg=where
    )


def _check_end(
    host: StreamHost, data: Arrays, hops: int, expected: Arrays, tolerance: float
) -> None:
    """Feed padding after the end, where the contract says that this gives the tails exactly."""
    graph = host.sequence
    tails = {name: graph.number("tail", name) for name in graph.outputs}
    padding = {name: graph.fields.get(f"padding.{name}") for name in graph.inputs}
    if not any(tails.values()) or None in padding.values():
        return
    more = hops  # at least as many as any delay
    longer = {}
    for name, array in data.items():
        axis = time_axis(graph.inputs[name][0])
        shape = [more * host.hop if i == axis else size for i, size in enumerate(array.shape)]
        value = np.full(shape, float(padding[name] or 0), array.dtype)
        longer[name] = np.concatenate((array, value), axis)
    for name, got in host.run(longer, [hops, more]).items():
        axis, delay = time_axis(graph.outputs[name]), graph.number("delay", name)
        length = expected[name].shape[axis]
        np.testing.assert_allclose(
            got.take(range(delay, delay + length), axis),
            expected[name],
            rtol=0,
            atol=tolerance * max(1.0, float(np.abs(expected[name]).max())),
            err_msg=f"{name}, with its tail",
        )
