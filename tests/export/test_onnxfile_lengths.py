"""Lengths of sequences in ONNX files that somebody else made."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from tests.export.onnx_exports import (
    export,
    refusal,
)
from tests.export.onnx_graphs import X, port, recurrent, weights, write


def test_lengths(tmp_path):
    """`sequence_lens` from the input or short of the end is refused; a full one is dropped."""
    node = recurrent("GRU", ("x", "W", "R", "B", "lens"))
    file = write(
        tmp_path / "l.onnx",
        [node],
        weights("GRU"),
        [X, port("lens", ["B"], TensorProto.INT32)],
    )
    assert refusal(file) == (
        f"GRU `rec` in `{file}` takes the lengths of its sequences from the input (sequence_lens, "
        "`lens`), which several runtimes ignore. Export the model without lengths, or export the "
        "torch model, whose packed sequences are written in operators that every runtime has."
    )
    fixed = port("x", [4, 2, 2])
    short = {**weights("GRU"), "lens": np.array([4, 3], np.int32)}
    write(file, [node], short, [fixed])
    assert refusal(file) == (
        f"GRU `rec` in `{file}` ends its sequences at the constant lengths 4, 3 (sequence_lens) "
        "of 4 steps. Cut the input to that length and export the model without lengths."
    )
    full = {**weights("GRU"), "lens": np.array([4, 4], np.int32)}
    write(file, [node], full, [fixed])
    written = onnx.load(str(export(file).sequence))
    assert [one.input[4] for one in written.graph.node] == [""]
