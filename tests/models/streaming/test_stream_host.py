"""The host that checks streams accepts a right artifact made by hand, and no wrong one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.models.streaming.stream_host import StreamHost, check_streaming, time_axis

GRAPH = """
<ir_version: 8, opset_import: ["" : 18]>
g (float[batch, {x}2] x, float[batch, {past}, 2] past_in)
=> (float[batch, {y}3] output, float[batch, {past}, 2] past_out)
<int64[1] one = {{1}}, int64[1] from = {{-{past}}}, int64[1] end = {{1000000}}>
{{
    steps = {steps}
    window = Concat<axis=1>(past_in, steps)
    past_out = {next}
    moved = Transpose<perm=[0, 2, 1]>(window)
    y = Conv<strides=[{stride}]>(moved, w)
    frames = Transpose<perm=[0, 2, 1]>(y)
    output = {result}
}}
"""


@dataclass
class Streamed:
    """A convolution in PyTorch and as the two graphs of its stream, made by hand.

    The other attributes are faults.
    """

    kernel: int = 3
    stride: int = 1
    left: int = 2
    right: int = 0
    forgets: bool = False
    late: int = 0
    start: float | None = None
    padding: str | None = "0"
    step_factor: float = 1

    def __post_init__(self) -> None:
        self.conv = nn.Conv1d(2, 3, self.kernel, stride=self.stride, bias=False)
        self.past = self.kernel - self.stride
        assert (self.past - self.left) % self.stride == 0

    def eager(self, data):
        x = torch.from_numpy(data["x"]).transpose(1, 2)
        return {"output": self.conv(F.pad(x, (self.left, self.right))).transpose(1, 2)}

    def write(self, folder: Path) -> Path:
        for kind in ("sequence", "step"):
            model = onnx.parser.parse_model(self._text(kind == "step"))
            weight = self.conv.weight.detach().numpy()
            weight = weight * (self.step_factor if kind == "step" else 1)
            model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
            onnx.helper.set_model_props(model, self._fields())
            onnx.checker.check_model(model)
            onnx.save(model, folder / f"{kind}.onnx")
        return folder

    def _text(self, step: bool) -> str:
        hops = "sequence" if self.stride == 1 else f"(sequence//{self.stride})"
        single = step and self.stride == 1
        return GRAPH.format(
            x="" if single else f"{self.stride}, " if step else "sequence, ",
            y="" if step else f'"{hops}", ',
            past=self.past,
            stride=self.stride,
            steps="Unsqueeze(x, one)" if single else "Identity(x)",
            next="Identity(past_in)" if self.forgets else "Slice(window, from, end, one)",
            result="Squeeze(frames, one)" if step else "Identity(frames)",
        )

    def _fields(self) -> dict[str, str]:
        delay = (self.past - self.left) // self.stride
        tail = self.right // self.stride
        fields = {"hop": str(self.stride), "states": "past_in:past_out"}
        if delay + self.late:
            fields["delay.output"] = str(delay + self.late)
        if tail:
            fields["tail.output"] = str(tail)
        if self.padding is not None:
            fields["padding.x"] = self.padding
        if self.start is not None:
            fields["initial.past"] = " ".join([str(self.start)] * 2 * self.past)
        return {f"edgernn.{key}": text for key, text in fields.items()}


RIGHT = {
    "padded on the left": Streamed(),
    "with a stride": Streamed(kernel=5, stride=2, left=3),
    "not padded": Streamed(kernel=4, left=0),
    "not padded, with a stride": Streamed(kernel=9, stride=3, left=0),
    "padded on both sides": Streamed(kernel=5, left=2, right=2),
    "padded on both sides, the end not exact": Streamed(left=1, right=1, padding=None),
    "padded on the right": Streamed(kernel=4, left=0, right=3),
}

WRONG = {
    "a context that stays": (Streamed(forgets=True), "chunks"),
    "another delay": (Streamed(left=0, late=1), "10 frames with a delay of 3; the model gives 8"),
    "a context that starts elsewhere": (Streamed(start=1), "output, whole"),
    "padding of another value": (Streamed(left=1, right=1, padding="1"), "with its tail"),
    "another step graph": (Streamed(step_factor=1.01), "output, steps"),
}


@pytest.mark.parametrize("streamed", RIGHT.values(), ids=RIGHT.keys())
def test_a_right_stream_passes(streamed: Streamed, tmp_path: Path) -> None:
    """Whole, chunks and steps of a convolution with its context are what PyTorch gives."""
    check_streaming(streamed.write(tmp_path), streamed.eager, hops=10)


@pytest.mark.parametrize(("streamed", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_stream_fails(streamed: Streamed, message: str, tmp_path: Path) -> None:
    """A fault in a graph or in its metadata is found where it shows."""
    with pytest.raises(AssertionError, match=message):
        check_streaming(streamed.write(tmp_path), streamed.eager, hops=10)


def test_frames_are_joined_in_their_order(tmp_path: Path) -> None:
    """Chunks of two hops and one hop give the frames of the whole, undefined ones included."""
    host = StreamHost(Streamed(kernel=5, stride=2, left=3).write(tmp_path))
    x = {"x": np.random.default_rng(0).standard_normal((1, 6, 2), np.float32)}
    whole = host.run(x, [3])["output"]
    assert whole.shape == (1, 3, 3)
    np.testing.assert_allclose(host.run(x, [2, 1])["output"], whole, atol=1e-6)
    assert time_axis(host.sequence.outputs["output"]) == 1
