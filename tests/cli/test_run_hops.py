"""`edgernn run` of a model in hops: any chunks, the rest at the end, and what comes only then."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tests.cli.conftest import Invoke
from tests.cli.runs import close, load, refused
from tests.nets import framed, small_artifacts
from tests.nets.framed import Framed

VALID = Framed(12, 4)
BOTH = Framed(12, 4, 4, 4)
INEXACT = Framed(12, 4, 0, 4, exact=False)
X = np.random.default_rng(7).normal(scale=0.3, size=(2, 47)).astype(np.float32)
WHOLE_HOPS = 44

REST = (
    "rest    the last 3 steps do not fill a hop of 4 steps, and were not run; --pad-rest runs them"
)
MISSING = (
    "missing the last 1 step of `scores`, 4 steps of `wave`, 1 step of `last`, as they come from "
    "padding inside the model"
)


@pytest.fixture(params=[VALID, BOTH, INEXACT], ids=str)
def net(request: pytest.FixtureRequest, folder: Path) -> Framed:
    """A model beside its input, `x.npy`."""
    np.save("x.npy", X)
    net: Framed = request.param
    framed.write(folder / "net.edgernn", net)
    return net


def expected(net: Framed, x: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Return what a stream gives of the model's outputs."""
    whole = net.reference(x)
    if not net.exact:
        whole["scores"] = whole["scores"][:, : -net.tail]
        whole["wave"] = whole["wave"][:, : -net.tail * net.hop]
        whole["last"] = whole["scores"][:, -1]
    return whole


def assert_outputs(path: str, wanted: dict[str, NDArray[np.float32]]) -> None:
    got = load(path)
    assert got.keys() == wanted.keys()
    for name, array in wanted.items():
        close(got[name], array)


@pytest.mark.parametrize("chunk", [None, "1", "3", "4", "10", "46"])
def test_any_chunks(edgernn: Invoke, net: Framed, chunk: str | None) -> None:
    """However the steps are divided, the outputs are those of the model, and notes say the rest."""
    options = [] if chunk is None else ["--chunk", chunk]
    result = edgernn("run", "--input", "x.npy", "--output", "y.npz", *options)
    assert result.exit_code == 0, result.output
    assert_outputs("y.npz", expected(net, X[:, :WHOLE_HOPS]))
    assert result.stderr.splitlines()[:-1] == [REST] + [MISSING] * (not net.exact)


def test_rest_is_filled(edgernn: Invoke, net: Framed) -> None:
    """With --pad-rest, zeros fill the last hop."""
    result = edgernn("run", "--input", "x.npy", "--output", "y.npz", "--pad-rest")
    assert_outputs("y.npz", expected(net, np.pad(X, ((0, 0), (0, 1)))))
    assert result.stderr.splitlines()[0] == (
        "rest    the last 3 steps were filled with 1 zeros up to a hop of 4 steps"
    )


def test_whole_hops_have_no_rest(edgernn: Invoke, net: Framed) -> None:
    """Without a rest nothing is said of one, with --pad-rest either."""
    np.save("x.npy", X[:, :WHOLE_HOPS])
    for options in ([], ["--pad-rest"]):
        result = edgernn("run", "--input", "x.npy", "--output", "y.npz", "--force", *options)
        assert_outputs("y.npz", expected(net, X[:, :WHOLE_HOPS]))
        assert "rest " not in result.stderr


@pytest.mark.parametrize("cuts", [(5,), (2, 3, 13), (8, 30)])
def test_state_holds_the_rest(edgernn: Invoke, net: Framed, cuts: tuple[int, ...]) -> None:
    """Parts of a sequence, each from the state of the one before, are the whole."""
    wanted = expected(net, X[:, :WHOLE_HOPS])
    parts = []
    options: list[str] = []
    for place, part in enumerate(np.split(X, cuts, 1)):
        np.save("part.npy", part)
        last = place == len(cuts)
        out = [] if last else ["--state-out", "state.npz", "--force"]
        files = ["--input", "part.npy", "--output", f"y{place}.npz"]
        result = edgernn("run", *files, *options, *out)
        assert result.exit_code == 0, result.output
        options = ["--state-in", "state.npz"]
        parts.append(load(f"y{place}.npz"))
    for name in ("scores", "wave"):
        close(np.concatenate([part[name] for part in parts], 1), wanted[name])
    close(parts[-1]["last"], wanted["last"])


def test_state_says_its_rest(edgernn: Invoke, net: Framed) -> None:
    """With --state-out the sequence goes on: the rest is in the state, and nothing is missing."""
    files = ["--input", "x.npy", "--output", "y.npz", "--state-out", "state.npz"]
    result = edgernn("run", *files)
    assert result.stderr.splitlines()[0] == (
        "rest    the last 3 steps do not fill a hop of 4 steps; they are in state.npz"
    )
    assert "missing" not in result.stderr
    close(load("state.npz")["stream.rest.x"], X[:, WHOLE_HOPS:])


def test_too_few_steps(edgernn: Invoke, net: Framed) -> None:
    """Where no hop is complete, outputs have no steps, and one without an axis of them is left."""
    np.save("x.npy", X[:, :3])
    result = edgernn("run", "--input", "x.npy", "--output", "y.npz", "--state-out", "state.npz")
    assert {name: array.shape for name, array in load("y.npz").items()} == {
        "scores": (2, 0, 3),
        "wave": (2, 0),
    }
    assert result.stderr.splitlines()[1] == (
        "missing `last`, as the sequence ends before that is defined"
    )


def test_lines(edgernn: Invoke, net: Framed) -> None:
    """Each line has one step of the longest output; a shorter one is in the last that it covers."""
    text = "".join(f"{value}\n" for value in X[0])
    Path("x.csv").write_text(text)
    wanted = expected(net, X[:1, :WHOLE_HOPS])
    for options, stdin in ((["x.csv"], None), (["x.csv", "--chunk", "9"], None), (["-"], text)):
        result = edgernn("run", "--input", *options, stdin=stdin)
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        close([line["wave"] for line in lines], wanted["wave"][0])
        close([line["scores"] for line in lines if "scores" in line], wanted["scores"][0])
        assert [place for place, line in enumerate(lines) if "scores" in line] == [
            *range(3, len(lines), 4)
        ]


def one_output(folder: Path, net: Framed, output: str, rate: float | None = None) -> Path:
    """Write a model with one of the outputs alone."""
    whole = net.contract()
    kept = {f"{state.name}_out" for state in whole.states} | {output}
    contract = replace(
        whole,
        graphs={
            kind: replace(graph, outputs=tuple(p for p in graph.outputs if p.name in kept))
            for kind, graph in whole.graphs.items()
        },
        delays={name: count for name, count in whole.delays.items() if name == output},
        tails={name: count for name, count in whole.tails.items() if name == output},
        sample_rate=rate,
    )
    models = {kind: net.model(whole, kind) for kind in contract.graphs}
    for model in models.values():
        for value in [v for v in model.graph.output if v.name not in kept]:
            model.graph.output.remove(value)
    golden = net.golden(whole, 40)
    golden = {
        name: array for name, array in golden.items() if name in kept | {"x"} or "_in" in name
    }
    return small_artifacts.write(folder / "one.edgernn", contract, models, golden)


def test_sound_to_sound(edgernn: Invoke, folder: Path) -> None:
    """A model that gives samples back gives a sound of the same rate."""
    one_output(folder, BOTH, "wave", rate=8000)
    soundfile.write("x.wav", X[0], 8000, subtype="FLOAT")
    result = edgernn("run", "--input", "x.wav", "--output", "y.wav")
    got, rate = soundfile.read("y.wav")
    assert rate == 8000
    close(got, expected(BOTH, X[:1, :WHOLE_HOPS])["wave"][0])
    assert result.stderr.splitlines()[0] == REST


def test_rate_of_frames(edgernn: Invoke, folder: Path) -> None:
    """The rate of an output is that of the input by the hop, and must be an integer."""
    one_output(folder, BOTH, "scores")
    wanted = expected(BOTH, X[:1, :WHOLE_HOPS])["scores"][0]
    soundfile.write("x.wav", X[0], 8000, subtype="FLOAT")
    assert edgernn("run", "--input", "x.wav", "--output", "y.wav").exit_code == 0
    got, rate = soundfile.read("y.wav")
    assert rate == 2000
    close(got, wanted)
    rows = edgernn("run", "--input", "x.wav").stdout.splitlines()
    assert rows[0] == "scores_0,scores_1,scores_2"
    close([[float(cell) for cell in row.split(",")] for row in rows[1:]], wanted)
    soundfile.write("x.wav", X[0], 8001)
    refused(
        edgernn("run", "--input", "x.wav", "--output", "z.wav"),
        "`scores: float32[batch, sequence//4, 3]` has 2000.25 steps per second, and `z.wav` needs "
        "a rate that is an integer. Write .npy or .csv.",
    )


def test_last_step_alone(edgernn: Invoke, folder: Path) -> None:
    """A file of one array is refused where the output is never defined, with the remedy."""
    one_output(folder, VALID, "last")
    np.save("x.npy", X[:, :8])
    refused_line = "Error: The sequence ends before `last` is defined. Give more steps."
    result = edgernn("run", "--input", "x.npy", "--output", "y.npy")
    assert (result.stderr.splitlines()[-1], result.exit_code) == (refused_line, 1)
    np.save("x.npy", X[:, :12])
    assert edgernn("run", "--input", "x.npy", "--output", "y.npy").exit_code == 0
    close(np.load("y.npy"), expected(VALID, X[:, :12])["last"])


REFUSED = [
    (
        ["--input", "x.npy", "--generate", "3"],
        "--generate feeds each output back as the next input, but those of `net.edgernn` come "
        "later than that, by a hop or a delay. Leave out --generate.",
        1,
    ),
    (
        ["--input", "x.npy", "--pad-rest", "--state-out", "s.npz"],
        "--pad-rest ends the sequence, and --state-out continues it.",
        2,
    ),
    (["--pad-rest"], "--pad-rest needs --input.", 2),
]


@pytest.mark.parametrize(("options", "message", "code"), REFUSED)
def test_refused(edgernn: Invoke, net: Framed, options: list[str], message: str, code: int) -> None:
    """What does not go with hops is refused before anything is run."""
    refused(edgernn("run", *options), message, code)


def test_golden_run(edgernn: Invoke, net: Framed) -> None:
    """The golden run is replayed, and the time is that of a hop."""
    lines = edgernn("run").stdout.splitlines()
    assert lines[0].startswith("whole, steps, chunks: max difference ")
    assert lines[1].endswith(" µs per hop of 4 steps on cpu (median)")
