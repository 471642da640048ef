"""What the user says of the inputs of an ONNX file."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from edgernn.errors import InputError
from tests.nets.onnx_files import X, port, recurrent, weights, write
from tests.nets.torch_onnx import (
    REFERENCE,
    export,
    refusal,
    shown,
)


def test_inputs_that_the_user_gives(tmp_path):
    """Specs and arrays take the place of what the file declares; wrong ones are refused."""
    file = write(tmp_path / "a.onnx", [recurrent("RNN")], weights("RNN"))
    artifact = export(file, inputs=["x:float32[sequence,1,2]"])
    assert shown(artifact)[0] == "x: float32[sequence, 1, 2]"
    artifact = export(file, inputs=(np.zeros((4, 3, 2), np.float32),), force=True)
    assert shown(artifact)[0] == "x: float32[sequence, batch, 2]"
    assert refusal(file, InputError, inputs=["z:float32[batch,2]"], force=True) == (
        f"`z` is not an input of `{file}`, which has `x`."
    )
    message = refusal(file, InputError, inputs=["x:float32[sequence,batch,4]"], force=True)
    assert message == (
        f"`{file}` fails on x:float32[sequence,batch,4]: InputError: it declares `x` as [T,B,2]"
    )


def test_an_input_that_is_always_the_same(tmp_path):
    """An input given with its value, or as a number by name, is no input of the graphs."""
    nodes = [
        helper.make_node("Mul", ["x", "gain"], ["louder"]),
        recurrent("RNN", ("louder", "W", "R", "B")),
    ]
    file = write(tmp_path / "gain.onnx", nodes, weights("RNN"), [X, port("gain", [])])
    assert [one.name for one in export(file).contract.data_inputs("sequence")] == ["x", "gain"]
    for inputs in (["gain:float32[]=2.5"], {"gain": 2.5}):
        artifact = export(file, inputs=inputs, force=True)
        assert shown(artifact)[:2] == [
            "x: float32[sequence, batch, 2]",
            "h_in: float32[1, batch, 3]",
        ]
        assert artifact.parity is not None
        assert artifact.parity.reference == REFERENCE
    both = ["gain:float32[]=2.5", "x:float32[sequence,1,2]"]
    assert shown(export(file, inputs=both, force=True))[0] == "x: float32[sequence, 1, 2]"


def test_constants_that_do_not_fit(tmp_path):
    """A constant is one number of its dtype, of an input of a known size."""
    file = write(tmp_path / "a.onnx", [recurrent("RNN")], weights("RNN"))
    for spec in ("gain:int64[]=2.5", "gain:bool[]=yes", "gain:int64[2]=1", "gain:int64[batch]=1"):
        assert refusal(file, InputError, inputs=[spec]) == (
            f"`{spec}` does not give a constant: one number of the dtype was expected after `=`, "
            "and nothing in the brackets, such as rate:int64[]=16000."
        )
    assert refusal(file, InputError, inputs=["gain:int64[]=1"]) == (
        f"`gain` is not an input of `{file}`, which has `x`."
    )
    assert refusal(file, InputError, inputs=["x:float32[]=1"]) == (
        f"`x` of `{file}` is float32[T,B,2]; only inputs of a known size can be made "
        "constants. Give it as an input."
    )


def test_an_input_that_changes_nothing(tmp_path):
    """A single number that no result depends on is left out, and said so."""
    nodes = [
        helper.make_node("Mul", ["rate", "none"], ["nothing"]),
        helper.make_node("Cast", ["nothing"], ["zero"], to=TensorProto.FLOAT),
        recurrent("RNN"),
        helper.make_node("Add", ["y", "zero"], ["z"]),
    ]
    rate = port("rate", [], TensorProto.INT64)
    file = write(tmp_path / "idle.onnx", nodes, {**weights("RNN"), "none": np.array(0)}, [X, rate])
    artifact = export(file)
    assert [one.name for one in artifact.contract.data_inputs("sequence")] == ["x"]
    assert artifact.contract.notes == ("`rate` is an input that changes nothing: it is left out.",)
