"""`edgernn run --plot`: a picture of what is run."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Invoke
from tests.cli.runs import X, refused
from tests.nets import framed
from tests.nets.framed import Framed


@pytest.mark.parametrize(
    ("name", "start"), [("p.png", b"\x89PNG"), ("p.svg", b"<?xml"), ("p.pdf", b"%PDF")]
)
def test_formats(edgernn: Invoke, features: Path, name: str, start: bytes) -> None:
    """The suffix is the format; results appear as without a picture."""
    np.savetxt("x.csv", X[0], delimiter=",", header="left,right", comments="")
    result = edgernn("run", "--input", "x.csv", "--plot", name)
    assert (result.stderr, result.exit_code) == (f"plot    {name}\n", 0)
    assert result.stdout == edgernn("run", "--input", "x.csv").stdout
    assert Path(name).read_bytes().startswith(start)


def drawn(edgernn: Invoke, *options: str) -> str:
    """Return the picture of a run as SVG with its text as text."""
    result = edgernn("run", *options, "--plot", "p.svg", "--force")
    assert result.exit_code == 0, result.output
    return Path("p.svg").read_text("utf-8")


def test_names(edgernn: Invoke, features: Path) -> None:
    """The picture names the artifact, the file, the columns and the outputs."""
    np.savetxt("x.csv", X[0], delimiter=",", header="left,right", comments="")
    picture = drawn(edgernn, "--input", "x.csv")
    names = ("features.edgernn on x.csv", "input x", "left", "right", "output_0", "output_2")
    assert [name for name in names if f"<!-- {name} -->" not in picture] == []


def test_arrays_of_several_sequences(edgernn: Invoke, features: Path) -> None:
    """Of several sequences the first is drawn, the same in any chunks."""
    np.save("x.npy", X)
    picture = drawn(edgernn, "--input", "x.npy", "--output", "y.npy")
    assert "<!-- features.edgernn on x.npy, sequence 1 of 2 -->" in picture
    assert "<!-- x_0 -->" in picture
    chunks = drawn(edgernn, "--input", "x.npy", "--output", "y.npy", "--chunk", "9")
    assert chunks == picture


@pytest.mark.parametrize(
    ("rate", "label"), [(None, "step"), (8000, "seconds")], ids=["steps", "seconds"]
)
def test_axis_of_time(edgernn: Invoke, folder: Path, rate: float | None, label: str) -> None:
    """The axis has seconds where the rate is known."""
    framed.write(folder / "net.edgernn", Framed(8, 4, rate=rate))
    np.save("x.npy", X[:, :, 0].repeat(3, 1))
    assert f"<!-- {label} -->" in drawn(edgernn, "--input", "x.npy", "--output", "y.npz")


def test_text(edgernn: Invoke, hello: Path) -> None:
    """Text is drawn as its symbols, and generated text after a line."""
    picture = drawn(edgernn, "--text", "hel", "--generate", "3")
    for name in ("hello.edgernn on text", "h", "generated", "output"):
        assert f"<!-- {name} -->" in picture


REFUSED = [
    (["--plot", "p.png"], "--plot needs --input or --text.", 2),
    (
        ["--input", "x.csv", "--plot", "p.bmp"],
        "Invalid value for '--plot': `p.bmp` does not end in a format that is known: .png, .svg, "
        ".pdf.",
        2,
    ),
    (
        ["--input", "x.csv", "--plot", "old.png"],
        "`old.png` exists already. Give another name with --plot, or replace it with --force.",
        1,
    ),
]


@pytest.mark.parametrize(("options", "message", "code"), REFUSED)
def test_refused(
    edgernn: Invoke, features: Path, options: list[str], message: str, code: int
) -> None:
    """A picture that cannot be written is refused before the model runs."""
    Path("old.png").touch()
    refused(edgernn("run", *options), message, code)


def test_without_matplotlib(
    edgernn: Invoke, features: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing matplotlib is said before the model runs, with the extra that installs it."""
    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("run_plot", "plot_figure"):
        monkeypatch.delitem(sys.modules, f"edgernn.cli.plot.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    Path("x.csv").write_text("1,2\n")
    options = ("--plot", "p.png", "--output", "y.csv")
    result = edgernn("run", "--input", "x.csv", *options)
    assert result.stderr.startswith("Error: `matplotlib` is not installed, and this command needs")
    assert '[plot]"' in result.stderr
    assert sorted(path.name for path in Path().iterdir()) == ["features.edgernn", "x.csv"]
