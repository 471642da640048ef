"""What the user says of the inputs of an ONNX file."""

from __future__ import annotations

import numpy as np

from edgernn.errors import InputError
from tests.export.onnx_exports import (
    export,
    refusal,
    shown,
)
from tests.export.onnx_graphs import recurrent, weights, write


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
