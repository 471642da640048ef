"""What a contract holds, and how it is written and read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgernn.contract import Contract, Graph, Port, State
from edgernn.errors import ContractError
from edgernn.vocabulary import Vocabulary

H = Port("h_in", "float32", (1, "batch", 2))
C = Port("c_in", "float32", (1, "batch", 2))
TOKENS = Port("tokens", "int64", ("batch", "sequence"), "tokens", 3)
OUTPUT = Port("output", "float32", ("batch*sequence", 2), "[0]")
STATES = (
    State("h", "h_in", "h_out"),
    State("c", "c_in", "c_out", np.array([[[0.1, -2.5]]], np.float32)),
)
SEQUENCE = Graph((TOKENS, H, C), (OUTPUT, replace(H, name="h_out"), replace(C, name="c_out")))
STEP = Graph(
    (replace(TOKENS, shape=("batch",)), H, C),
    (replace(OUTPUT, shape=("batch", 2)), replace(H, name="h_out"), replace(C, name="c_out")),
)
CONTRACT = Contract(
    family="f00d",
    source="nn.LSTM in demo.pt",
    states=STATES,
    carry=True,
    graphs={"sequence": SEQUENCE, "step": STEP},
    vocabulary=Vocabulary(("a", "\n", "\\"), unknown=0, padding=2),
    parity="max difference 1e-7",
    notes=("A note.",),
)


def same(one, other):
    """Compare contracts whose states hold arrays."""
    assert replace(one, states=()) == replace(other, states=())
    for state, expected in zip(one.states, other.states, strict=True):
        assert replace(state, initial=None) == replace(expected, initial=None)
        np.testing.assert_array_equal(state.initial, expected.initial)


def refused(call, *arguments, **named):
    with pytest.raises(ContractError) as caught:
        call(*arguments, **named)
    return str(caught.value)


def test_metadata_is_flat_and_exact():
    """Every key and value of the metadata, as a host without a JSON parser reads them."""
    assert CONTRACT.metadata("step") == {
        "edgernn.contract": "1",
        "edgernn.graph": "step",
        "edgernn.states": "h_in:h_out,c_in:c_out",
        "edgernn.carry": "yes",
        "edgernn.family": "f00d",
        "edgernn.source": "nn.LSTM in demo.pt",
        "edgernn.parity": "max difference 1e-7",
        "edgernn.initial.c": "0.100000001 -2.5",
        "edgernn.limit.tokens": "3",
        "edgernn.vocabulary": "a\n\\n\n\\\\",
        "edgernn.vocabulary.unknown": "0",
        "edgernn.vocabulary.padding": "2",
    }


def test_why_there_is_no_step_graph():
    """The reason is a field of contract.json, which older files lack."""
    promise = replace(CONTRACT.only("sequence"), no_step="it runs backwards.")
    same(Contract.from_json(promise.to_json()), promise)
    older = {key: value for key, value in promise.to_json().items() if key != "no_step"}
    assert Contract.from_json(older).no_step == ""


def test_a_step_graph_has_no_reason_why_there_is_none():
    """A contract that has a step graph and says why there is none contradicts itself."""
    assert refused(replace, CONTRACT, no_step="it runs backwards.") == (
        "It has a step graph, and says why there is none."
    )


@pytest.mark.parametrize("kind", ["sequence", "step"])
def test_metadata_and_ports_give_the_contract_back(kind):
    """The metadata and the ports of a file give the same contract, except for notes."""
    graph = CONTRACT.graphs[kind]
    bare = [replace(port, limit=None) for port in graph.inputs]
    found = Contract.from_metadata(CONTRACT.metadata(kind), bare, graph.outputs)
    same(found, replace(CONTRACT.only(kind), notes=()))


def test_nine_digits_give_a_float32_back():
    """A learned initial value survives the decimal text bit for bit."""
    values = np.random.default_rng(0).normal(size=(1, 1, 2)).astype(np.float32) * 1e-20
    promise = replace(CONTRACT, states=(replace(STATES[0], initial=values), STATES[1]))
    found = Contract.from_metadata(promise.metadata("step"), STEP.inputs, STEP.outputs)
    np.testing.assert_array_equal(found.states[0].initial, values, strict=True)


def test_json_gives_the_contract_back():
    """contract.json holds all of it, and says where each port comes from."""
    table = CONTRACT.to_json()
    same(Contract.from_json(table), CONTRACT)
    assert table["graphs"]["sequence"]["inputs"][0] == {
        "name": "tokens",
        "dtype": "int64",
        "shape": ["batch", "sequence"],
        "axes": ["batch", "sequence"],
        "limit": 3,
        "argument": "tokens",
    }
    assert table["graphs"]["sequence"]["outputs"][0]["result"] == "[0]"
    assert table["states"][1] == {
        "name": "c",
        "in": "c_in",
        "out": "c_out",
        "initial": [[[np.float32(0.1), -2.5]]],
    }


def test_a_state_may_count():
    """Integers and truth values keep their values, in the metadata and in contract.json."""
    count, seen = Port("count_in", "int64", ()), Port("seen_in", "bool", ("batch", 1))
    states = (
        State("count", "count_in", "count_out", np.array(1_234_567, np.int64)),
        State("seen", "seen_in", "seen_out", np.array([[True]])),
    )
    outputs = (OUTPUT, replace(count, name="count_out"), replace(seen, name="seen_out"))
    graph = Graph((TOKENS, count, seen), outputs)
    contract = replace(CONTRACT, graphs={"sequence": graph}, states=states, no_step="")
    metadata = contract.metadata("sequence")
    assert metadata["edgernn.initial.count"] == "1234567"
    assert metadata["edgernn.initial.seen"] == "1"
    found = Contract.from_metadata(metadata, graph.inputs, graph.outputs)
    for one in (found, Contract.from_json(contract.to_json())):
        values = [np.asarray(state.initial) for state in one.states]
        assert [value.dtype.name for value in values] == ["int64", "bool"]
        assert values[0] == 1_234_567
        assert values[1].tolist() == [[True]]


def test_calls_may_differ_from_their_parts():
    """Nothing is written where any division into chunks gives the same."""
    assert "edgernn.divisible" not in CONTRACT.metadata("sequence")
    assert "divisible" not in CONTRACT.to_json()
    calls = replace(CONTRACT, divisible=False)
    metadata = calls.metadata("sequence")
    assert metadata["edgernn.divisible"] == "no"
    assert not Contract.from_metadata(metadata, SEQUENCE.inputs, SEQUENCE.outputs).divisible
    assert calls.to_json()["divisible"] is False
    assert not Contract.from_json(calls.to_json()).divisible


def test_full_lengths_are_written_and_read():
    """Full lengths are some of the lengths, in the metadata and in contract.json."""
    lengths = Port("lengths", "int64", ("batch",))
    sequence = replace(SEQUENCE, inputs=(*SEQUENCE.inputs, lengths))
    graphs = {**CONTRACT.graphs, "sequence": sequence}
    full = replace(CONTRACT, graphs=graphs, lengths=("lengths",), full_lengths=("lengths",))
    metadata = full.metadata("sequence")
    assert metadata["edgernn.lengths.full"] == "lengths"
    found = Contract.from_metadata(metadata, sequence.inputs, sequence.outputs)
    assert found.full_lengths == ("lengths",)
    same(Contract.from_json(full.to_json()), full)
    with pytest.raises(ContractError) as caught:
        replace(full, full_lengths=("x",))
    assert str(caught.value) == "It has full lengths in `x`, which is not an input of lengths."


def test_bounds_are_written_and_read():
    """A graph has the bounds of the axes of its inputs; of a port, those of its steps."""
    bounded = replace(CONTRACT, most={"sequence": 64, "batch": 8}, least={"sequence": 3})
    assert (
        bounded.metadata("sequence").items()
        >= {
            "edgernn.most.sequence": "64",
            "edgernn.most.batch": "8",
            "edgernn.least.sequence": "3",
        }.items()
    )
    keys = {key for key in bounded.metadata("step") if "most" in key or "least" in key}
    assert keys == {"edgernn.most.batch"}
    found = Contract.from_metadata(bounded.metadata("sequence"), SEQUENCE.inputs, SEQUENCE.outputs)
    assert (found.most, found.least) == (bounded.most, bounded.least)
    same(Contract.from_json(bounded.to_json()), bounded)
    ports = bounded.to_json()["graphs"]["sequence"]["inputs"]
    assert [(port.get("most"), port.get("least")) for port in ports] == [
        (64, 3),
        (None, None),
        (None, None),
    ]
    assert [bounded.within("sequence", size) for size in (1, 10, 99)] == [3, 10, 64]


def test_bounds_leave_a_size():
    """A lower bound above the upper bound is refused."""
    assert refused(replace, CONTRACT, most={"sequence": 2}, least={"sequence": 3}) == (
        "`sequence` is at least 3 and at most 2; bounds are at least 1, the lower first."
    )


def test_carry_no_is_written_and_read():
    """The value of carry is read back from the metadata and from contract.json."""
    promise = replace(CONTRACT, carry=False)
    assert promise.metadata("step")["edgernn.carry"] == "no"
    found = Contract.from_metadata(promise.metadata("step"), STEP.inputs, STEP.outputs)
    assert not found.carry
    assert not Contract.from_json(promise.to_json()).carry


def test_initial_values_fill_the_batch():
    """Zeros, or the learned value once per sequence, in the port's dtype and contiguous."""
    h, c = (CONTRACT.initial(state, batch=3) for state in STATES)
    np.testing.assert_array_equal(h, np.zeros((1, 3, 2), np.float32), strict=True)
    np.testing.assert_array_equal(c[0], np.array([[0.1, -2.5]] * 3, np.float32), strict=True)
    assert c.flags.c_contiguous
    assert c.flags.writeable


def test_data_ports_are_those_without_states():
    """Data inputs and outputs keep their order and leave the states out."""
    assert CONTRACT.data_inputs("sequence") == (TOKENS,)
    assert CONTRACT.data_outputs("sequence") == (OUTPUT,)


def test_ports_know_their_axes():
    """A port finds an axis by its symbol and prints as name, dtype and axes."""
    assert TOKENS.axis("sequence") == 1
    assert OUTPUT.axis("sequence") is None
    assert str(TOKENS) == "tokens: int64[batch, sequence]"
    with pytest.raises(KeyError):
        SEQUENCE.output("tokens")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"graphs": {"chunk": STEP}}, "`chunk` is not a kind of graph; known are: sequence, step."),
        (
            {"graphs": {"step": replace(STEP, inputs=(*STEP.inputs, H))}},
            "The step graph has two inputs named `h_in`.",
        ),
        (
            {"graphs": {"step": replace(STEP, inputs=STEP.inputs[:2])}},
            "The step graph has no port 'c_in' for a state.",
        ),
        (
            {"graphs": {"step": replace(STEP, inputs=(*STEP.inputs[:2], replace(C, shape=(2,))))}},
            "State `c` of the step graph has the input `c_in: float32[2]` and the output "
            "`c_out: float32[1, batch, 2]`; both must have the same shape and dtype.",
        ),
        (
            {
                "graphs": {
                    "step": Graph(
                        (replace(H, dtype="int32"),), (replace(H, name="h_out", dtype="int32"),)
                    )
                },
                "states": STATES[:1],
            },
            "State `h_in: int32[1, batch, 2]` must be of dtype float32, float16, int64 or bool.",
        ),
        (
            {
                "graphs": {"step": Graph((H, C), (replace(H, name="z"), replace(C, name="y")))},
                "states": (State("h", "h_in", "z"), State("c", "c_in", "y")),
            },
            None,
        ),
        (
            {
                "graphs": {"step": Graph((H, C), (replace(H, name="y"), replace(C, name="z")))},
                "states": (State("h", "h_in", "y"), State("c", "c_in", "z")),
            },
            "The states' inputs and outputs sort by name into different orders: c_in:z, h_in:y",
        ),
    ],
    ids=["kind", "twice", "no-port", "shapes", "dtype", "order-kept", "order-broken"],
)
def test_a_contract_keeps_its_rules(changes, message):
    """A contract that breaks a rule is refused by name when it is made."""
    if message is None:
        assert replace(CONTRACT, **changes).states == changes["states"]
    else:
        assert refused(replace, CONTRACT, **changes) == message


def test_no_metadata_is_no_contract():
    """A graph without metadata has another message than one that is broken."""
    assert refused(Contract.from_metadata, {}, [], [], "`x.onnx`") == (
        "`x.onnx` carries no edgernn contract. Export the model with `edgernn export`."
    )


def test_another_version_is_refused():
    """Both forms of the contract refuse another version with both remedies."""
    message = (
        "`x` is of contract version 2; this edgernn reads version 1. Export the model again, or "
        "install the edgernn that wrote it."
    )
    assert refused(Contract.from_metadata, {"edgernn.contract": "2"}, [], [], "`x`") == message
    assert refused(Contract.from_json, {"contract": "2"}, "`x`") == message


@pytest.mark.parametrize(
    ("key", "text", "reason"),
    [
        ("carry", None, "`carry` is missing"),
        ("carry", "maybe", "`carry` is `maybe`; expected one of yes, no"),
        ("graph", "both", "`graph` is `both`; expected one of sequence, step"),
        ("family", None, "`family` is missing"),
        ("family", "\ud800", "`family` is not UTF-8 text"),
        ("states", "h_in", "`states` is `h_in`; expected pairs, as h_in:h_out,c_in:c_out"),
        ("states", ":", "`states` is `:`; expected pairs, as h_in:h_out,c_in:c_out"),
        ("states", "x:y", "the step graph has no port 'x' for a state"),
        (
            "states",
            "h_in:h_out,h_in:h_out",
            "two of its states share a name: h, h",
        ),
        (
            "limit.tokens",
            "\x1b[2J",
            "`limit.tokens` is `'\\x1b[2J'`; expected an integer of at most 18 digits",
        ),
        (
            "limit.tokens",
            "9" * 400,
            f"`limit.tokens` is `'{'9' * 60}'`; expected an integer of at most 18 digits",
        ),
        (
            "limit.tokens",
            "0",
            "port `tokens` of the step graph takes 0 ids; it must take at least 1",
        ),
        ("limit.tokens", "4", "its vocabulary has 3 symbols, but `tokens` takes 4 ids"),
        ("axes.tokens", "batch,sequence", "`axes.tokens` names 2 axes of `tokens: int64[batch]`"),
        (
            "axes.tokens",
            "other",
            "port `tokens` of the step graph has the dynamic axis `batch` under another name",
        ),
        (
            "initial.c",
            "1 2 3",
            "`initial.c` has 3 numbers; `c_in: float32[1, batch, 2]` starts from 2",
        ),
        (
            "initial.c",
            "1 nan",
            "`initial.c` is `1 nan`; expected finite numbers with one space between them",
        ),
        (
            "initial.c",
            "1  2",
            "`initial.c` is `1  2`; expected finite numbers with one space between them",
        ),
        (
            "vocabulary",
            "a\na\nb",
            "`vocabulary`: The vocabulary has `a` twice, the second time as id 1",
        ),
        (
            "vocabulary.unknown",
            "3",
            "`vocabulary`: The vocabulary's unknown id is 3; it has ids 0 to 2",
        ),
    ],
)
def test_broken_metadata_is_refused(key, text, reason):
    """Metadata that does not parse or does not fit the ports is refused with the reason."""
    table = CONTRACT.metadata("step")
    table.pop(f"edgernn.{key}", None)
    if text is not None:
        table[f"edgernn.{key}"] = text
    assert refused(Contract.from_metadata, table, STEP.inputs, STEP.outputs) == (
        f"The graph has a contract that cannot be read: {reason}. Export the model again."
    )
