"""A contract.json that somebody else wrote: every broken field is refused by its name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgernn.artifact import Artifact
from edgernn.errors import ContractError
from edgernn.untrusted_text import escape_unprintable
from tests.contract.test_contract import CONTRACT

DIGEST = "0" * 64
FORM_ENTRY: dict[str, Any] = {
    "graph": "step",
    "file": "forms/step-operator.onnx",
    "provider": "cpu",
    "least": {},
    "most": {"batch": 4},
    "threads": None,
}
WHOLE: dict[str, Any] = {
    **CONTRACT.to_json(),
    "parity": {
        "reference": "eager torch",
        "tolerance": 1e-5,
        "checks": [
            {
                "name": "whole",
                "graph": "sequence",
                "batch": 1,
                "sequence": 2,
                "initial": "zero",
                "difference": 1e-7,
                "tolerance": None,
            }
        ],
    },
    "tolerance": 1e-5,
    "cost": {"parameters": 1, "multiply_adds": 2, "weight_bytes": 3, "state_bytes": 4},
    "refusals": {"tract": "It has no Loop."},
    "forms": [FORM_ENTRY],
    "tuned": {
        "rules": [FORM_ENTRY],
        "tunings": [
            {
                "provider": "cuda",
                "machine": "Z80, 1 core",
                "versions": {"onnxruntime": "1.31.1"},
                "forms": [],
                "trials": [
                    {
                        "graph": "step",
                        "file": "step.onnx",
                        "threads": None,
                        "batch": 1,
                        "steps": 1,
                        "seconds": 1e-6,
                        "ratio": 1.0,
                        "error": 0.0,
                        "chosen": True,
                        "tolerance": None,
                    }
                ],
            }
        ],
    },
    "folds": [
        {
            "embedding": "table.weight",
            "entries": 7,
            "outputs": 12,
            "more_bytes": -8,
            "multiply_adds": 36,
            "folded": True,
        }
    ],
    "sha256": {
        "sequence.onnx": DIGEST,
        "step.onnx": DIGEST,
        "forms/step-operator.onnx": DIGEST,
    },
}
PORT = "graphs.step.inputs[0]"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def opened(folder: Path, content: bytes) -> Artifact:
    (folder / "contract.json").write_bytes(content)
    return Artifact.open(folder)


def refused(folder: Path, content: bytes) -> str:
    with pytest.raises(ContractError) as caught:
        opened(folder, content)
    return str(caught.value)


def changed(path: str, value: Any) -> bytes:
    """Return the whole contract with the value at a path, such as `states[0].in`, replaced."""
    table = json.loads(json.dumps(WHOLE))
    keys = [
        int(k) if k.isdecimal() else k for k in path.replace("[", ".").replace("]", "").split(".")
    ]
    holder = table
    for key in keys[:-1]:
        holder = holder[key]
    holder[keys[-1]] = value
    return json.dumps(table).encode()


def test_the_whole_is_read(folder: Path) -> None:
    """The contract that the other tests break is valid."""
    assert opened(folder, json.dumps(WHOLE).encode()).to_json() == WHOLE


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Expecting value: line 1 column 1 (char 0)"),
        (b"[" * 100_000, "it is nested deeper than 64 levels"),
        (b'{"a":' * 100_000, "it is nested deeper than 64 levels"),
        (b'{"contract": NaN}', "it holds NaN, which JSON does not have"),
        (b'{"a": 1, "a": 2}', 'it has the key "a" twice'),
        (b'{"a": "\x00"}', "Invalid control character at: line 1 column 8 (char 7)"),
        (
            b"1" * 5000,
            "Exceeds the limit (4300 digits) for integer string conversion: value has 5000 digits; "
            "use sys.set_int_max_str_digits() to increase the limit",
        ),
        (b'"' + b'\\"' * 100_000, "Unterminated string starting at: line 1 column 1 (char 0)"),
    ],
    ids=["empty", "arrays", "objects", "nan", "twice", "nul", "digits", "open"],
)
def test_what_is_not_plain_json_is_refused(folder: Path, content: bytes, reason: str) -> None:
    """JSON that other parsers read differently is refused."""
    assert refused(folder, content) == (
        f"`{folder}` has a `contract.json` that cannot be read: {reason}. Export the model again."
    )


def test_what_is_not_utf_8_is_refused(folder: Path) -> None:
    """The message has the position of bytes in another encoding."""
    assert refused(folder, b'{"contract": "\xff"}') == (
        f"`{folder / 'contract.json'}` is not UTF-8 text: 'utf-8' codec can't decode byte 0xff in "
        "position 14: invalid start byte."
    )


def test_what_is_too_large_is_refused(folder: Path) -> None:
    """A file above the limit is not read at all."""
    with (folder / "contract.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ContractError) as caught:
        Artifact.open(folder)
    assert str(caught.value) == (
        f"`{folder / 'contract.json'}` is too large: it has 1,048,576 MiB; at most 64 MiB are read."
    )


FORM = "`forms/NAME.onnx` or `step.onnx`"
TEXT = "text in UTF-8 of at most 100,000 characters"
FILE = "expected a digest of 64 hexadecimal digits for a file of the folder itself"


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("family", 7, f"`family` is `7`; expected {TEXT}"),
        ("source", "\ud800", f"`source` is `'\\ud800'`; expected {TEXT}"),
        ("source", "x" * 100_001, f"`source` is `'{'x' * 60}'`; expected {TEXT}"),
        ("carry", "no", "`carry` is `no`; expected true or false"),
        ("carry", 1, "`carry` is `1`; expected true or false"),
        ("states", {}, "`states` is an object of 0; expected an array"),
        ("states[0]", [], "`states[0]` is an array of 0; expected an object"),
        ("states[0].in", None, f"`states[0].in` is `null`; expected {TEXT}"),
        ("states[0].in", "tokens", None),
        ("states[1].initial", "x", "`states[1].initial` is `x`; expected arrays of numbers"),
        (
            "states[1].initial",
            [[1], [2, 3]],
            "`states[1].initial` is an array of 2; expected arrays of equal lengths",
        ),
        (
            "states[1].initial",
            [[[1e99, 2]]],
            "`states[1].initial` is an array of 1; expected finite numbers of float32",
        ),
        (
            "states[1].initial",
            [1, 2, 3],
            "state `c` of the sequence graph has an initial value of shape (3,), not (1, 1, 2)",
        ),
        ("graphs", {}, "it has no graph"),
        ("graphs", [], "`graphs` is an array of 0; expected an object"),
        (
            "graphs.step.inputs",
            [0] * 4097,
            "`graphs.step.inputs` is an array of 4097; expected an array of at most 4096",
        ),
        ("graphs.step.inputs", None, "`graphs.step.inputs` is `null`; expected an array"),
        (
            "graphs.step.file",
            "../../weights.onnx",
            "`graphs.step.file` is `../../weights.onnx`; expected one of step.onnx",
        ),
        (f"{PORT}.name", "", "port `` of the step graph has a name that cannot be a file name"),
        (
            f"{PORT}.name",
            "../../../etc/passwd",
            "port `../../../etc/passwd` of the step graph has a name that cannot be a file name",
        ),
        (
            f"{PORT}.name",
            "\x1b[2J",
            "port `'\\x1b[2J'` of the step graph has a name that cannot be a file name",
        ),
        (
            f"{PORT}.dtype",
            "object",
            f"`{PORT}.dtype` is `object`; expected one of float32, float16, float64, int64, int32, "
            "int16, int8, uint64, uint32, uint16, uint8, bool",
        ),
        (f"{PORT}.shape", 3, f"`{PORT}.shape` is `3`; expected an array"),
        (
            f"{PORT}.shape",
            [-1],
            f"`{PORT}.shape[0]` is `-1`; expected an integer from 0 to 2147483647",
        ),
        (
            f"{PORT}.shape",
            [10**400],
            f"`{PORT}.shape[0]` is an integer of more than 63 bits; expected an integer from 0 to "
            "2147483647",
        ),
        (
            f"{PORT}.shape",
            [True],
            f"`{PORT}.shape[0]` is `true`; expected an integer from 0 to 2147483647",
        ),
        (
            f"{PORT}.shape",
            ["__import__('os').abort()"],
            "port `tokens` of the step graph has an axis `__import__('os').abort()`, which is "
            "neither a name nor an expression of names with + - * // and parentheses",
        ),
        (
            f"{PORT}.axes",
            ["batch", None],
            f"`{PORT}.axes` is an array of 2; expected a name or null for each of 1 axes",
        ),
        (
            f"{PORT}.limit",
            1.5,
            f"`{PORT}.limit` is `1.5`; expected an integer from 0 to 9223372036854775807",
        ),
        (f"{PORT}.argument", {}, f"`{PORT}.argument` is an object of 0; expected {TEXT}"),
        ("lengths", ["tokens"], None),
        (
            "lengths",
            ["n"],
            "it has lengths in `n`, which is not an input of the sequence graph",
        ),
        (
            "vocabulary",
            3,
            '`vocabulary`: `vocabulary` is not a table of symbols. Write a list, ["h", "i"]; an '
            'object from symbol to id, {"h": 0, "i": 1}; or {"symbols": ["?", "h", "i"], '
            '"unknown": "?"}',
        ),
        (
            "vocabulary.symbols",
            ["a", "\ud800", "b"],
            "`vocabulary`: Symbol 1 of the vocabulary is not Unicode text",
        ),
        ("vocabulary.symbols", ["a", "b"], None),
        ("notes", "x", "`notes` is `x`; expected an array"),
        ("parity", [], "`parity` is an array of 0; expected an object"),
        (
            "parity.tolerance",
            -1,
            "`parity.tolerance` is `-1`; expected a finite number of at least 0",
        ),
        ("tolerance", "1", "`tolerance` is `1`; expected a finite number of at least 0"),
        (
            "parity.checks[0].graph",
            "x",
            "`parity.checks[0].graph` is `x`; expected one of sequence, step",
        ),
        (
            "cost.parameters",
            None,
            "`cost.parameters` is `null`; expected an integer from 0 to 9223372036854775807",
        ),
        ("refusals.tract", 1, f"`refusals.tract` is `1`; expected {TEXT}"),
        ("sha256", {"step.onnx": DIGEST}, "`sha256.sequence.onnx` is missing"),
        ("sha256", {"../x": DIGEST}, f"`sha256` has `'{DIGEST[:60]}'` for `../x`; {FILE}"),
        (
            "sha256",
            {"/etc/passwd": DIGEST},
            f"`sha256` has `'{DIGEST[:60]}'` for `/etc/passwd`; {FILE}",
        ),
        ("sha256", {"..": DIGEST}, f"`sha256` has `'{DIGEST[:60]}'` for `..`; {FILE}"),
        ("sha256", {"forms/../x.onnx": DIGEST}, None),
        ("tuned", [], "`tuned` is an array of 0; expected an object"),
        ("tuned.rules", [], "`forms` are not those that were tuned"),
        ("tuned.tunings[0].machine", 1, None),
        ("tuned.tunings[0].versions", [], None),
        (
            "tuned.tunings[0].trials[0].threads",
            0,
            "`tuned.tunings[0].trials[0].threads` is `0`; expected an integer from 1 to 65536",
        ),
        ("tuned.tunings[0].trials[0].seconds", -1, None),
        (
            "folds[0].more_bytes",
            1.5,
            f"`folds[0].more_bytes` is `1.5`; expected an integer from -{2**63 - 1} to {2**63 - 1}",
        ),
        ("folds[0].folded", 1, "`folds[0].folded` is `1`; expected true or false"),
        ("forms", {}, "`forms` is an object of 0; expected an array"),
        ("forms[0].graph", "x", "`forms[0].graph` is `x`; expected one of sequence, step"),
        ("forms[0].file", "../x.onnx", f"`forms[0].file` is `../x.onnx`; expected {FORM}"),
        ("forms[0].file", "forms/../x.onnx", None),
        ("forms[0].file", "/forms/x.onnx", None),
        ("forms[0].file", "forms/x/y.onnx", None),
        ("forms[0].file", "forms/.onnx", None),
        ("forms[0].file", "forms/x.onnx\n", None),
        ("forms[0].file", "sequence.onnx", f"`forms[0].file` is `sequence.onnx`; expected {FORM}"),
        ("forms[0].file", "forms/other.onnx", "`sha256.forms/other.onnx` is missing"),
        (
            "forms[0].most.batch",
            0,
            "`forms[0].most.batch` is `0`; expected an integer from 1 to 2147483647",
        ),
        (
            "forms[0].least.batch",
            5,
            "`forms[0].least` is an object of 1; expected sizes of at most those of `most`",
        ),
        ("forms[0].threads", 0, "`forms[0].threads` is `0`; expected an integer from 1 to 1024"),
        ("forms[0].provider", None, f"`forms[0].provider` is `null`; expected {TEXT}"),
        ("sha256", {"C:x": DIGEST}, f"`sha256` has `'{DIGEST[:60]}'` for `C:x`; {FILE}"),
        ("sha256", {"step.onnx": "x"}, f"`sha256` has `x` for `step.onnx`; {FILE}"),
    ],
)
def test_a_broken_field_is_refused(folder: Path, path: str, value: Any, reason: str | None) -> None:
    """Each field has a type and range; the message names the path of a wrong value."""
    message = refused(folder, changed(path, value))
    start = f"`{folder}` has a contract that cannot be read: "
    assert message.startswith(start)
    assert message.endswith(". Export the model again.")
    if reason is not None:
        assert message == f"{start}{reason}. Export the model again."


def test_a_form_of_a_missing_graph_is_refused(folder: Path) -> None:
    """A form runs in place of a graph that the artifact has."""
    table = json.loads(json.dumps(WHOLE))
    del table["graphs"]["step"]
    assert refused(folder, json.dumps(table).encode()) == (
        f"`{folder}` has a contract that cannot be read: form `forms/step-operator.onnx` is of the "
        "step graph, which it has not. Export the model again."
    )


def test_a_state_without_measure_is_refused(folder: Path) -> None:
    """A state too large for memory is refused before it is created."""
    table = json.loads(json.dumps(WHOLE))
    for graph in table["graphs"].values():
        graph["inputs"][1]["shape"][2] = graph["outputs"][1]["shape"][2] = 2**31 - 1
    assert refused(folder, json.dumps(table).encode()) == (
        f"`{folder}` has a contract that cannot be read: state `h` of the sequence graph is "
        "`h_in: float32[1, batch, 2147483647]`; at most 1073741824 numbers are read. Export the "
        "model again."
    )


def test_texts_are_made_printable() -> None:
    """Unprintable characters and halves of surrogates are escaped."""
    assert escape_unprintable("m\udcff\x1b[1m é") == "m\\udcff\\x1b[1m é"
