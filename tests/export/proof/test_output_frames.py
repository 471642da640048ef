"""Which frames of a graph and of the model are compared, counted in hops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgernn.contract import Contract, Graph, Port, State
from edgernn.export.proof.output_frames import OutputFrames

OUTPUT = ("batch", "2*(sequence//4)", 3)


def contract(**options: Any) -> Contract:
    """Return a contract with a hop of 4 and two frames per hop, the first three undefined."""
    graph = Graph(
        (Port("x", "float32", ("batch", "sequence")), Port("h_in", "float32", ("batch", 3))),
        (
            Port("output", "float32", OUTPUT),
            Port("last", "float32", ("batch", 3)),
            Port("h_out", "float32", ("batch", 3)),
        ),
    )
    options = {"hop": 4, "delays": {"output": 3}, "tails": {"output": 1}, **options}
    states = (State("h", "h_in", "h_out"),)
    return Contract("f" * 16, "frames", states, True, {"sequence": graph}, **options)


FRAMES = OutputFrames(contract())
GRAPH = {"output": np.arange(2 * 6 * 3.0).reshape(2, 6, 3), "last": np.ones((2, 3))}


def test_hops_until_every_output_has_a_frame():
    """Three of the four frames of two hops are undefined; n hops more have 2 n more."""
    assert FRAMES.first_hops == 2
    assert [FRAMES.steps(hops) for hops in (1, 2, 10)] == [8, 12, 44]
    plain = OutputFrames(contract(delays={}, tails={}))
    assert (plain.first_hops, plain.steps(3)) == (1, 12)
    assert OutputFrames(contract(delays={"output": 3, "last": 4})).first_hops == 5


def test_numbers_of_steps_become_whole_hops():
    """They are rounded up, are enough for a frame, and stay within the bound."""
    assert [FRAMES.whole_hops(steps) for steps in (1, 8, 9, 12)] == [8, 8, 12, 12]
    bounded = OutputFrames(contract(most={"sequence": 15}))
    assert [bounded.whole_hops(steps) for steps in (9, 14, 15)] == [12, 12, 12]


def test_undefined_frames_are_left_out_of_what_a_graph_returns():
    """They are those of the delay, less what was run before; other outputs stay as they are."""
    for before, skipped in ((0, 3), (1, 1), (2, 0)):
        cut = FRAMES.of_graph(GRAPH, before)
        assert np.array_equal(cut["output"], GRAPH["output"][:, skipped:])
        assert cut["last"] is GRAPH["last"]


def test_the_tail_is_left_out_of_what_a_model_returns():
    """A file that takes chunks itself returns the frames of the delay, and no tail."""
    assert np.array_equal(FRAMES.of_reference(GRAPH)["output"], GRAPH["output"][:, :-1])
    in_file = OutputFrames(contract(), undefined_in_reference=True)
    assert np.array_equal(in_file.of_reference(GRAPH)["output"], GRAPH["output"][:, 3:])


def test_nothing_is_left_of_fewer_frames_than_the_delay():
    """A short output has no frame, not fewer than none."""
    short = {"output": GRAPH["output"][:, :2]}
    assert FRAMES.of_graph(short)["output"].shape == (2, 0, 3)


def test_a_recorded_output_has_zeros_for_undefined_frames():
    """So it has the shape that the port declares."""
    recorded = FRAMES.with_delay(FRAMES.of_graph(GRAPH))
    assert recorded["output"].shape == GRAPH["output"].shape
    assert not recorded["output"][:, :3].any()
    assert np.array_equal(recorded["output"][:, 3:], GRAPH["output"][:, 3:])


def test_an_output_of_a_step_gets_its_axis():
    """A hop of one frame has no axis of frames; one of several has it."""
    ports = contract(hop=1, delays={}, tails={})
    graph = ports.graphs["sequence"]
    outputs = (replace(graph.outputs[0], shape=("batch", "sequence", 3)), *graph.outputs[1:])
    frames = OutputFrames(replace(ports, graphs={"sequence": replace(graph, outputs=outputs)}))
    step = np.zeros((2, 3))
    assert frames.with_axis({"output": step})["output"].shape == (2, 1, 3)
    hop = np.zeros((2, 2, 3))
    assert FRAMES.with_axis({"output": hop, "last": step})["output"] is hop


def test_an_axis_that_counts_sequences_too_is_none_of_frames():
    """Its frames cannot be cut off in one piece."""
    ports = contract(hop=1, delays={}, tails={})
    graph = ports.graphs["sequence"]
    outputs = (replace(graph.outputs[0], shape=("batch*sequence", 3)), *graph.outputs[1:])
    frames = OutputFrames(replace(ports, graphs={"sequence": replace(graph, outputs=outputs)}))
    assert frames.axes == {}
