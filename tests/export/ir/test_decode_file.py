"""ONNX files that are not what they say: each broken rule is a sentence of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from edgernn.errors import SourceError
from edgernn.export.ir.decode_file import decode

Model = Any


def port(name: str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [4])


def graph() -> Model:
    """Return y = x + w, w in raw bytes."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4], bytes(16), raw=True)
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    return helper.make_model(helper.make_graph(nodes, "g", [port("x")], [port("y")], [weight]))


def refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(SourceError) as caught:
        decode(path)
    return str(caught.value)


def weight(model: Model) -> Any:
    return model.graph.initializer[0]


def no_dims(model: Model) -> None:
    weight(model).dims[0] = -4


def more_dims(model: Model) -> None:
    weight(model).dims[0] = 2**40


def no_dtype(model: Model) -> None:
    weight(model).data_type = 0


def unknown_dtype(model: Model) -> None:
    weight(model).data_type = 99


def numbers(model: Model) -> None:
    weight(model).ClearField("raw_data")
    weight(model).float_data.extend([1, 2])


def circle(model: Model) -> None:
    model.graph.node.append(helper.make_node("Neg", ["b"], ["a"]))
    model.graph.node.append(helper.make_node("Neg", ["a"], ["b"]))


def undefined_input(model: Model) -> None:
    model.graph.node[0].input[0] = "z"


def no_output(model: Model) -> None:
    del model.graph.output[:]


def undefined_output(model: Model) -> None:
    model.graph.output[0].name = "z"


def function(name: str, calls: list[str]) -> Any:
    nodes = [helper.make_node(call, ["a"], ["b"], domain="own") for call in calls]
    return helper.make_function("own", name, ["a"], ["b"], nodes, [helper.make_opsetid("own", 1)])


def calls_itself(model: Model) -> None:
    model.functions.append(function("F", ["F"]))
    model.graph.node[0].domain, model.graph.node[0].op_type = "own", "F"


def explodes(model: Model) -> None:
    model.functions.extend(function(f"F{n}", [f"F{n + 1}"] * 2) for n in range(40))
    model.graph.node[0].domain, model.graph.node[0].op_type = "own", "F0"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (no_dims, "the tensor `w` has the dims [-4]"),
        (more_dims, "the tensor `w` has 16 bytes; its dims [1099511627776] need 4,398,046,511,104"),
        (no_dtype, "the tensor `w` has no dtype"),
        (unknown_dtype, "the tensor `w` is of dtype 99, which ONNX lacks"),
        (numbers, "the tensor `w` has 2 numbers; its dims [4] need 4"),
        (undefined_input, "its node Add reads `z`, which is not defined"),
        (no_output, "it has no output"),
        (undefined_output, "its output `z` is not defined"),
        (calls_itself, "its function `F` calls itself"),
        (explodes, "its functions have more than 1,000,000 nodes"),
    ],
)
def test_a_graph_that_is_not_whole(
    tmp_path: Path, damage: Callable[[Model], None], reason: str
) -> None:
    """What is inconsistent is named before anything is computed from it."""
    model = graph()
    damage(model)
    path = tmp_path / "m.onnx"
    assert refused(path, model.SerializeToString()) == (
        f"`{path}` is not a whole ONNX graph: {reason}. Save or download it again."
    )


def test_what_is_no_graph(tmp_path: Path) -> None:
    """Bytes of something else, messages in messages and nodes in a circle are no graph."""
    path = tmp_path / "m.onnx"
    message = (
        f"`{path}` is not an ONNX graph: it cannot be decoded as one. Save or download it again."
    )
    circular = graph()
    circle(circular)
    for content in (
        b"\xff" * 100,
        b"\x3a\xff\xff\xff\xff\x07",
        b"\x3b" * 1000,  # groups in groups
        circular.SerializeToString(),
    ):
        assert refused(path, content) == message
    text = graph().SerializeToString().replace(b"Add", b"\xff\xfe\xfd")
    assert refused(path, text) == (
        f"`{path}` is not a whole ONNX graph: a field `op_type` in it is not UTF-8 text. Save or "
        "download it again."
    )


def external(location: str, offset: str = "0", length: str = "16") -> bytes:
    model = graph()
    weight(model).ClearField("raw_data")
    weight(model).data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        weight(model).external_data.append(onnx.StringStringEntryProto(key=key, value=value))
    content: bytes = model.SerializeToString()
    return content


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "outside").write_bytes(bytes(16))
    (folder / "w").write_bytes(bytes(16))
    (folder / "link").symlink_to("../outside")
    return folder


def test_weights_beside_the_graph_are_read(folder: Path) -> None:
    """A file beside the graph is where weights may be; so is one beside what a link leads to."""
    (folder / "m.onnx").write_bytes(external("w"))
    assert decode(folder / "m.onnx").graph.initializers["w"].const_value is not None
    other = folder.parent / "other"
    other.mkdir()
    for name in ("m.onnx", "w"):
        (other / name).symlink_to(folder / name)
    assert decode(other / "m.onnx").graph.initializers["w"].const_value is not None


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("../outside",), "it names `../outside`, which is not a file beside it"),
        (("/etc/passwd",), "it names `/etc/passwd`, which is not a file beside it"),
        (("C:\\x",), "it names `C:\\x`, which is not a file beside it"),
        (("a\\..\\..\\x",), "it names `a\\..\\..\\x`, which is not a file beside it"),
        (("w\0",), "it names `'w\\x00'`, which is not a file beside it"),
        (("",), "it names ``, which is not a file beside it"),
        (("link",), "it names `link`, which is a link to another folder"),
        (("w", "8"), "the tensor `w` ends at byte 24 of `w`, which has 16"),
        (
            ("w", "-8"),
            "the tensor `w` starts or ends at `-8`, which is not a number of bytes",
        ),
        (
            ("w", "9" * 40),
            f"the tensor `w` starts or ends at `{'9' * 40}`, which is not a number of bytes",
        ),
        (("w", "0", "99"), "the tensor `w` has 99 bytes; its dims [4] need 16"),
    ],
)
def test_weights_elsewhere_are_refused(
    folder: Path, arguments: tuple[str, ...], reason: str
) -> None:
    """A graph reads no file but those beside it, and no byte that is not there."""
    path = folder / "m.onnx"
    assert refused(path, external(*arguments)) == (
        f"`{path}` is not a whole ONNX graph: {reason}. Save or download it again."
    )


def test_weights_in_what_is_no_file(folder: Path) -> None:
    """A pipe among the weights is not opened, and weights that are missing are named."""
    os.mkfifo(folder / "pipe")
    path = folder / "m.onnx"
    assert refused(path, external("pipe")) == (
        f"`{path}` keeps its weights in `pipe`, which cannot be read: it is a named pipe, not a "
        "file."
    )
    assert refused(path, external("v")) == (
        f"`{path}` keeps its weights in `v`, which is not beside it. Put both files into one "
        "folder."
    )
