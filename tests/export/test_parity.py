"""The checks of the gate, one at a time, on a model that adds up what it is given.

That graphs which are wrong are refused is in `tests/parity/test_gate`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgernn.contract import Contract, Graph, Port, State
from edgernn.errors import ParityError
from edgernn.export.proof.dialect import Dialect
from edgernn.export.proof.eager import Outcome
from edgernn.export.proof.parity import DRIFT_STEPS, TOLERANCE, Prover
from edgernn.report import Check, ParityReport

Arrays = dict[str, Any]

WIDTH = 2
X = ("batch", "sequence", WIDTH)
H = ("batch", WIDTH)
TRACED = (2, 4)


def running_sum(x: Any, h: Any) -> tuple[Any, Any]:
    """The model: each output is the state before and all inputs so far; the last is the state."""
    y = h[:, None] + np.cumsum(x, 1, dtype=x.dtype)
    return y, y[:, -1]


@dataclass
class Reference:
    """A function of x and h as a reference; notes the inputs that it was given."""

    function: Callable[[Any, Any], tuple[Any, Any]] = running_sum
    exact: bool = False
    name = "the sum"
    takes_states = False

    def __post_init__(self) -> None:
        self.inputs: list[Arrays] = []

    def double(self) -> Reference:
        return Reference(self.function, exact=True)

    def __call__(self, inputs: Mapping[str, Any], states: Mapping[str, Any] | None) -> Outcome:
        self.inputs.append(dict(inputs))
        x = inputs["x"]
        h = np.zeros((len(x), WIDTH), x.dtype) if states is None else states["h"]
        if self.exact:
            x, h = x.astype(np.float64), h.astype(np.float64)
        y, h = self.function(x, h)
        return Outcome({"": y}, {"h": h})


def contract(
    x: tuple[int | str, ...] = X, y: tuple[int | str, ...] = X, **options: Any
) -> Contract:
    h = H if "batch" in x else (1, WIDTH)
    states = Port("h_in", "float32", h), Port("h_out", "float32", h)
    graph = Graph(
        (Port("x", "float32", x, "x"), *options.pop("inputs", ()), states[0]),
        (Port("output", "float32", y, ""), states[1]),
    )
    options = {"carry": True, "states": (State("h", "h_in", "h_out"),), **options}
    return Contract("f" * 16, "a sum", graphs={"sequence": graph}, **options)


def prover(function: Any = running_sum, ports: Contract | None = None, **options: Any) -> Prover:
    ports = ports or contract()
    data = ports.data_inputs("sequence")
    examples = {port.name: np.ones([2] * len(port.shape), port.dtype) for port in data}
    return Prover(ports, Reference(function), examples, {}, TRACED, **options)


SUMS = """
    long = CumSum(x, one)
    start = Unsqueeze(h_in, one)
    output = Add(start, long)
    end = Gather<axis=1>(output, last)
    h_out = Squeeze(end, one)"""


def write(folder: Path, ports: Contract, body: str = SUMS, kind: str = "sequence") -> str:
    """Write a graph of the contract's ports, or of one step; return its file."""
    steps = [
        tuple(size for size in port.shape if kind == "sequence" or size != "sequence")
        for port in (*ports.graphs["sequence"].inputs, *ports.graphs["sequence"].outputs)
    ]
    names = [p.name for p in (*ports.graphs["sequence"].inputs, *ports.graphs["sequence"].outputs)]
    declared = [
        f"float[{', '.join(map(str, shape))}] {name}"
        for name, shape in zip(names, steps, strict=True)
    ]
    count = len(ports.graphs["sequence"].inputs)
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 18]> g ({", ".join(declared[:count])}) => '
        f"({', '.join(declared[count:])}) <int64[1] one = {{1}}, int64[1] last = {{-1}}> "
        f"{{ {body} }}"
    )
    file = folder / f"{kind}.onnx"
    onnx.save(model, str(file))
    return str(file)


def both(ports: Contract) -> Contract:
    """Return the contract of both graphs."""

    def without(port: Port) -> Port:
        return replace(port, shape=tuple(size for size in port.shape if size != "sequence"))

    graph = ports.graphs["sequence"]
    step = Graph(tuple(map(without, graph.inputs)), tuple(map(without, graph.outputs)))
    return replace(ports, graphs={"sequence": graph, "step": step})


STEP = "output = Add(x, h_in) h_out = Identity(output)"


def report(folder: Path, prover: Prover, step: str | None = STEP) -> ParityReport:
    """Run all checks on the graphs of the sum."""
    graphs = {"sequence": write(folder, prover.contract)}
    written = prover.contract
    if step is not None:
        graphs["step"] = write(folder, prover.contract, step, "step")
        written = both(prover.contract)
    return prover.report(graphs, "the sum", Dialect(prover.contract, written))


def sizes(report: ParityReport, name: str) -> list[tuple[int, int]]:
    return [(c.batch, c.sequence) for c in report.checks if c.name == name]


# --- which checks are made ------------------------------------------------------------------------


def test_every_form_is_checked_at_sizes_that_were_not_traced(tmp_path):
    """Whole at the traced size and eight others, from zeros and from a random state; in parts."""
    found = report(tmp_path, prover())
    others = [(1, 1), (2, 3), (3, 1), (1, 9), (4, 6), (2, 17), (5, 2), (3, 8)]
    assert sizes(found, "whole") == [size for size in [TRACED, *others] for _ in range(2)]
    assert {c.initial for c in found.checks if c.name == "whole"} == {"zero", "random"}
    assert sizes(found, "chunks") == sizes(found, "steps") == [(1, 1), (2, 7), (3, 5)]
    assert sizes(found, "drift") == [(1, DRIFT_STEPS)]
    assert found.passed


def test_the_drift_is_that_of_the_step_graph(tmp_path):
    """A thousand steps go through the step graph, by chunks through a sequence graph alone."""
    kinds = {
        step: [c.graph for c in report(tmp_path, prover(), step).checks if c.name == "drift"]
        for step in (STEP, None)
    }
    assert kinds == {STEP: ["step"], None: ["sequence"]}


def test_a_state_that_is_not_carried_is_not_fed(tmp_path):
    """Without carry, only whole sequences are compared."""
    found = report(tmp_path, prover(ports=contract(carry=False)), None)
    assert {check.name for check in found.checks} == {"whole"}


def test_a_constant_axis_keeps_its_size(tmp_path):
    """A batch that is a number is that number in every check."""

    def one(x: Any, h: Any) -> tuple[Any, Any]:
        return running_sum(x, h)

    ports = contract((1, "sequence", WIDTH), (1, "sequence", WIDTH))
    found = report(tmp_path, replace(prover(one, ports), traced=(1, 4)), None)
    assert {check.batch for check in found.checks} == {1}


def test_sizes_that_the_reference_does_not_take_are_passed_over(tmp_path):
    """Where eager torch itself fails, there is nothing to compare; longer sequences are tried."""

    def at_least_four(x: Any, h: Any) -> tuple[Any, Any]:
        if x.shape[1] < 4:
            raise ValueError("the kernel is larger than the input")
        return running_sum(x, h)

    found = report(tmp_path, prover(at_least_four, contract(carry=False)), None)
    tried = list(dict.fromkeys(sizes(found, "whole")))
    assert min(sequence for _, sequence in tried) == 4
    assert len(tried) == 9


def test_a_learned_start_is_called_so(tmp_path):
    """A state that does not start from zeros is said to be learned."""
    start = np.full((1, WIDTH), 0.5, np.float32)
    state = State("h", "h_in", "h_out", start)

    def learned(x: Any, h: Any) -> tuple[Any, Any]:
        return running_sum(x, h if h.any() else h + start)

    found = report(tmp_path, prover(learned, contract(states=(state,))))
    assert {check.initial for check in found.checks} == {"learned", "random"}


# --- what passes ----------------------------------------------------------------------------------


ALMOST = SUMS.replace("output = Add", "off = Constant<value = float {0.0001}>() sum = Add").replace(
    "end = ", "output = Add(sum, off) end = "
)


def test_a_graph_may_be_as_coarse_as_float32_itself(tmp_path):
    """Twice the reference's own distance from its float64 is allowed, and the check tells it."""

    def coarse(x: Any, h: Any) -> tuple[Any, Any]:
        y, h = running_sum(x, h)
        return y, h + (1e-4 if x.dtype == np.float64 else 0)

    ports = contract(carry=False)
    graphs = {"sequence": write(tmp_path, ports, ALMOST)}
    found = prover(coarse, ports).report(graphs, "the sum", Dialect(ports, ports))
    assert found.passed
    assert max(check.difference for check in found.checks) > 2e-5
    assert all(1e-5 < (check.tolerance or 0) < 3e-4 for check in found.checks)


def test_a_graph_is_no_coarser_than_float32_itself(tmp_path):
    """The same graph is refused where the reference's float32 is close to its float64."""
    ports = contract(carry=False)
    graphs = {"sequence": write(tmp_path, ports, ALMOST)}
    with pytest.raises(ParityError) as caught:
        prover(ports=ports).report(graphs, "the sum", Dialect(ports, ports))
    assert str(caught.value).startswith(
        "The sequence graph does not agree with the sum: `h` differs by "
    )


def test_a_difference_is_told_with_its_place(tmp_path):
    """The message names graph, port, difference, size, state and way of running."""
    with pytest.raises(ParityError) as caught:
        report(tmp_path, prover(), STEP.replace("Identity", "Neg"))
    message = str(caught.value)
    assert message.endswith(
        "(at most 1.0e-05 is allowed) at batch 1, sequence 1, random initial state, run step by "
        "step."
    )
    assert message.startswith("The step graph does not agree with the sum: `h` differs by ")


def test_a_shape_that_was_not_declared_is_told(tmp_path):
    """The shapes that come out have to be those that the contract states."""
    ports = contract(y=("batch", "sequence", 3), carry=False)
    wider = replace(prover(ports=ports), eager=Reference())
    with pytest.raises(ParityError) as caught:
        wider.report(
            {"sequence": write(tmp_path, contract(carry=False))}, "the sum", Dialect(ports, ports)
        )
    assert str(caught.value) == (
        "`output: float32[batch, sequence, 3]` came out as (2, 4, 2) at batch 2, sequence 4, where "
        "(2, 4, 3) was declared."
    )


# --- whether a state carries ----------------------------------------------------------------------


def test_a_model_of_the_past_can_be_carried_on():
    """Outputs that depend on the steps so far come out the same in parts."""
    assert prover().not_carried() is None


def test_a_model_that_looks_ahead_cannot_be_carried_on():
    """A mean over time is another one over a part of the time."""

    def centred(x: Any, h: Any) -> tuple[Any, Any]:
        y, h = running_sum(x, h)
        return y - y.mean(1, keepdims=True), h

    reason = prover(centred).not_carried() or ""
    before, _, after = reason.partition(" (by ")
    assert before == (
        "its state cannot be carried on: in parts, the sum gives another `output` than whole"
    )
    assert after.endswith("), so `output` depends on more than the steps so far.")


def test_a_model_that_fails_on_parts_cannot_be_carried_on():
    """What torch says of a single step is the reason."""

    def pairs(x: Any, h: Any) -> tuple[Any, Any]:
        if x.shape[1] < 2:
            raise ValueError("at least two steps.\nTry more.")
        return running_sum(x, h)

    assert prover(pairs).not_carried() == (
        "its state cannot be carried on: forward fails on single steps (at least two steps)."
    )


# --- outputs that count batch and sequence in one -------------------------------------------------


@pytest.mark.parametrize("outer", ["batch*sequence", "sequence*batch"])
@pytest.mark.parametrize("declared", ["batch*sequence", "sequence*batch"])
def test_the_outer_axis_is_found_out(declared, outer):
    """Which of the two is outside shows in the numbers, whatever the trace called the axis."""

    def flat(x: Any, h: Any) -> tuple[Any, Any]:
        y, h = running_sum(x, h)
        return (y if outer[0] == "b" else y.swapaxes(0, 1)).reshape(-1, WIDTH), h

    assert prover(flat, contract(y=(declared, WIDTH))).outer_axes() == {"output": outer}


def test_other_outputs_have_no_outer_axis():
    """Where batch and sequence are axes of their own, there is nothing to find out."""
    assert prover().outer_axes() == {}


# --- what is drawn --------------------------------------------------------------------------------


@pytest.mark.parametrize("longest_first", [True, False])
def test_lengths_differ_and_one_is_full(tmp_path, longest_first):
    """Whole sequences are compared at uneven lengths, sorted where the reference wants them so."""
    ports = contract(
        inputs=(Port("lengths", "int64", ("batch",), "n"),), lengths=("lengths",), carry=False
    )
    checked = prover(ports=ports, lengths={"lengths": longest_first})
    list(checked._wholes(lambda data, states: _outcome(data, states)))
    assert isinstance(checked.eager, Reference)
    drawn = [(given["n"].tolist(), given["x"].shape[1]) for given in checked.eager.inputs]
    assert all(max(lengths) == steps and min(lengths) >= 1 for lengths, steps in drawn)
    assert any(len(set(lengths)) > 1 for lengths, _ in drawn)
    in_order = [lengths == sorted(lengths, reverse=True) for lengths, _ in drawn]
    assert all(in_order) is longest_first


def _outcome(data: Arrays, states: Arrays) -> tuple[Arrays, Arrays]:
    y, h = running_sum(data["x"], states["h"])
    return {"output": y}, {"h": h}


def test_a_golden_run_has_every_port(tmp_path):
    """The recording starts from a random state and holds what the reference made of it."""
    recorded = prover().golden(3, 5)
    assert {name: array.shape for name, array in recorded.items()} == {
        "x": (3, 5, WIDTH),
        "output": (3, 5, WIDTH),
        "h_in": (3, WIDTH),
        "h_out": (3, WIDTH),
    }
    assert recorded["h_in"].any()
    np.testing.assert_array_equal(recorded["h_out"], recorded["output"][:, -1])


def test_the_tolerance_is_that_of_the_report(tmp_path):
    """Unless told otherwise, float32 has to agree to 1e-5."""
    assert (report(tmp_path, prover()).tolerance, TOLERANCE) == (1e-5, 1e-5)
    assert Check("whole", "sequence", 1, 1, "zero", 0.0).tolerance is None
