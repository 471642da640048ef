"""Every option of the contract for every kind of ONNX file: written and proven, or refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from edgernn.errors import EdgernnError
from tests.nets.onnx_files import X, detector, port, recurrent, weights, write
from tests.nets.torch_onnx import Carrier, export, from_torch

LENS = port("lens", ["B"], TensorProto.INT32)
IDS = port("ids", ["T", "B"], TensorProto.INT64)


def stack(path: Path) -> Path:
    h = torch.zeros(2, 2, 5)
    return from_torch(
        path,
        Carrier(),
        (torch.randn(5, 2, 6), h, h.clone()),
        dynamo=False,
        input_names=["x", "h0", "c0"],
        output_names=["y", "hn", "cn"],
        dynamic_axes={"x": {0: "t", 1: "b"}, "h0": {1: "b"}, "c0": {1: "b"}},
    )


def ids(path: Path) -> Path:
    table = np.random.default_rng(1).standard_normal((7, 2)).astype(np.float32)
    nodes = [helper.make_node("Gather", ["table", "ids"], ["x"]), recurrent("LSTM")]
    return write(path, nodes, {**weights("LSTM"), "table": table}, [IDS])


def ended(path: Path) -> Path:
    return write(
        path, [recurrent("LSTM", ("x", "W", "R", "B", "lens"))], weights("LSTM"), [X, LENS]
    )


def both(path: Path) -> Path:
    return write(path, [recurrent("GRU", direction="bidirectional")], weights("GRU", 2))


FILES = {
    "stack": stack,  # h and c of two layers as inputs, one tensor each
    "ids": ids,  # states that the file makes itself, ids as the input
    "ended": ended,  # sequences that end at lengths
    "both": both,  # no step
    "step": lambda path: detector(path, False),  # one step, h and c in one tensor
}

OPTIONS: Mapping[str, dict[str, Any]] = {
    "opset13": {"opset": 13},
    "opset21": {"opset": 21},
    "float16": {"precision": "float16"},
    "int8": {"precision": "int8"},
    "batch-major": {"state_layout": "batch-major"},
    "per-layer": {"state_per_layer": True},
    "reset": {"reset": True},
    "int32-ids": {"int32_ids": True},
    "batch": {"batch_size": 2},
    "lengths": {"lengths": True},
    "several": {"precision": "float16", "state_per_layer": True, "reset": True},
}

PLAIN = {
    "stack": [
        "x: float32[sequence, batch, 6]",
        "h_in: float32[2, batch, 5]",
        "c_in: float32[2, batch, 5]",
    ],
    "ids": [
        "ids: int64[sequence, batch]",
        "h_in: float32[1, batch, 3]",
        "c_in: float32[1, batch, 3]",
    ],
    "ended": [
        "x: float32[sequence, batch, 2]",
        "lens: int32[batch]",
        "h_in: float32[1, batch, 3]",
        "c_in: float32[1, batch, 3]",
    ],
    "both": ["x: float32[sequence, batch, 2]", "h_in: float32[2, batch, 3]"],
    "step": ["x: float32[batch, sequence, 64]", "state_in: float32[2, batch, 4]"],
}

# (file, option) → the inputs where they are not what replacing words in the plain ones gives
OWN = {
    ("stack", "per-layer"): [
        "x: float32[sequence, batch, 6]",
        *(f"{state}_l{layer}_in: float32[1, batch, 5]" for layer in (0, 1) for state in "hc"),
    ],
    ("stack", "several"): [
        "x: float16[sequence, batch, 6]",
        "reset: bool[batch]",
        *(f"{state}_l{layer}_in: float16[1, batch, 5]" for layer in (0, 1) for state in "hc"),
    ],
}

REFUSED = {
    ("step", "lengths"): "`{file}` is one step, which cannot end at the lengths of sequences that "
    "`lengths` gives. Export it without lengths.",
}


def expected(file: str, option: str) -> list[str]:
    """Return the inputs of the sequence graph as the option asks for them."""
    if (file, option) in OWN:
        return OWN[file, option]
    inputs = [*PLAIN[file]]
    data = sum("_in:" not in one for one in inputs)
    asked = OPTIONS[option]
    if asked.get("reset"):
        inputs.insert(data, "reset: bool[batch]")
    if asked.get("lengths") and file != "ended":
        inputs.insert(data, "lengths: int64[batch]")
    if asked.get("precision") == "float16":
        inputs = [one.replace("float32", "float16") for one in inputs]
    if asked.get("int32_ids"):
        inputs = [one.replace("int64", "int32") for one in inputs]
    if "state_layout" in asked:
        swap = {f"[{layers}, batch": f"[batch, {layers}" for layers in (1, 2)}
        for old, new in swap.items():
            inputs = [one.replace(old, new) for one in inputs]
    if "batch_size" in asked:
        inputs = [one.replace("batch", "2") for one in inputs]
    return inputs


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("file", FILES)
def test_an_option_for_an_onnx_file(tmp_path, file, option):
    """The graphs have the ports that the option asks for, and are proven against the file."""
    path = FILES[file](tmp_path / f"{file}.onnx")
    if (file, option) in REFUSED:
        with pytest.raises(EdgernnError) as info:
            export(path, **OPTIONS[option])
        assert str(info.value) == REFUSED[file, option].format(file=path)
        return
    artifact = export(path, **OPTIONS[option])
    inputs = [str(one) for one in artifact.contract.graphs["sequence"].inputs]
    assert inputs == expected(file, option)
    assert artifact.parity is not None
    assert artifact.parity.passed
    assert ("step" in artifact.contract.graphs) == (file != "both")
    version = OPTIONS[option].get("opset", 18)
    for kind in artifact.contract.graphs:
        (imported,) = onnx.load(str(artifact.path / f"{kind}.onnx")).opset_import
        assert imported.version == version
