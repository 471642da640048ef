"""Calls for measuring: of every kind of model, with data of any size."""

import re
from pathlib import Path

import pytest

from edgernn.errors import ContractError, InputError
from edgernn.runtime import load
from edgernn.runtime.measure.model_calls import ModelCalls
from tests.nets import framed, small_artifacts
from tests.nets.framed import Framed


def calls_of(path: Path) -> ModelCalls:
    return ModelCalls(load(path))


def test_one_step_and_a_chunk(tmp_path: Path):
    """One step runs through the step graph, with the shape of a step."""
    calls = calls_of(small_artifacts.features(tmp_path / "a"))
    assert (calls.default_batch, calls.default_chunks) == (1, (1, 100))
    assert calls.call(3, 1)().shape == (3, 3)
    assert calls.call(3, 5)().shape == (3, 5, 3)


def test_which_graph_runs(tmp_path: Path):
    """One step is the step graph's, unless it is missing."""
    calls = calls_of(small_artifacts.features(tmp_path / "a"))
    assert (calls.graph(1, 1), calls.graph(1, 2)) == ("step", "sequence")
    alone = calls_of(small_artifacts.features(tmp_path / "b", graphs=("step",)))
    assert alone.graph(1, 2) == "step"
    without = calls_of(small_artifacts.features(tmp_path / "c", carry=False))
    assert without.graph(1, 1) == "sequence"


def test_a_constant_batch_and_ids(tmp_path: Path):
    """Ids are those of the golden run, so they are within the table; a batch is refused early."""
    calls = calls_of(small_artifacts.hello(tmp_path / "a"))
    assert calls.default_batch == 1
    assert calls.call(1, 50)().shape == (50, 4)
    with pytest.raises(InputError, match=r"^`batch` is 2, but this model was exported for a "):
        calls.call(2, 1)


def test_several_inputs_and_outputs(tmp_path: Path):
    """Every port has the size of the call; here the steps are the first axis."""
    outputs = calls_of(small_artifacts.pair(tmp_path / "a")).call(2, 3)()
    assert {array.shape[:2] for array in outputs.values()} == {(3, 2)}


@pytest.mark.parametrize(("graph", "chunks"), [("step", (1,)), ("sequence", (1, 100))])
def test_one_graph_alone(tmp_path: Path, graph: str, chunks: tuple[int, ...]):
    """The other size runs through the graph that is there."""
    calls = calls_of(small_artifacts.features(tmp_path / "a", graphs=(graph,)))
    assert calls.default_chunks == chunks
    assert calls.call(2, 1)().shape[0] == 2
    assert calls.call(2, 4)().size == 2 * 4 * 3


def test_hops(tmp_path: Path):
    """Chunks are whole hops; another number of steps is refused with the remedy."""
    calls = ModelCalls(framed.write(tmp_path / "a", Framed(8, 4)))
    assert calls.default_chunks[0] == 4
    assert all(chunk % 4 == 0 for chunk in calls.default_chunks)
    message = "`chunk` is 6; the model takes hops of 4 steps. Give a multiple of 4."
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        calls.call(1, 6)
    calls.call(1, 8)()


def test_a_sequence_that_reaches_its_end_starts_again(tmp_path: Path):
    """A model with a table of positions is measured in sequence after sequence."""
    calls = ModelCalls(framed.write(tmp_path / "a", Framed(8, 4, rows=12)))
    assert calls.default_chunks == (4, 48)
    call = calls.call(1, 8)
    for _ in range(8):
        call()


def test_a_constant_number_of_steps(tmp_path: Path):
    """Such a graph runs in full calls, and its step graph one step."""
    calls = calls_of(small_artifacts.features(tmp_path / "a", steps=5))
    assert calls.default_chunks == (1, 5)
    assert calls.call(1, 10)().shape == (1, 10, 3)


def test_a_model_without_streams(tmp_path: Path):
    """A whole sequence is a call."""
    calls = calls_of(small_artifacts.features(tmp_path / "a", carry=False))
    assert calls.default_chunks == (100,)
    assert calls.call(2, 7)().shape == (2, 7, 3)


def test_a_single_graph_is_refused(tmp_path: Path):
    """It has no golden run to take inputs from."""
    model = load(small_artifacts.features(tmp_path / "a") / "sequence.onnx")
    message = (
        f"`{model.contract.source}` was loaded from a single graph, which carries no golden run. "
        "Load the whole artifact."
    )
    with pytest.raises(ContractError, match=f"^{re.escape(message)}$"):
        ModelCalls(model)
