"""The options of an export: declared once, checked always."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast, get_type_hints

import pytest
import torch
from torch import nn

from edgernn.declared_options import declarations
from edgernn.errors import InputError, SourceError
from edgernn.export import export_model, verify_artifact
from edgernn.export.options import ExportOptions, SourceOptions

SPECS = "expected example tensors in a tuple or by name, or specs such as "
SPECS += "`tokens:int64[batch,sequence]`."
SIZE = "expected an integer of at least 1."
RATE = "expected a number above 0."
FACTORY = "expected `FILE.py:FACTORY`, or a function or class that returns an nn.Module."
STATES = 'expected a mapping from arguments to results, such as {"h": 1}.'
SYMBOLS = "expected the symbols in the order of their ids, or the path of a vocabulary file."
OPSETS = "13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25."

WRONG: dict[str, list[tuple[object, str]]] = {
    "inputs": [
        (3, f"`inputs` is 3; {SPECS}"),
        (
            ["input:int4[batch]"],
            "`input:int4[batch]` is not an input spec. Expected NAME:DTYPE[DIMS], such as "
            "tokens:int64[batch,sequence] or x:float32[1,sequence,40], with a dtype of float32, "
            "float16, float64, int64, int32, bool.",
        ),
    ],
    "states": [
        (["h"], f"`states` is of type list; {STATES}"),
        ({"h": 1.5}, f"`states` is of type dict; {STATES}"),
        ({"h": 1}, "`h` is not an input of the model; it has `x`, `hx`."),
    ],
    "module": [
        (3, f"`module` is 3; {FACTORY}"),
        (
            "net:Net",
            "`net:Net` is not of the form FILE.py:FACTORY, such as `net.py:Net`, where FACTORY is "
            "a class or function without required arguments.",
        ),
    ],
    "path": [(3, "`path` is 3; expected the path of a folder.")],
    "graph": [
        (None, "`graph` is None; known are: both, sequence, step."),
        ("all", "`graph` is 'all'; known are: both, sequence, step."),
    ],
    "precision": [
        (16, "`precision` is 16; known are: float32, float16, int8, int4."),
        ("int2", "`precision` is 'int2'; known are: float32, float16, int8, int4."),
        (
            torch.zeros(2),
            "`precision` is of type Tensor; known are: float32, float16, int8, int4.",
        ),
    ],
    "fold": [
        (True, "`fold` is True; known are: auto, yes, no."),
        ("always", "`fold` is 'always'; known are: auto, yes, no."),
    ],
    "opset": [
        ("18", f"`opset` is '18'; known are: {OPSETS}"),
        (True, f"`opset` is True; known are: {OPSETS}"),
        (9, f"`opset` is 9; known are: {OPSETS}"),
    ],
    "state_layout": [
        (0, "`state_layout` is 0; known are: torch, batch-major."),
        ("triton", "`state_layout` is 'triton'; known are: torch, batch-major."),
    ],
    "batch_size": [
        ("2", f"`batch_size` is '2'; {SIZE}"),
        (True, f"`batch_size` is True; {SIZE}"),
        (0, f"`batch_size` is 0; {SIZE}"),
    ],
    "steps": [(1.5, f"`steps` is 1.5; {SIZE}"), (-3, f"`steps` is -3; {SIZE}")],
    "rate": [
        ("16000", f"`rate` is '16000'; {RATE}"),
        (True, f"`rate` is True; {RATE}"),
        (0, f"`rate` is 0; {RATE}"),
        (-0.5, f"`rate` is -0.5; {RATE}"),
        (float("nan"), f"`rate` is nan; {RATE}"),
        (float("inf"), f"`rate` is inf; {RATE}"),
    ],
    "calibrate": [
        (
            3,
            "`calibrate` is 3; expected arrays by the names of ports, or the path of a file of "
            "them or of text.",
        ),
    ],
    "tolerance": [
        ("1", "`tolerance` is '1'; expected a number above 0."),
        (0, "`tolerance` is 0; expected a number above 0."),
        (
            0.01,
            "`tolerance` is 0.01; at most 0.001 makes sense for float32: a graph that is wrong "
            "would pass. Give less, or leave it out.",
        ),
    ],
    "max_loss": [
        (-1, "`max_loss` is -1; expected a number above 0."),
        (
            2,
            "`max_loss` is 2 %, but there are no data to measure a loss on. Give them with "
            "`calibrate`.",
        ),
    ],
    "vocabulary": [
        ([1, 2], f"`vocabulary` is of type list; {SYMBOLS}"),
        (3, f"`vocabulary` is 3; {SYMBOLS}"),
        (
            {"a": 5},
            "The vocabulary has no symbol for id 0; expected one symbol for each of the ids 0 to "
            "0. Give every id of the model a symbol of its own.",
        ),
        (["a", ""], "Symbol 1 of the vocabulary is empty."),
        (["a", "b", "a"], "The vocabulary has `a` twice, the second time as id 2."),
    ],
    **{
        name: [
            (value, f"`{name}` is {value!r}; expected True or False.") for value in (1, "yes", None)
        ]
        for name in (
            *("assume_plain", "trust", "state_per_layer", "int32_ids", "reset", "lengths"),
            *("force", "verify", "all_forms"),
        )
    },
}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """The state_dict of a GRU."""
    torch.save(nn.GRU(2, 3).state_dict(), tmp_path / "w.pt")
    return tmp_path / "w.pt"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [(name, *pair) for name, pairs in WRONG.items() for pair in pairs],
)
def test_wrong_values_and_types_are_refused(
    name: str, value: Any, message: str, weights: Path
) -> None:
    """Whatever an option does not take is an `InputError` that says what it takes."""
    given = {"path": weights.with_name("m.edgernn"), "assume_plain": True, name: value}
    with pytest.raises(InputError) as caught:
        export_model(weights, **given)
    assert str(caught.value) == message
    assert not weights.with_name("m.edgernn").exists()


def test_every_option_is_tried_with_wrong_values() -> None:
    """The table above leaves out no option."""
    assert set(WRONG) == {one.name for one in declarations(ExportOptions)}


@pytest.mark.parametrize("name", ["inputs", "states", "module", "assume_plain", "trust"])
def test_verifying_refuses_them_too(name: str, weights: Path) -> None:
    """The options that say how to read a model are checked alike where one is verified."""
    artifact = export_model(
        weights, weights.with_name("m.edgernn"), assume_plain=True, verify=False
    )
    value, message = WRONG[name][0]
    given: dict[str, Any] = {name: value}
    with pytest.raises(InputError) as caught:
        verify_artifact(artifact, weights, **given)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("function", "options", "first"),
    [(export_model, ExportOptions, {"model"}), (verify_artifact, SourceOptions, None)],
    ids=["export_model", "verify_artifact"],
)
def test_signatures_say_what_is_declared(
    function: Callable[..., Any], options: type[SourceOptions], first: Any
) -> None:
    """Parameters, their types and defaults, and `Args:` in the docstring are the declared ones."""
    first = first or {"artifact", "model"}
    declared = {one.name: (one.type, one.default) for one in declarations(options)}
    hints = get_type_hints(function)
    parameters = inspect.signature(function).parameters
    assert {
        name: (hints[name], one.default) for name, one in parameters.items() if name not in first
    } == declared
    text = (inspect.getdoc(function) or "").partition("Args:\n")[2].partition("\n\n")[0]
    assert re.findall(r"^    (\w+): ", text, re.M) == list(parameters)


@pytest.mark.parametrize(
    ("old", "new", "value"), [("batch", "batch_size", 2), ("sequence", "steps", 5)]
)
def test_old_names_work_with_a_warning(
    old: str, new: str, value: int, weights: Path, tmp_path: Path
) -> None:
    """A keyword by its former name means the new one; both at once are refused."""
    given: dict[str, Any] = {"assume_plain": True, "verify": False, old: value}
    with pytest.warns(DeprecationWarning, match="is now called") as warned:
        artifact = export_model(weights, tmp_path / "a.edgernn", **given)
    assert [str(one.message) for one in warned] == [f"`{old}` is now called `{new}`."]
    assert warned[0].filename == __file__
    assert list(artifact.contract.constants.values()) == [value]
    both = {**given, new: value}
    with pytest.raises(InputError) as caught:
        export_model(weights, tmp_path / "b.edgernn", **both)
    assert str(caught.value) == f"`{old}` is the old name of `{new}`. Give `{new}` alone."


def test_trust_by_its_old_name(weights: Path, tmp_path: Path) -> None:
    """`trust_pickle` means `trust` in both functions."""
    given: dict[str, Any] = {"assume_plain": True, "trust_pickle": True}
    with pytest.warns(DeprecationWarning, match=r"^`trust_pickle` is now called `trust`\.$"):
        artifact = export_model(weights, tmp_path / "a.edgernn", **given)
    with pytest.warns(DeprecationWarning, match=r"^`trust_pickle` is now called `trust`\.$"):
        assert verify_artifact(artifact, weights, **given).passed


def test_steps_of_a_graph_without_steps() -> None:
    """Options that exclude each other are refused by name."""
    with pytest.raises(InputError) as caught:
        ExportOptions(graph="step", steps=16)
    assert str(caught.value) == (
        '`steps` is 16, which is of the sequence graph, but graph="step" writes none. Leave out '
        "one of the two."
    )


def test_declaring_options_loads_no_torch() -> None:
    """The command line reads the declarations, and its help loads neither torch nor onnx."""
    script = "import sys, edgernn.export.options; "
    script += "print({'torch', 'onnx', 'onnx_ir', 'onnxruntime'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")


@pytest.mark.parametrize("path", [None, "m.edgernn"])
def test_what_is_no_model_is_refused(path: str | None) -> None:
    """A model of another type is refused, also where the artifact is to have its name."""
    with pytest.raises(SourceError) as caught:
        export_model(cast(Any, 3), path)
    assert str(caught.value) == (
        "`model` is of type `int`, which is not a model. Give an nn.Module, or the path of a model "
        "file: that of a state_dict with module=, its code."
    )
