"""Ports, and the names of their axes where these are numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgernn.contract import Contract, Graph, Port, State
from edgernn.errors import ContractError

X = Port("x", "float32", (3, 16, 4), "x").with_axes(("batch", "sequence", None))
H = Port("h_in", "float32", (2, 3, 6)).with_batch()
ROWS = Port("output", "float32", (48, 5), "").with_axes(("batch*sequence", None))
START = np.arange(12, dtype=np.float32).reshape(2, 1, 6)
STATIC = Contract(
    "f00d",
    "demo",
    (State("h", "h_in", "h_out", START),),
    True,
    {
        "sequence": Graph((X, H), (ROWS, replace(H, name="h_out"))),
        "step": Graph(
            (X.without_axis(1), H), (replace(ROWS, shape=(3, 5)), replace(H, name="h_out"))
        ),
    },
)


def test_a_dynamic_axis_is_named_by_its_shape() -> None:
    """Where every named axis is dynamic, nothing more is kept of the names."""
    port = Port("x", "float32", ("batch", "sequence", 4))
    assert port.axes == ("batch", "sequence", None)
    assert port.with_axes(port.axes) == port
    assert (port.axis("sequence"), port.axis("width")) == (1, None)


def test_a_constant_axis_keeps_its_name() -> None:
    """The shape has the number, `axes` the name."""
    assert (X.shape, X.axes) == ((3, 16, 4), ("batch", "sequence", None))
    assert (X.axis("batch"), X.axis("sequence")) == (0, 1)
    assert str(X) == "x: float32[3, 16, 4]"


def test_ports_of_other_sizes() -> None:
    """An axis is made dynamic, removed, or added in front."""
    free = X.with_dynamic_axis("sequence")
    assert (free.shape, free.axes) == ((3, "sequence", 4), ("batch", "sequence", None))
    assert ROWS.with_dynamic_axis("sequence").shape == ("batch*sequence", 5)
    assert X.with_dynamic_axis("sequence").with_dynamic_axis("batch") == Port(
        "x", "float32", ("batch", "sequence", 4), "x"
    )
    step = X.without_axis(1)
    assert (step.shape, step.axes) == ((3, 4), ("batch", None))
    assert step.with_steps().shape == ("sequence", 3, 4)
    assert step.with_steps().axes == ("sequence", "batch", None)


def test_every_axis_has_its_name_or_none() -> None:
    """There must be as many names as axes."""
    with pytest.raises(ContractError) as caught:
        Port("x", "float32", (3, 4), axis_names=("batch",))
    assert str(caught.value) == "`x: float32[3, 4]` has 2 axes, but `axis_names` has 1."


def test_the_constant_sizes() -> None:
    """Constants are those of the batch and of the steps; an axis of both is neither."""
    assert STATIC.constants == {"batch": 3, "sequence": 16}
    assert STATIC.only("step").constants == {"batch": 3}


def test_names_in_the_metadata() -> None:
    """Each port with a named constant axis has a key; without one there is none."""
    table = STATIC.metadata("sequence")
    assert {key: text for key, text in table.items() if key.startswith("edgernn.axes.")} == {
        "edgernn.axes.x": "batch,sequence,",
        "edgernn.axes.h_in": ",batch,",
        "edgernn.axes.output": "batch*sequence,",
        "edgernn.axes.h_out": ",batch,",
    }


def bare(ports: tuple[Port, ...]) -> list[Port]:
    """Return ports as an ONNX file declares them."""
    return [Port(port.name, port.dtype, port.shape) for port in ports]


@pytest.mark.parametrize("kind", ["sequence", "step"])
def test_metadata_gives_the_names_back(kind: str) -> None:
    """A host finds the batch and the steps of a graph of numbers; a learned state has one row."""
    graph = STATIC.graphs[kind]
    table = STATIC.metadata(kind)
    found = Contract.from_metadata(table, bare(graph.inputs), bare(graph.outputs))
    ports = (*graph.inputs, *graph.outputs)
    read = (*found.graphs[kind].inputs, *found.graphs[kind].outputs)
    assert [port.axes for port in read] == [port.axes for port in ports]
    np.testing.assert_array_equal(found.states[0].initial, START)
    assert found.initial(found.states[0], batch=3).shape == (2, 3, 6)


def test_sequences_may_start_each_from_its_own() -> None:
    """A learned state of a constant batch has one row, or one for each sequence."""
    start = np.arange(36, dtype=np.float32).reshape(2, 3, 6)
    graph = STATIC.graphs["step"]
    table = replace(STATIC, states=(State("h", "h_in", "h_out", start),)).metadata("step")
    found = Contract.from_metadata(table, bare(graph.inputs), bare(graph.outputs))
    np.testing.assert_array_equal(found.initial(found.states[0], batch=3), start, strict=True)


def test_json_gives_the_names_back() -> None:
    """contract.json has the name or null of every axis."""
    table = STATIC.to_json()
    assert table["graphs"]["sequence"]["inputs"][0]["axes"] == ["batch", "sequence", None]
    assert Contract.from_json(table).graphs == STATIC.graphs


def test_contracts_of_before_are_read() -> None:
    """Without names, the second of a state's three axes is the constant batch, as in torch."""
    table: dict[str, Any] = STATIC.to_json()
    for graph in table["graphs"].values():
        for port in (*graph["inputs"], *graph["outputs"]):
            del port["axes"]
    found = Contract.from_json(table)
    assert found.graphs["sequence"].input("h_in").axes == (None, "batch", None)
    assert found.graphs["sequence"].input("x").axes == (None, None, None)
    assert found.constants == {"batch": 3}
    flat = {k: v for k, v in STATIC.metadata("step").items() if not k.startswith("edgernn.axes.")}
    graph = STATIC.graphs["step"]
    read = Contract.from_metadata(flat, bare(graph.inputs), bare(graph.outputs))
    assert read.constants == {"batch": 3}


def test_a_state_has_the_same_axes_at_both_ends() -> None:
    """The names of axes are part of the shape."""
    out = Port("h_out", "float32", (2, 3, 6))
    with pytest.raises(ContractError) as caught:
        replace(STATIC, graphs={"step": Graph((X.without_axis(1), H), (out,))})
    assert str(caught.value) == (
        "State `h` of the step graph has the input `h_in: float32[2, 3, 6]` and the output "
        "`h_out: float32[2, 3, 6]`; both must have the same shape and dtype."
    )
