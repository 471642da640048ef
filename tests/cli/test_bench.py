"""`edgernn bench`: what it measures, prints, draws and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import edgernn as package
from edgernn.cli.speeds import measure_speeds
from edgernn.runtime.measure import timing
from edgernn.runtime.measure.limits import Limits
from tests.cli.conftest import Invoke
from tests.cli.runs import refused
from tests.nets import small_artifacts

QUICK = ("--rounds", "1", "--seconds", "0.01")


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the machine limits without measuring them."""
    found = Limits(memory=1e9, weights=4e9, multiply_adds=1e9)
    monkeypatch.setattr(measure_speeds, "measure_limits", lambda *_: found)


def cells(result: Any) -> list[tuple[int, int]]:
    """Return batch and chunk of each cell in JSON."""
    assert result.exit_code == 0, result.stderr
    return [(cell["batch"], cell["chunk"]) for cell in json.loads(result.stdout)["cells"]]


def test_the_table(edgernn: Invoke, features: Path) -> None:
    """The machine and its limits come first, then a row for each size."""
    result = edgernn("bench", "features.edgernn", "--batch", "1,3", *QUICK)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "model     features.edgernn: RNN(2, 3)"
    assert lines[1].startswith("machine   ")
    assert lines[1].endswith("; 1 thread used")
    assert lines[3] == (
        "limits    memory 1.0 GB/s; 512 bytes of weights from a cache 4.0 GB/s; 1.0 G"
    )
    assert lines[6] == "Time of one call"
    assert lines[7].split("  ")[0] == "batch"
    assert [line.split()[:2] for line in lines[9:]] == [
        ["1", "1"],
        ["1", "100"],
        ["3", "1"],
        ["3", "100"],
    ]
    assert [line.split()[-1] for line in lines[9:]] == ["cache", "peak", "peak", "peak"]


def test_lists_in_json(edgernn: Invoke, features: Path) -> None:
    """Every combination is a cell, each size once, with all that was measured."""
    result = edgernn(
        "bench", "features.edgernn", "--batch", "2, 1,2", "--chunk", "3", "--json", *QUICK
    )
    assert cells(result) == [(2, 3), (1, 3)]
    report = json.loads(result.stdout)
    assert report["limits"] == [
        {
            "precision": "",
            "provider": "cpu",
            "weight_bytes": 512,
            "memory_bytes_per_second": 1e9,
            "weight_bytes_per_second": 4e9,
            "multiply_adds_per_second": 1e9,
        }
    ]
    first = report["cells"][0]
    assert 0 < first["median"] <= first["p99"]
    assert first["steps_per_second"] == pytest.approx(6 / first["median"])
    assert first["limit"]["share"] == pytest.approx(first["limit"]["seconds"] / first["median"])
    assert (report["threads"], first["torch"]) == (1, None)


def test_real_time(edgernn: Invoke, folder: Path) -> None:
    """A model with a sample rate is compared with the time of its input."""
    small_artifacts.features(folder / "s.edgernn", sample_rate=100.0)
    result = edgernn("bench", "s.edgernn", "--json", *QUICK)
    (step, _) = json.loads(result.stdout)["cells"]
    assert step["real_time_factor"] == pytest.approx(step["steps_per_second"] / 100)
    assert "real" in edgernn("bench", "s.edgernn", *QUICK).stdout


def test_against_torch_and_other_precisions(edgernn: Invoke, folder: Path) -> None:
    """The torch model is measured beside each precision; others are exported and removed."""
    torch.manual_seed(0)
    model = nn.GRU(4, 8, batch_first=True)
    torch.save(model.state_dict(), "gru.pt")
    package.export_model(model, "gru.edgernn", verify=False)
    before = sorted(folder.iterdir())
    result = edgernn(
        *("bench", "gru.edgernn", "--against", "gru.pt", "--assume-plain", "--json"),
        *("--precision", "float32,int8", "--plot", "gru.svg", *QUICK),
    )
    assert cells(result) == [(1, 1), (1, 100)] * 2
    found = json.loads(result.stdout)["cells"]
    assert [cell["precision"] for cell in found] == ["float32"] * 2 + ["int8"] * 2
    assert all(cell["torch"]["median"] > 0 and cell["speedup"] > 0 for cell in found)
    assert sorted(folder.iterdir()) == sorted([*before, folder / "gru.svg"])
    assert result.stderr.endswith("plot    gru.svg\n")
    assert (folder / "gru.svg").read_text().startswith("<?xml")


def test_an_interrupt_prints_what_was_measured(
    edgernn: Invoke, features: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the second size leaves the first in the table and in the picture."""
    measure = timing.measure
    done: list[bool] = []

    def interrupted(*args: Any, **options: Any) -> Any:
        if done:
            raise KeyboardInterrupt
        done.append(True)
        return measure(*args, **options)

    monkeypatch.setattr(measure_speeds, "measure", interrupted)
    result = edgernn("bench", "features.edgernn", "--json", "--plot", "f.png", *QUICK)
    assert result.exit_code == 130
    assert [cell["chunk"] for cell in json.loads(result.stdout)["cells"]] == [1]
    assert result.stderr == "plot    f.png\nmeasured 1 of 2 sizes\nInterrupted.\n"
    again = edgernn("bench", "features.edgernn", *QUICK)  # before anything is measured
    assert (again.exit_code, again.output) == (130, "Interrupted.\n")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--batch", "0"), "`0` is not an integer from 1 to 999,999,999, as in `1,8,64`."),
        (("--chunk", "1,,2"), "`` is not an integer from 1 to 999,999,999, as in `1,8,64`."),
        (
            ("--batch", "9" * 5000),
            f"`{'9' * 5000}` is not an integer from 1 to 999,999,999, as in `1,8,64`.",
        ),
        (
            ("--chunk", "1" + "0" * 20),
            f"`1{'0' * 20}` is not an integer from 1 to 999,999,999, as in `1,8,64`.",
        ),
        (("--seconds", "nan"), "'nan' is not a number."),
        (("--plot", "x.gif"), "`x.gif` does not end in a format that is known: .png, .svg, .pdf."),
    ],
)
def test_values_that_no_option_takes(
    edgernn: Invoke, features: Path, args: tuple[str, str], message: str
) -> None:
    """Such a value is a usage error that says what is taken."""
    result = edgernn("bench", "features.edgernn", *args)
    refused(result, f"Invalid value for '{args[0]}': {message}", code=2)


def test_an_unknown_precision_lists_the_known_ones(edgernn: Invoke, features: Path) -> None:
    """They are those of `edgernn export`."""
    result = edgernn("bench", "features.edgernn", "--precision", "int3")
    assert "`int3` is not a precision; known are: float32, float16, int8" in result.stderr
    assert result.exit_code == 2


def test_options_that_do_not_go_together(edgernn: Invoke, features: Path) -> None:
    """How to read a model needs a model; to replace a file needs a file."""
    refused(edgernn("bench", "features.edgernn", "--force"), "--force needs --plot.", code=2)
    result = edgernn("bench", "features.edgernn", "--trust")
    flags = "--input, --state, --module, --assume-plain, --trust"
    refused(result, f"{flags} need --against.", code=2)


def test_a_size_that_the_model_does_not_take(edgernn: Invoke, hello: Path) -> None:
    """It is refused before anything is measured; without it, the rest is measured."""
    result = edgernn("bench", "hello.edgernn", "--batch", "1,2", *QUICK)
    refused(
        result,
        "`batch` is 2, but this model was exported for a batch of 1 only "
        "(`h_in: float32[1, 1, 8]`). Run 1 sequence at a time.",
    )
    assert cells(edgernn("bench", "hello.edgernn", "--batch", "1", "--json", *QUICK))


def test_a_torch_model_of_another_size(edgernn: Invoke, features: Path) -> None:
    """It is measured, and the numbers of parameters say that it may be another model."""
    torch.save(nn.RNN(2, 3).state_dict(), "rnn.pt")
    options = ("--against", "rnn.pt", "--assume-plain", "--chunk", "1", "--json")
    result = edgernn("bench", "features.edgernn", *options, *QUICK)
    assert cells(result) == [(1, 1)]
    assert result.stderr == (
        "note    `rnn.pt` has 21 parameters and `features.edgernn` 1,314,816: compare them only if "
        "both are the same model.\n"
    )


def test_an_unknown_provider(edgernn: Invoke, features: Path) -> None:
    """It is refused with the known ones."""
    result = edgernn("bench", "features.edgernn", "--provider", "cpu", "--provider", "npu")
    known = "auto, cpu, cuda, tensorrt, openvino, directml, coreml"
    refused(result, f"`npu` is not a provider; known are: {known}.")


def test_an_onnx_file_has_no_torch_model(edgernn: Invoke, features: Path) -> None:
    """The remedy is the model that the file was made from."""
    result = edgernn("bench", "features.edgernn", "--against", "features.edgernn/step.onnx")
    refused(
        result,
        "`features.edgernn/step.onnx` is an ONNX file, which torch does not run. Give the torch "
        "model that it was made from.",
    )


def test_another_model_is_refused(edgernn: Invoke, features: Path) -> None:
    """A torch model with other inputs is not the one of the artifact."""
    torch.save(nn.LSTM(7, 3).state_dict(), "lstm.pt")
    result = edgernn("bench", "features.edgernn", "--against", "lstm.pt", "--assume-plain")
    refused(
        result,
        "The artifact takes `x: float32[batch, sequence, 2]`, and `FeatureModel.forward` takes "
        "`x:float32[batch,sequence,7]`, `hx[0]:float32[1,batch,3]`, `hx[1]:float32[1,batch,3]`. "
        "Give the model that the artifact was made from.",
    )
