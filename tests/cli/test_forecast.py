"""`edgernn run --generate` on numbers: the model goes on by itself, as eager torch does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgernn.artifact import Artifact
from edgernn.cli.forecast import Forecast, check_no_lengths
from edgernn.contract import Contract, Graph, Port
from edgernn.errors import InputError
from edgernn.export import export_model
from edgernn.vocabulary import Vocabulary
from tests.cli.conftest import Invoke
from tests.cli.runs import close, load, refused
from tests.nets import small_artifacts

COUNT = 5


class Net(nn.Module):
    """A GRU whose output is the next values of its input, in one of several shapes."""

    def __init__(self, size: int, form: str) -> None:
        super().__init__()
        self.form = form
        self.rnn = nn.GRU(size, 4, batch_first=form != "time first")
        self.head = nn.Linear(4, size)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.rnn(x)[0])
        if self.form == "last step":
            return y[:, -1]
        if self.form == "squeezed":
            return y.squeeze(-1)
        return y.reshape(-1, y.shape[-1]) if self.form == "flat" else y

    def last_step(self, x: Tensor) -> Tensor:
        """Return the output at the last step of x, (batch, steps, features)."""
        time_first = self.form == "time first"
        y: Tensor = self.head(self.rnn(x.transpose(0, 1) if time_first else x)[0])
        return y[-1] if time_first else y[:, -1]


FORMS = {"batch first": 2, "time first": 2, "last step": 3, "squeezed": 1, "flat": 2}
Exported = tuple[Net, str]


@pytest.fixture(scope="module", params=FORMS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A model of every form, and its artifact."""
    torch.manual_seed(0)
    size = FORMS[request.param]
    net = Net(size, request.param).eval()
    path = tmp_path_factory.mktemp("net") / "net.edgernn"
    export_model(net, path, inputs=(torch.randn(2, 6, size),))
    return net, str(path)


def continued(net: Net, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the steps that eager torch generates after x, (batch, steps, features)."""
    data = torch.from_numpy(x)
    with torch.no_grad():
        for _ in range(COUNT):
            data = torch.cat([data, net.last_step(data)[:, None]], 1)
    return data[:, -COUNT:].numpy()


def data(net: Net, batch: int) -> NDArray[np.float32]:
    shape = (batch, 6, FORMS[net.form])
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("chunk", [None, "4", "1"])
def test_generated_steps(edgernn: Invoke, exported: Exported, chunk: str | None) -> None:
    """The results are the steps that eager torch generates, in the shape of the outputs."""
    net, artifact = exported
    x = data(net, 1)
    np.savetxt("x.csv", x[0], delimiter=",")
    options = ["--generate", str(COUNT), *([] if chunk is None else ["--chunk", chunk])]
    wanted = continued(net, x)[0]
    assert (
        edgernn("run", artifact, "--input", "x.csv", "--output", "y.csv", *options).exit_code == 0
    )
    close(np.loadtxt("y.csv", delimiter=",", skiprows=1, ndmin=2), wanted)
    result = edgernn("run", artifact, "--input", "x.csv", "--output", "y.npy", *options)
    assert result.stderr.startswith("wrote   y.npy: 5 steps")
    close(np.load("y.npy").reshape(wanted.shape), wanted)
    for source, stdin in (("x.csv", None), ("-", Path("x.csv").read_text())):
        result = edgernn("run", artifact, "--input", source, *options, stdin=stdin)
        close(np.loadtxt(result.stdout.splitlines(), delimiter=",", ndmin=2), wanted)


@pytest.mark.usefixtures("folder")
def test_names_of_the_input(edgernn: Invoke, exported: Exported) -> None:
    """What is fed back has the names of the input, so that it can be read as one."""
    net, artifact = exported
    names = ",".join("abc"[: FORMS[net.form]])
    np.savetxt("x.csv", data(net, 1)[0], delimiter=",", header=names, comments="")
    run = ("run", artifact, "--columns", names, "--generate", "2")
    assert edgernn(*run, "--input", "x.csv", "--output", "y.csv").exit_code == 0
    assert Path("y.csv").read_text().splitlines()[0] == names
    assert edgernn(*run, "--input", "y.csv").stdout.splitlines()[0] == names
    assert edgernn(*run, "--input", "y.csv", "--plot", "p.svg").exit_code == 0
    picture = Path("p.svg").read_text("utf-8")
    assert {picture.count(f"<!-- {name} -->") for name in names.split(",")} == {2}


@pytest.mark.usefixtures("folder")
def test_several_sequences(edgernn: Invoke, exported: Exported) -> None:
    """Every sequence of a batch goes on by itself."""
    net, artifact = exported
    x = data(net, 3)
    time_first = net.form == "time first"
    np.save("x.npy", x.swapaxes(0, 1) if time_first else x)
    run = ("run", artifact, "--input", "x.npy", "--output", "y.npy", "--generate", str(COUNT))
    result = edgernn(*run)
    if net.form == "flat":
        refused(
            result,
            "`output: float32[batch*sequence, 2]` counts sequences and steps in one axis, so "
            "chunks of several sequences cannot be joined. Leave out --generate, or give one "
            "sequence.",
        )
        return
    y = np.load("y.npy")
    wanted = continued(net, x)
    close((y.swapaxes(0, 1) if time_first else y).reshape(wanted.shape), wanted)


@pytest.mark.usefixtures("folder")
def test_state_has_seen_what_was_generated(edgernn: Invoke, exported: Exported) -> None:
    """A run goes on after the generated steps from the state that is written."""
    net, artifact = exported
    x = data(net, 1)
    np.savetxt("a.csv", x[0, :2], delimiter=",")
    np.savetxt("b.csv", x[0, 2:], delimiter=",")
    edgernn("run", artifact, "--input", "a.csv", "--output", "y.csv", "--state-out", "a.npz")
    start = ("--state-in", "a.npz", "--state-out", "s.npz")
    result = edgernn("run", artifact, "--input", "b.csv", "--generate", str(COUNT), *start)
    assert result.exit_code == 0
    seen = np.concatenate([x, continued(net, x)], 1)
    np.savetxt("all.csv", seen[0], delimiter=",")
    edgernn("run", artifact, "--input", "all.csv", "--output", "z.csv", "--state-out", "t.npz")
    for name, wanted in load("t.npz").items():
        close(load("s.npz")[name], wanted)


# --- what does not fit ----------------------------------------------------------------------------


def contract(
    inputs: list[Port], outputs: list[Port], vocabulary: Vocabulary | None = None
) -> Contract:
    graphs = {"sequence": Graph(tuple(inputs), tuple(outputs))}
    return Contract("0", "Net", (), True, graphs, vocabulary)


def port(name: str, *shape: int | str, dtype: str = "float32") -> Port:
    return Port(name, dtype, shape)


X = port("x", "batch", "sequence", 2)
REFUSED = {
    "features": (
        contract([X], [port("y", "batch", "sequence", 3)]),
        "--generate feeds an output back as `x: float32[batch, sequence, 2]`, and `y: "
        "float32[batch, sequence, 3]` does not have its dtype and features. Leave out --generate, "
        "or export a model that returns its next input.",
    ),
    "scores": (
        contract(
            [port("x", "batch", "sequence", dtype="int64")],
            [port("y", "batch", "sequence", 3)],
            Vocabulary(("a", "b", "c")),
        ),
        "--generate feeds an output back as `x: int64[batch, sequence]`, and `y: "
        "float32[batch, sequence, 3]` does not have its dtype and features. Give --text to "
        "continue a text, or export a model that returns its next input.",
    ),
    "two outputs": (
        contract([X], [port("y", "batch", 2), port("z", "batch", "sequence", 2)]),
        "--generate feeds one output back as `x: float32[batch, sequence, 2]`, and `y: "
        "float32[batch, 2]` and `z: float32[batch, sequence, 2]` all fit. Leave out --generate, or "
        "export a model that returns one of them.",
    ),
    "two inputs": (
        contract([X, port("gain", "batch", "sequence", 1)], [port("y", "batch", "sequence", 2)]),
        "--generate feeds an output back as the only input; the model has 2: `x: "
        "float32[batch, sequence, 2]`, `gain: float32[batch, sequence, 1]`. Leave out --generate, "
        "and give the inputs of all steps.",
    ),
    "constant steps": (
        contract(
            [Port("x", "float32", ("batch", 4, 2), axis_names=("batch", "sequence", None))],
            [Port("y", "float32", ("batch", 4, 2), axis_names=("batch", "sequence", None))],
        ),
        "--generate runs single steps, but the graph takes 4 at a time. Leave out --generate, or "
        "export the model with a step graph.",
    ),
}


@pytest.mark.parametrize(("model", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(model: Contract, message: str) -> None:
    """A model whose output is not its next input does not go on by itself."""
    with pytest.raises(InputError) as caught:
        Forecast(model)
    assert str(caught.value) == message


def test_one_of_two_outputs(edgernn: Invoke, folder: Path) -> None:
    """The output that fits is fed back, and the other one is written too."""
    both = contract([X], [port("y", "batch", 2), port("z", "batch", "sequence", 3)])
    layout = Forecast(both).layout(True, 4, columns=None)
    assert {name: axis.port.shape for name, axis in layout.axes.items()} == {
        "y": ("batch", "sequence", 2),
        "z": ("batch", "sequence", 3),
    }


class Growing(nn.Module):
    """A model whose values are ten times those that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(1, 1, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.rnn(x)[0]
        return 10 * x + y


def test_forecast_is_finite(edgernn: Invoke, folder: Path) -> None:
    """What the model cannot go on from is refused, and nothing is written."""
    export_model(Growing().eval(), folder / "g.edgernn", inputs=(torch.ones(1, 3, 1),))
    Path("x.jsonl").write_text("1e36\n")
    options = ("--generate", "9", "--output", "y.jsonl", "--state-out", "s.npz")
    refused(
        edgernn("run", "--input", "x.jsonl", *options),
        "Step 3 that the model generated has values that are NaN or infinite, which it cannot go "
        "on from. Generate fewer steps.",
    )
    assert sorted(path.name for path in folder.iterdir()) == ["g.edgernn", "x.jsonl"]


def test_lengths_do_not_go_on(folder: Path) -> None:
    """Sequences that end before the last step have nothing to go on from."""
    ending = Artifact.open(small_artifacts.ending(folder / "ending.edgernn")).contract
    x = np.ones((2, 3, 1), np.float32)
    check_no_lengths(ending, {"x": x})
    with pytest.raises(InputError) as caught:
        check_no_lengths(ending, {"x": x, "lengths": np.array([3, 2])})
    assert str(caught.value) == (
        "`lengths` ends sequences before the last step, and --generate goes on after it. Leave "
        "out `lengths`, and give sequences of one length."
    )
