"""What the user says of one input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import edgernn
from edgernn.errors import InputError
from edgernn.export.call.dynamic_axes import find_dynamic_axes
from edgernn.export.call.example_from_inputs import example_from
from edgernn.export.call.forward_run import ModuleRunner
from edgernn.export.call.input_spec import InputSpec, parse_spec
from edgernn.export.pipeline import export_model


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("x:float32[batch,40]", InputSpec("x", torch.float32, ("batch", 40))),
        (" hx[0] : float32[ 2, batch ] ", InputSpec("hx[0]", torch.float32, (2, "batch"))),
        ("rate:int64[]=16000", InputSpec("rate", torch.int64, (), 16000)),
        ("gain:float32[] = -2.5", InputSpec("gain", torch.float32, (), -2.5)),
        ("flag:bool[]=true", InputSpec("flag", torch.bool, (), True)),
        ("flag:bool[]=0", InputSpec("flag", torch.bool, (), False)),
    ],
)
def test_what_a_spec_says(text, spec):
    """Name, dtype and axes, and the value of an input that is always the same."""
    assert parse_spec(text) == spec


@pytest.mark.parametrize(
    "text", ["x", "x:int8[3]", "x:float32[0]", "x:float32[3]=", "x:float32[a b]"]
)
def test_what_is_no_spec(text):
    """Anything else is refused with the form that is expected."""
    with pytest.raises(InputError) as info:
        parse_spec(text)
    assert str(info.value) == (
        f"`{text}` is not an input spec. Expected NAME:DTYPE[DIMS], such as "
        "tokens:int64[batch,sequence] or x:float32[1,sequence,40], with a dtype of float32, "
        "float16, float64, int64, int32, bool."
    )


class Rated(nn.Module):
    """A network for each sampling rate."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.GRU(3, 4, batch_first=True)
        self.narrow = nn.GRU(3, 2, batch_first=True)

    def forward(self, x, rate: int):
        return (self.wide if rate == 16000 else self.narrow)(x)[0]


@pytest.mark.parametrize(("rate", "width"), [(16000, 4), (8000, 2)])
def test_an_argument_that_is_a_number(tmp_path, rate, width):
    """A number that forward takes is given by a spec, and is no input of the graphs."""
    inputs = ["x:float32[batch,sequence,3]", f"rate:int64[]={rate}"]
    artifact = export_model(Rated(), tmp_path / "rated.edgernn", inputs=inputs)
    ports = artifact.contract.graphs["sequence"].inputs
    assert [str(one) for one in ports] == [
        "x: float32[batch, sequence, 3]",
        f"h_in: float32[1, batch, {width}]",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "tokens:int64[batch, sequence] < 11",
            InputSpec("tokens", torch.int64, ("batch", "sequence"), limit=11),
        ),
        ("place:int32[batch]<nodes", InputSpec("place", torch.int32, ("batch",), limit="nodes")),
        (
            "frames:float32[batch,4*sequence]",
            InputSpec("frames", torch.float32, ("batch", "4*sequence")),
        ),
        ("x:float32[(sequence+1)//2]", InputSpec("x", torch.float32, ("(sequence + 1)//2",))),
        ("x:int64[batch]=a b.npy", InputSpec("x", torch.int64, ("batch",), file="a b.npy")),
        ("x=run/x.npy", InputSpec("x", None, None, file="run/x.npy")),
    ],
)
def test_ranges_tied_sizes_and_files(text, expected):
    """What integers are below, sizes that follow from others, and an example in a file."""
    assert parse_spec(text) == expected


@pytest.mark.parametrize("text", ["x:float32[batch]<3", "x:int64[batch]<0", "x:bool[2]<2"])
def test_a_range_is_of_integers(text):
    """Real numbers have no range, and no integer is below 0."""
    with pytest.raises(InputError) as info:
        parse_spec(text)
    assert str(info.value) == (
        f"`{text}` does not give a range: after `<` comes the number, or the axis whose size, the "
        "integers are below, such as tokens:int64[batch,sequence]<11."
    )


@pytest.mark.parametrize("size", ["4*", "sequence/2", "3-3", "sequence//0", "sequence-99", "f(x)"])
def test_sizes_that_are_none(size):
    """A size is written with + - * // and names, and comes to one or more."""
    with pytest.raises(InputError, match="is not an input spec"):
        parse_spec(f"x:float32[{size}]")


class Tied(nn.Module):
    """Reads four frames for every token."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.table = nn.GRU(8, 6, batch_first=True), nn.Embedding(9, 6)

    def forward(self, frames, tokens):
        return self.rnn(frames.reshape(*tokens.shape, -1))[0] + self.table(tokens)


TIED = ["frames:float32[batch,4*sequence,2]", "tokens:int64[batch,sequence]"]


def test_lengths_that_are_tied_come_out_tied(tmp_path):
    """The contract has the expression, the runtime holds to it, and one step has no such input."""
    artifact = export_model(Tied(), tmp_path / "tied.edgernn", inputs=TIED)
    assert [str(port) for port in artifact.contract.data_inputs("sequence")] == [
        "frames: float32[batch, 4*sequence, 2]",
        "tokens: int64[batch, sequence]",
    ]
    assert artifact.contract.notes == (
        "There is no step graph: `frames` has `4*sequence` entries where others have `sequence`: a "
        "step of it is not one entry.",
    )
    model = edgernn.load(artifact.path)
    frames = np.zeros((2, 28, 2), np.float32)
    assert model(frames, np.zeros((2, 7), np.int64)).shape == (2, 7, 6)
    with pytest.raises(InputError) as info:
        model(frames, np.zeros((2, 6), np.int64))
    assert str(info.value) == (
        "`frames: float32[batch, 4*sequence, 2]` came with shape (2, 28, 2): axis 1 must be 24, "
        "the `4*sequence` of the other axes, not 28."
    )


def test_a_size_that_follows_from_no_axis():
    """What a size follows from is an axis of an input."""
    with pytest.raises(InputError) as info:
        example_from(Tied(), ["frames:float32[batch,4*sequence,2]", "tokens:int64[batch,5]"])
    assert str(info.value) == (
        "`4*sequence` of `frames` follows from `sequence`, which is not an axis of any input. "
        "Name the axis itself in the spec of another input, or give a number."
    )


class Answers(nn.Module):
    """Looks up an id that it makes of two."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.rnn = nn.Embedding(22, 6), nn.LSTM(6, 8, batch_first=True)

    def forward(self, question, right):
        return self.rnn(self.table(question + 11 * right))[0]


def test_ranges_are_in_the_contract(tmp_path):
    """What the user says integers are below is what the graphs take."""
    inputs = ["question:int64[batch,sequence]<11", "right:int64[batch,sequence]<2"]
    artifact = export_model(Answers(), tmp_path / "said.edgernn", inputs=inputs)
    limits = [port.limit for port in artifact.contract.data_inputs("sequence")]
    assert limits == [11, 2]


def test_ranges_that_nobody_says_are_tried(tmp_path):
    """Ids whose range no table tells are drawn lower where forward fails; a note says so."""
    inputs = ["question:int64[batch,sequence]", "right:int64[batch,sequence]"]
    example = find_dynamic_axes(ModuleRunner(Answers()), example_from(Answers(), inputs))
    assert max(int(leaf.tensor.max()) for leaf in example.tensors) == 1
    assert example.notes == (
        "`question` and `right` are below 2 in all that was compared: forward fails for larger "
        "numbers (index out of range in self). Give the range: "
        'inputs=["question:int64[batch,sequence]<N", "right:int64[batch,sequence]<N"].',
    )


def test_an_example_in_a_file(tmp_path):
    """Numbers come from the file; the axes are found out, or named as the spec says."""
    np.save(tmp_path / "question.npy", np.array([[10, 3, 0], [1, 2, 10]]))
    np.save(tmp_path / "right.npy", np.array([[1, 0, 1], [0, 0, 1]]))
    for dims in ("", ":int64[batch,sequence]"):
        inputs = [f"{name}{dims}={tmp_path / name}.npy" for name in ("question", "right")]
        example = find_dynamic_axes(ModuleRunner(Answers()), example_from(Answers(), inputs))
        assert [leaf.shape for leaf in example.tensors] == [("batch", "sequence")] * 2
        assert int(example.tensors[0].tensor.max()) == 10


@pytest.mark.parametrize(
    ("array", "dims", "problem"),
    [
        (np.zeros((2, 3, 4)), "batch,sequence", "[batch,sequence] was expected"),
        (np.zeros((2, 3)), "batch,4", "[batch,4] was expected"),
        (np.zeros((2, 0)), "batch,sequence", "it must not be empty"),
    ],
)
def test_a_file_of_other_axes(tmp_path, array, dims, problem):
    """The axes in the spec are those of the file."""
    file = tmp_path / "x.npy"
    np.save(file, array)
    with pytest.raises(InputError) as info:
        example_from(Answers(), [f"question:int64[{dims}]={file}"])
    assert str(info.value) == (
        f"`{file}`, the example for `question`, is of shape {array.shape}; {problem}."
    )


def test_a_file_that_is_none(tmp_path):
    """A file that is missing or no array is named."""
    file = tmp_path / "x.npy"
    subject = f"`{file}`, the example for `question`, cannot be read: "
    with pytest.raises(InputError) as info:
        example_from(Answers(), [f"question={file}"])
    assert str(info.value) == f"{subject}No such file or directory."
    file.write_text("no array")
    with pytest.raises(InputError) as info:
        example_from(Answers(), [f"question={file}"])
    assert str(info.value).startswith(subject)
