"""examples/hello: trained, exported from its state_dict, run on text."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgernn.artifact import Artifact
from edgernn.errors import InputError
from edgernn.export import export_model
from tests.examples.scripts import EXAMPLES, edgernn, train

CODE = EXAMPLES / "hello" / "train.py"
STATES = {"rnn": ["h"], "lstm": ["h", "c"], "gru": ["h"]}


@pytest.mark.parametrize("kind", STATES)
def test_hello_answers_ohlol(kind: str, tmp_path: Path) -> None:
    """Each layer, trained and exported with its vocabulary, answers `hello` with `ohlol`."""
    train("hello", tmp_path, "--kind", kind)
    edgernn(
        tmp_path, "export", "hello.pt", "--module", f"{CODE}:{kind}", "--vocabulary", "hello.txt"
    )
    assert edgernn(tmp_path, "run", "hello.edgernn", "--text", "hello") == "ohlol\n"
    contract = Artifact.open(tmp_path / "hello.edgernn").contract
    assert [state.name for state in contract.states] == STATES[kind]
    assert [str(port) for port in contract.data_inputs("sequence")] == ["ids: int64[sequence, 1]"]
    assert [str(port) for port in contract.data_inputs("step")] == ["ids: int64[1]"]
    assert contract.notes[0].startswith(
        "Axis 1 of `ids` (batch) is the constant 1: forward itself fails at other sizes"
    )


def test_vocabulary_of_another_size_is_refused(tmp_path: Path) -> None:
    """A vocabulary without one symbol for each id is refused before anything is written."""
    train("hello", tmp_path)
    with pytest.raises(InputError) as caught:
        export_model(
            tmp_path / "hello.pt",
            tmp_path / "hello.edgernn",
            module=f"{CODE}:lstm",
            vocabulary=["h", "e", "l"],
        )
    assert str(caught.value) == (
        "The vocabulary has 3 symbols, but `ids` takes 4 ids. Give one symbol for each id, in the "
        "order of the ids."
    )
    assert not (tmp_path / "hello.edgernn").exists()
