"""The names in a trace, and what traces share."""

from __future__ import annotations

from unittest import mock

import torch
from torch import nn
from torch.onnx._internal.exporter._registration import ONNXRegistry

from edgernn.export.call.example_call import ExampleCall
from edgernn.export.trace.trace import trace


def test_ports_have_the_paths_of_arguments_and_results() -> None:
    """Also those inside of tuples; a recurrent call is one node with torch's name."""
    example = ExampleCall({"input": torch.zeros(5, 2, 4)}, {"input": ("sequence", "batch", 4)})
    graph = trace(nn.LSTM(4, 3), example).graph
    assert [value.name for value in graph.inputs] == ["input"]
    assert [value.name for value in graph.outputs] == [
        "result:[0]",
        "result:[1][0]",
        "result:[1][1]",
    ]
    calls = [(node.domain, node.op_type) for node in graph if node.domain == "torch"]
    assert calls == [("torch", "lstm")]


def test_torchs_table_of_functions_is_made_once() -> None:
    """The second export in a process takes the table of the first."""
    example = ExampleCall({"input": torch.zeros(2, 3)}, {})
    trace(nn.Linear(3, 4), example)
    with mock.patch.object(ONNXRegistry, "_register", side_effect=AssertionError):
        model = trace(nn.Linear(3, 5), example)
    assert [value.shape for value in model.graph.outputs] == [(2, 5)]
