"""What is refused of a sequence, before and while it runs."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from edgernn.cli.data_files.sequence_reader import open_sequence
from edgernn.contract import Port
from edgernn.errors import InputError
from edgernn.runtime.port_axes import PortAxes

X = {"x": PortAxes.of(Port("x", "float32", ("batch", "sequence", 2)))}
IDS = {"ids": PortAxes.of(Port("ids", "int64", ("batch", "sequence")))}
TWO = {
    **X,
    "gain": PortAxes.of(Port("gain", "float32", ("batch", "sequence", 1))),
}
SPEAKER = {**X, "interface": PortAxes.of(Port("interface", "int64", ("batch",)))}


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


REFUSED = {
    "empty": (X, b"", "`in` holds no steps; at least one line of numbers is needed."),
    "header only": (X, b"a,b\n", "`in` holds no steps; at least one line of numbers is needed."),
    "columns": (
        X,
        b"1,2,3\n",
        "Line 1 of `in` has 3 columns; `x: float32[batch, sequence, 2]` takes 2 per step. "
        "Choose 2 by name or number, such as the last: --columns 2-3",
    ),
    "few columns": (
        X,
        b"1\n",
        "Line 1 of `in` has 1 column; `x: float32[batch, sequence, 2]` takes 2 per step. "
        "Give as many.",
    ),
    "cell": (X, b"1,2\n3,x\n", "Line 2 of `in` has `x` in column 2, which is not a number."),
    "csv of two": (
        TWO,
        b"1,2\n",
        "`in` is .csv, which holds one input; the model has 2: `x`, `gain`. Give .npz or .jsonl.",
    ),
    "half an id": (
        IDS,
        b"1\n2.5\n",
        "Line 2 of `in` holds 2.5 for `ids: int64[batch]`, which takes int64 only. Give values "
        "of that type.",
    ),
    "json": (
        X,
        b"[1, 2\n",
        "Line 1 of `in` is not JSON: Expecting ',' delimiter at character 6.",
    ),
    "ragged": (
        X,
        b"[[1, 2], [3]]\n",
        "Line 1 of `in` has rows of different lengths. Give a full array.",
    ),
    "words": (
        X,
        b'["a", "b"]\n',
        "Line 1 of `in` holds text for `x: float32[batch, 2]`; it must hold numbers.",
    ),
    "rank": (
        X,
        b"[[[1, 2]]]\n",
        "Line 1 of `in` has shape (1, 1, 2); `x: float32[batch, 2]` takes 2 axes (or 1, without "
        "the batch axis). Reshape the array.",
    ),
    "one of two": (
        TWO,
        b"[1, 2]\n",
        "Line 1 of `in` is one value; the model has 2 inputs: x, gain. Give an object with one "
        "value for each.",
    ),
    "port lacks": (
        TWO,
        b'{"x": [1, 2]}\n',
        "Line 1 of `in` has values for `x`; the model's inputs are x, gain. Give an object with "
        "one value for each.",
    ),
    "binary": (
        X,
        b"\xff\xfe\n",
        "`in` is neither .npy nor .npz nor UTF-8 text (line 1). Give .npy, .npz, or .csv or "
        ".jsonl in UTF-8, which Excel writes as `CSV UTF-8`.",
    ),
    "array of two": (
        TWO,
        npy([1.0]),
        "`in` holds one array; the model has 2 inputs: `x`, `gain`. Give a .npz or .jsonl with "
        "one entry for each.",
    ),
    "array rank": (
        X,
        npy(np.zeros(2)),
        "`in` has shape (2,); `x: float32[batch, sequence, 2]` takes 3 axes (or 2, without the "
        "batch axis). Reshape the array.",
    ),
    "no steps": (X, npy(np.zeros((1, 0, 2))), "`in` holds no steps; at least one is needed."),
    "names": (
        X,
        npz(y=np.zeros((1, 2, 2))),
        "`in` holds the arrays `y`; the model's inputs are `x`. Name the arrays as the inputs.",
    ),
    "lengths": (
        TWO,
        npz(x=np.zeros((1, 2, 2)), gain=np.zeros((1, 3, 1))),
        "`in` has inputs of different numbers of steps: `x` 2, `gain` 3.",
    ),
}


@pytest.mark.parametrize(("axes", "content", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(
    tmp_path: Any, monkeypatch: Any, axes: dict[str, PortAxes], content: bytes, message: str
) -> None:
    """Content that is no sequence for the model is refused with its line and what is expected."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").write_bytes(content)
    with (
        pytest.raises(InputError) as caught,
        open_sequence("in", axes, None, steps_per_answer=None) as sequence,
    ):
        list(sequence.chunks)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("content", "format_"),
    [(npy(np.zeros((1, 2, 2))), "npy"), (npz(x=np.zeros((1, 2, 2))), "npz"), (b"[1, 2]", "jsonl")],
    ids=["npy", "npz", "jsonl"],
)
def test_columns_need_csv(tmp_path: Any, monkeypatch: Any, content: bytes, format_: str) -> None:
    """Columns are chosen of rows only."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").write_bytes(content)
    with pytest.raises(InputError) as caught, open_sequence("in", X, None, None, "1-2"):
        pass
    message = f"`in` is .{format_}, and --columns needs .csv. Leave out --columns."
    assert str(caught.value) == message


def test_no_file(tmp_path: Any, monkeypatch: Any) -> None:
    """A file that does not exist is said in one line."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught, open_sequence("in", X, None, steps_per_answer=None):
        pass
    assert str(caught.value) == "Input `in` cannot be read: No such file or directory."


@pytest.mark.parametrize(
    ("name", "content"),
    [("npy", b"\x93NUMPY\x01"), ("npy", npy([1.0])[:-4]), ("npz", b"PK\x03\x04 and no more")],
)
def test_truncated(tmp_path: Any, name: str, content: bytes) -> None:
    """A broken archive is refused in one line, with the library's reason."""
    file = tmp_path / "in"
    file.write_bytes(content)
    message = rf"^`.*in` is not a readable \.{name} file: .*[^.]\.$"
    with (
        pytest.raises(InputError, match=message),
        open_sequence(str(file), X, None, steps_per_answer=None),
    ):
        pass


def test_pickle(tmp_path: Any, monkeypatch: Any) -> None:
    """An array of objects is not unpickled."""
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", np.array([{}]), allow_pickle=True)
    message = r"^`in\.npy` is not a readable \.npy file: it holds object, not numbers\.$"
    with (
        pytest.raises(InputError, match=message),
        open_sequence("in.npy", X, None, steps_per_answer=None),
    ):
        pass


def test_held_value(tmp_path: Any) -> None:
    """An input without an axis of steps is given once, in the first line."""
    file = tmp_path / "in.jsonl"
    file.write_text('{"x": [1, 2], "interface": 7}\n{"x": [3, 4]}\n')
    with open_sequence(str(file), SPEAKER, None, steps_per_answer=None) as sequence:
        (chunk,) = sequence.chunks
    np.testing.assert_array_equal(chunk["x"], [[[1, 2], [3, 4]]])
    np.testing.assert_array_equal(chunk["interface"], [7])


def test_chunks_are_mapped(tmp_path: Any) -> None:
    """A .npy file is not read before its chunks are asked for."""
    np.save(tmp_path / "x.npy", np.arange(20, dtype=np.float32).reshape(1, 10, 2))
    with open_sequence(str(tmp_path / "x.npy"), X, 4, steps_per_answer=None) as sequence:
        assert (sequence.format, sequence.steps, sequence.batched) == ("npy", 10, True)
        chunks = list(sequence.chunks)
    assert [chunk["x"].shape for chunk in chunks] == [(1, 4, 2), (1, 4, 2), (1, 2, 2)]
    assert all(isinstance(chunk["x"], np.memmap) for chunk in chunks)


@pytest.mark.parametrize(
    ("lines", "note"),
    [
        (
            "[[1, 2], [3, 4], [5, 6]]\n",
            "`in.jsonl` has one line, so it is one step of 3 sequences. For 3 steps of one "
            "sequence, put each on a line of its own.\n",
        ),
        ("[[1, 2], [3, 4]]\n[[5, 6], [7, 8]]\n", ""),
        ("[1, 2]\n", ""),
        ("[[1, 2]]\n", ""),
    ],
)
def test_a_lone_line_of_several_rows_is_noted(
    tmp_path: Any, monkeypatch: Any, capsys: pytest.CaptureFixture[str], lines: str, note: str
) -> None:
    """Who writes a whole sequence in one line learns that it is read as a batch."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.jsonl").write_text(lines)
    with open_sequence("in.jsonl", X, None, steps_per_answer=None) as sequence:
        list(sequence.chunks)
    assert capsys.readouterr().err == note
