"""Hop, delays, tails, padding and sample rate: written, read, and refused where they do not fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgernn.contract import Contract, Graph, Port, State
from edgernn.errors import ContractError
from edgernn.streaming_rules import over_chunks, steps_per_hop

HOP = 160
STATES = (
    State("h", "h_in", "h_out"),
    State("position", "position_in", "position_out"),
    State("wave_context", "wave_context_in", "wave_context_out"),
)
STATE_PORTS = (
    Port("h_in", "float32", (1, "batch", 8)),
    Port("position_in", "int64", ("batch",)),
    Port("wave_context_in", "float32", ("batch", 1, 240)),
)
STATE_OUTPUTS = tuple(replace(port, name=port.name.replace("_in", "_out")) for port in STATE_PORTS)
SEQUENCE = Graph(
    (
        Port("wave", "float32", ("batch", "sequence"), "wave"),
        Port("speaker", "float32", ("batch", 4), "speaker"),
        *STATE_PORTS,
    ),
    (
        Port("scores", "float32", ("batch", "sequence//160", 3), "[0]"),
        Port("subframes", "float32", ("batch", 2, "3*(sequence//160)"), "[1]"),
        Port("denoised", "float32", ("batch", "160*(sequence//160)"), "[2]"),
        Port("last", "float32", ("batch", 5), "[3]"),
        *STATE_OUTPUTS,
    ),
)
STEP = Graph(
    (
        Port("wave", "float32", ("batch", 160), "wave"),
        Port("speaker", "float32", ("batch", 4), "speaker"),
        *STATE_PORTS,
    ),
    (
        Port("scores", "float32", ("batch", 3), "[0]"),
        Port("subframes", "float32", ("batch", 2, 3), "[1]"),
        Port("denoised", "float32", ("batch", 160), "[2]"),
        Port("last", "float32", ("batch", 5), "[3]"),
        *STATE_OUTPUTS,
    ),
)
CONTRACT = Contract(
    family="f00d",
    source="nn.Module VoiceDetector",
    states=STATES,
    carry=True,
    graphs={"sequence": SEQUENCE, "step": STEP},
    hop=HOP,
    delays={"scores": 2, "denoised": 240},
    tails={"scores": 1},
    padding={"wave": -0.25},
    sample_rate=16000.0,
)


def refused(**changes: Any) -> str:
    with pytest.raises(ContractError) as caught:
        replace(CONTRACT, **changes)
    return str(caught.value)


def with_port(kind: str, port: Port) -> dict[str, Graph]:
    """Return both graphs with one port replaced by its name."""
    graph = CONTRACT.graphs[kind]
    inputs = tuple(port if port.name == old.name else old for old in graph.inputs)
    outputs = tuple(port if port.name == old.name else old for old in graph.outputs)
    return {**CONTRACT.graphs, kind: Graph(inputs, outputs)}


def test_metadata_has_a_key_for_each() -> None:
    """Flat keys, and the axes of the step graph that hold a hop."""
    assert CONTRACT.metadata("step") == {
        "edgernn.contract": "1",
        "edgernn.graph": "step",
        "edgernn.states": "h_in:h_out,position_in:position_out,wave_context_in:wave_context_out",
        "edgernn.carry": "yes",
        "edgernn.family": "f00d",
        "edgernn.source": "nn.Module VoiceDetector",
        "edgernn.parity": "",
        "edgernn.hop": "160",
        "edgernn.delay.scores": "2",
        "edgernn.delay.denoised": "240",
        "edgernn.tail.scores": "1",
        "edgernn.padding.wave": "-0.25",
        "edgernn.sample_rate": "16000",
        "edgernn.axes.wave": "batch,hop",
        "edgernn.axes.subframes": "batch,,hop",
        "edgernn.axes.denoised": "batch,hop",
    }


@pytest.mark.parametrize("kind", ["sequence", "step"])
def test_metadata_and_ports_give_the_contract_back(kind: str) -> None:
    """A graph alone carries all of it, also the steps per hop of its outputs."""
    graph = CONTRACT.graphs[kind]
    found = Contract.from_metadata(CONTRACT.metadata(kind), graph.inputs, graph.outputs)
    assert found == CONTRACT.only(kind)
    assert [found.steps_per_hop(port.name) for port in found.data_outputs(kind)] == [1, 3, 160, 1]


def test_json_gives_the_contract_back() -> None:
    """contract.json has the fields under their own names."""
    table = CONTRACT.to_json()
    assert Contract.from_json(table) == CONTRACT
    assert {key: table[key] for key in ("hop", "delays", "tails", "padding", "sample_rate")} == {
        "hop": 160,
        "delays": {"scores": 2, "denoised": 240},
        "tails": {"scores": 1},
        "padding": {"wave": -0.25},
        "sample_rate": 16000.0,
    }


def test_a_contract_without_them_has_no_key() -> None:
    """A model that remembers only h has the metadata and the JSON that it had before."""
    graphs = {
        "sequence": Graph(SEQUENCE.inputs, STATE_OUTPUTS),
        "step": Graph((Port("wave", "float32", ("batch",)), *STEP.inputs[1:]), STATE_OUTPUTS),
    }
    plain = replace(
        CONTRACT, graphs=graphs, hop=1, delays={}, tails={}, padding={}, sample_rate=None
    )
    names = {"hop", "delays", "tails", "padding", "sample_rate"}
    assert not names & plain.to_json().keys()
    keys = {key.split(".")[1] for key in plain.metadata("step")}
    assert not {"hop", "delay", "tail", "padding", "sample_rate", "axes"} & keys
    assert Contract.from_json(plain.to_json()) == plain


def test_facts() -> None:
    """Hop and delays are shown in steps, and in ms where the sample rate is known."""
    lines = repr(CONTRACT).splitlines()
    assert lines[10:16] == [
        "rate    16,000 steps of the input per second",
        "hop     160 steps (10 ms) of the input per call",
        "delay   scores comes 2 steps (20 ms) later",
        "delay   denoised comes 240 steps (15 ms) later",
        "tail    last 1 step (10 ms) of scores, given at the end of a stream",
        "memory  1,000 bytes of state per sequence",
    ]
    lines = repr(replace(CONTRACT, sample_rate=None, padding={})).splitlines()
    assert lines[10:14] == [
        "hop     160 steps of the input per call",
        "delay   scores comes 2 steps later",
        "delay   denoised comes 240 steps later",
        "tail    last 1 step of scores, not in a stream",
    ]


def test_the_end_of_positions_is_shown() -> None:
    """A limit of a state is how long one sequence may be."""
    graphs = with_port("sequence", replace(STATE_PORTS[1], limit=50))
    lines = repr(replace(CONTRACT, graphs=graphs)).splitlines()
    assert lines[12] == "positions  at most 50 hops in one sequence, which position_in counts"


def test_times_and_missing_steps() -> None:
    """Times are known with a sample rate; tails are missing where padding is not exact."""
    assert CONTRACT.seconds(480) == 0.03
    assert CONTRACT.seconds(3, "subframes") == 0.01
    assert replace(CONTRACT, sample_rate=None).seconds(480) is None
    assert CONTRACT.missing == {}
    assert replace(CONTRACT, padding={}).missing == {"scores": 1}


@pytest.mark.parametrize(
    ("axis", "hop", "steps"),
    [
        ("sequence", 1, 1),
        ("sequence", 4, 4),
        ("sequence//4", 4, 1),
        ("sequence//2", 4, 2),
        ("3*(sequence//4)", 4, 3),
        ("batch*(sequence//4)", 4, 1),
        ("2*sequence", 1, 2),
        ("sequence//4 + 1", 4, None),
        ("sequence//3", 4, None),
        ("sequence//8", 4, None),
        ("sequence//0", 4, None),
        ("-sequence", 4, None),
        ("sequence*width", 4, None),
    ],
)
def test_steps_per_hop(axis: str, hop: int, steps: int | None) -> None:
    """The steps of an output for each hop follow from its symbolic size, or there is none."""
    assert steps_per_hop(Port("y", "float32", ("batch", axis)), hop) == steps


@pytest.mark.parametrize(
    ("port", "hop", "is_output", "expected"),
    [
        (STEP.inputs[0], 160, False, ("batch", "sequence")),
        (STEP.inputs[1], 160, False, ("batch", 4)),
        (STEP.outputs[0], 160, True, ("sequence//160", "batch", 3)),
        (CONTRACT.graphs["step"].outputs[1], 160, True, ("batch", 2, "3*(sequence//160)")),
        (CONTRACT.graphs["step"].outputs[2], 160, True, ("batch", "sequence")),
        (Port("x", "float32", ("batch", 4)), 1, False, ("sequence", "batch", 4)),
        (
            Port("y", "float32", ("batch", 2), axis_names=("batch", "hop")),
            1,
            True,
            ("batch", "2*sequence"),
        ),
    ],
)
def test_a_chunk_for_a_step_graph_alone(
    port: Port, hop: int, is_output: bool, expected: tuple[int | str, ...]
) -> None:
    """The axis of steps is in the place of a hop, else in front; some inputs have no steps."""
    named = port.with_axes(("batch", "hop")) if port is STEP.inputs[0] else port
    chunk = over_chunks(named, hop, is_output)
    assert chunk.shape == expected
    assert chunk.axes == tuple(size if isinstance(size, str) else None for size in expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hop": 0}, "The hop is 0; it must be from 1 to 2147483647."),
        (
            {"delays": {"scores": 0}},
            "The delay of `scores` is 0; where it is given, it is from 1 to 2147483647.",
        ),
        (
            {"tails": {"wave": 1}},
            "It has a tail of `wave`, which is not a data output of the sequence graph.",
        ),
        (
            {"delays": {"h_out": 1}},
            "It has a delay of `h_out`, which is not a data output of the sequence graph.",
        ),
        (
            {"tails": {"scores": 2**31 - 1}},
            "Its tails take 343597383520 steps of padding; at most 1073741824 are read.",
        ),
        (
            {"tails": {"scores": 2, "last": 1}},
            "Output `last: float32[batch, 5]` of the sequence graph has only its last step, and a "
            "tail of 1; the longest tail is 2, and both must be equal.",
        ),
        (
            {"graphs": with_port("step", Port("wave", "float32", ("batch", "hop"), "wave"))},
            "Input `wave: float32[batch, hop]` of the step graph has hop steps; expected 160.",
        ),
        (
            {"padding": {"wave": 0.0, "speaker": 0.0}},
            "It has padding of `speaker`, which is not a data input with an axis of steps.",
        ),
        (
            {"padding": {"speaker": 0.0}},
            "It has padding of `speaker`, and none of `wave: float32[batch, sequence]`; either all "
            "inputs with an axis of steps have it or none.",
        ),
        (
            {"padding": {"wave": float("inf")}},
            "The padding of `wave: float32[batch, sequence]` is inf; expected a finite number.",
        ),
        (
            {"sample_rate": 0.0},
            "The sample rate is 0.0; it must be a finite number above 0.",
        ),
        (
            {"carry": False},
            "It has a hop, a delay, a tail or padding, but its state is not carried over any "
            "division into chunks.",
        ),
        (
            {"hop": 80},
            "Output `scores: float32[batch, sequence//160, 3]` of the sequence graph has an axis "
            "that is not a number of steps for each hop of the input.",
        ),
        (
            {"hop": 320},
            "Input `wave: float32[batch, 160]` of the step graph has 160 steps; expected 320.",
        ),
        (
            {"graphs": {"step": STEP}},
            "The hop is 160, but no data input of the step graph has an axis `hop`.",
        ),
        (
            {"graphs": with_port("step", Port("wave", "float32", ("batch",)))},
            "The hop is 160, but no data input of the step graph has an axis `hop`.",
        ),
        (
            {"graphs": with_port("step", Port("scores", "float32", ("batch", 1, 3)))},
            "`scores: float32[batch, 1, 3]` of the step graph does not hold one hop of `scores: "
            "float32[batch, sequence//160, 3]` of the sequence graph; expected [batch, 3].",
        ),
        (
            {"graphs": with_port("step", Port("subframes", "float32", ("batch", 2, 4)))},
            "`subframes: float32[batch, 2, 4]` of the step graph does not hold one hop of "
            "`subframes: float32[batch, 2, 3*(sequence//160)]` of the sequence graph; expected "
            "[batch, 2, 3].",
        ),
        (
            {
                "graphs": with_port(
                    "sequence",
                    Port("wave", "float32", ("batch", 400), axis_names=("batch", "sequence")),
                )
            },
            "Input `wave: float32[batch, 400]` of the sequence graph has 400 steps; expected a "
            "multiple of the hop, 160.",
        ),
        (
            {"graphs": with_port("sequence", Port("speaker", "float32", ("batch", "hop")))},
            "`speaker: float32[batch, hop]` of the sequence graph has an axis `hop`, which is the "
            "name of one axis of the step graph's ports where a hop has more than one step.",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    """The message names the port, what it has and what was expected."""
    assert refused(**changes) == message


def test_padding_of_ids() -> None:
    """The padding of ids is an id."""
    ids = Port("wave", "int64", ("batch", "sequence"), limit=5)
    graphs = {"sequence": with_port("sequence", ids)["sequence"]}
    assert replace(CONTRACT, graphs=graphs, padding={"wave": 4.0}).padding == {"wave": 4.0}
    assert refused(graphs=graphs, padding={"wave": 5.0}) == (
        "The padding of `wave: int64[batch, sequence]` is 5.0; it must be an id from 0 to 4."
    )
    assert refused(graphs=graphs, padding={"wave": 0.5}) == (
        "The padding of `wave: int64[batch, sequence]` is 0.5; expected a finite number."
    )


@pytest.mark.parametrize(
    ("key", "text", "reason"),
    [
        ("hop", "0", "the hop is 0; it must be from 1 to 2147483647"),
        ("hop", "-1", "`hop` is `-1`; expected an integer of at most 18 digits"),
        ("hop", "1.5", "`hop` is `1.5`; expected an integer of at most 18 digits"),
        (
            "hop",
            "161",
            "output `scores: float32[batch, sequence//160, 3]` of the sequence graph has an axis "
            "that is not a number of steps for each hop of the input",
        ),
        (
            "delay.nothing",
            "1",
            "it has a delay of `nothing`, which is not a data output of the sequence graph",
        ),
        ("padding.wave", "nan", "`padding.wave` is `nan`; expected a finite number"),
        ("padding.wave", "1e999", "`padding.wave` is `1e999`; expected a finite number"),
        ("padding.wave", "zero", "`padding.wave` is `zero`; expected a finite number"),
        ("sample_rate", "-1", "the sample rate is -1.0; it must be a finite number above 0"),
    ],
)
def test_hostile_metadata_is_refused(key: str, text: str, reason: str) -> None:
    """A broken value is refused by its key before anything runs."""
    metadata = {**CONTRACT.metadata("sequence"), f"edgernn.{key}": text}
    with pytest.raises(ContractError) as caught:
        Contract.from_metadata(metadata, SEQUENCE.inputs, SEQUENCE.outputs)
    assert str(caught.value) == (
        f"The graph has a contract that cannot be read: {reason}. Export the model again."
    )


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("hop", 0, "`hop` is `0`; expected an integer from 1 to 2147483647"),
        ("hop", True, "`hop` is `true`; expected an integer from 1 to 2147483647"),
        ("delays", {"scores": -1}, "`delays.scores` is `-1`; expected an integer from 0 to"),
        ("tails", [1], "`tails` is an array of 1; expected an object"),
        ("padding", {"wave": None}, "`padding.wave` is `null`; expected a finite number"),
        ("padding", {"wave": 10**400}, "`padding.wave` is an integer of more than 63 bits;"),
        ("sample_rate", "16000", "`sample_rate` is `16000`; expected a finite number of at least"),
    ],
)
def test_hostile_json_is_refused(key: str, value: Any, reason: str) -> None:
    """A value of another type is refused by its path."""
    with pytest.raises(ContractError) as caught:
        Contract.from_json({**CONTRACT.to_json(), key: value})
    assert str(caught.value).startswith(
        f"The artifact has a contract that cannot be read: {reason}"
    )
