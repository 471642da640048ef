"""torch's table of ONNX functions."""

from unittest import mock

import torch
from torch.onnx._internal.exporter._registration import ONNXRegistry

from edgernn.export.call.example_call import ExampleCall
from edgernn.export.trace.trace import trace


def test_it_is_made_once_for_many_exports():
    """The second export in a process takes the table of the first."""
    example = ExampleCall({"input": torch.zeros(2, 3)}, {})
    trace(torch.nn.Linear(3, 4), example)
    with mock.patch.object(ONNXRegistry, "_register", side_effect=AssertionError):
        model = trace(torch.nn.Linear(3, 5), example)
    assert [value.shape for value in model.graph.outputs] == [(2, 5)]
