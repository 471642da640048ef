"""The rules for the code that refusals name: found without running it, and right where followed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import edgernn
from edgernn.errors import SourceError
from edgernn.export.source.find_code import UNKNOWN_CODE, code_of_pickle, code_of_weights

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self{arguments}):
        super().__init__()
        self.rnn = nn.GRU(4, 8, batch_first=True)
        self.head = nn.Linear(8, 2)
        self.register_buffer("scale", torch.ones(2))

    def forward(self, x):
        return self.scale * self.head(torch.relu(self.rnn(x)[0]))
"""
SAVE = """
model = Net({})
torch.save(model, "model.pt")
torch.save(model.state_dict(), "weights.pt")
"""
GUARDED = '\nif __name__ == "__main__":' + SAVE.replace("\n", "\n    ")
ASKED = (
    "`model.pt` is a pickle that asks for code: `__main__.Net`, `__builtin__.set`, "
    "`torch.nn.modules.linear.Linear`, `torch.nn.modules.rnn.GRU`. Unpickling runs whatever the "
    "file says, so it is not done unasked. If you trust its origin, repeat with trust=True, {}; or "
    "save model.state_dict() and export that.{}"
)
TRAINS = (
    " `train.py` would train or save a model when it is imported: line 16 calls `torch.save`. Put "
    'that under `if __name__ == "__main__":`, or end the script with '
    "`edgernn.export_model(model)`."
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_script(code: str) -> None:
    """Write `train.py` and run it, as one trains a model."""
    Path("train.py").write_text(code)
    subprocess.run([sys.executable, "train.py"], check=True, timeout=120)


def refusal(file: str, **options: object) -> str:
    with pytest.raises(SourceError) as caught:
        edgernn.export_model(file, **options)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.usefixtures("folder")
def test_a_module_of_a_script_takes_one_try() -> None:
    """The refusal of a pickled module names the script that defines its class."""
    run_script(NET.format(arguments="") + GUARDED.format(""))
    assert refusal("model.pt") == ASKED.format('module="train.py"', "")
    edgernn.export_model("model.pt", trust=True, module="train.py")


@pytest.mark.usefixtures("folder")
def test_weights_of_a_script_take_one_try() -> None:
    """The refusal of a state_dict names the class that has its parts."""
    run_script(NET.format(arguments=", hidden=8") + GUARDED.format(""))
    assert refusal("weights.pt").endswith(
        'Give the model\'s code: repeat with module="train.py:Net".'
    )
    edgernn.export_model("weights.pt", module="train.py:Net")


@pytest.mark.usefixtures("folder")
def test_a_class_with_arguments_needs_a_function() -> None:
    """The refusal has the function to add, with the arguments that have no default."""
    run_script(NET.format(arguments=", hidden, *, depth") + GUARDED.format("8, depth=1"))
    assert refusal("weights.pt").endswith(
        'Give the model\'s code: repeat with module="train.py:make", after you add a function to '
        "`train.py`: `def make(): return Net(hidden=…, depth=…)`."
    )
    with Path("train.py").open("a") as stream:
        stream.write("\ndef make(): return Net(hidden=8, depth=1)\n")
    edgernn.export_model("weights.pt", module="train.py:make")


@pytest.mark.usefixtures("folder")
def test_a_script_that_would_train_again_is_not_imported() -> None:
    """The first refusal says so, and the files of the training stay as they are."""
    run_script(NET.format(arguments="") + SAVE.format(""))
    saved = Path("model.pt").read_bytes()
    assert refusal("model.pt") == ASKED.format('module="train.py"', TRAINS)
    assert refusal("weights.pt").endswith(f'repeat with module="train.py:Net".{TRAINS}')
    assert refusal("model.pt", trust=True, module="train.py") == TRAINS.strip()
    assert Path("model.pt").read_bytes() == saved
    code = (
        Path("train.py")
        .read_text()
        .replace("\ntorch.save", '\nif __name__ == "__main__": torch.save')
    )
    Path("train.py").write_text(code)
    edgernn.export_model("model.pt", trust=True, module="train.py")


NAMES = {"__main__.Net", "torch.nn.modules.rnn.GRU", "__builtin__.set", "collections.OrderedDict"}


@pytest.mark.usefixtures("folder")
def test_several_files_are_not_guessed_between() -> None:
    """Where none or more than one defines the class, the message says what FILE.py is."""
    path = Path("model.pt")
    for file in ("a.py", "b.py"):
        found = code_of_pickle(NAMES, path)
        assert found is not None
        if file == "b.py":
            assert (found.module, found.where) == ("a.py", "")
        else:
            where = ", where FILE.py is the script that defines `Net`"
            assert (found.module, found.where) == ("FILE.py", where)
            assert code_of_weights(["rnn.weight_ih_l0"], path) == UNKNOWN_CODE
        Path(file).write_text(NET.format(arguments=""))
    found = code_of_pickle(NAMES, path)
    assert found is not None
    assert found.module == "FILE.py"
    assert code_of_weights(["rnn.weight_ih_l0"], path) == UNKNOWN_CODE


def test_of_several_classes_the_one_whose_script_names_the_file_is_taken(folder: Path) -> None:
    """Two scripts with the same parts are distinguished by what they save."""
    for name in ("a", "b"):
        (folder / f"{name}.py").write_text(NET.format(arguments="") + f'OUTPUT = "runs/{name}.pt"')
    assert code_of_weights(["head.weight"], Path("runs", "b.pt")).module == "b.py:Net"
    assert code_of_weights(["head.weight"], Path("c.pt")) == UNKNOWN_CODE


def test_code_is_found_beside_the_file(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The folder of the model counts as the current one does; its files have their whole path."""
    other = tmp_path_factory.mktemp("other")
    file = other / "net.py"
    file.write_text(NET.format(arguments=""))
    found = code_of_pickle(NAMES, other / "model.pt")
    assert found is not None
    assert found.module == str(file)
    assert code_of_weights(["head.weight", "scale"], other / "w.pt").module == f"{file}:Net"
    assert code_of_weights(["head.weight", "body.weight"], other / "w.pt") == UNKNOWN_CODE


def test_modules_that_python_finds_need_nothing(folder: Path) -> None:
    """Installed packages, what is imported, and files beside the model are found by Python."""
    names = {"torch.nn.modules.rnn.GRU", "__builtin__.set", "copy_reg._reconstructor", "beside.Net"}
    (folder / "beside.py").touch()
    assert code_of_pickle(names, folder / "model.pt") is None
    assert "beside" not in sys.modules


@pytest.mark.parametrize(
    ("name", "module", "where"),
    [
        ("absent_net.Net", "PATH/absent_net.py", ", where PATH is the folder of `absent_net.py`"),
        ("absent_net.parts.Net", None, " in the folder that holds the package `absent_net`"),
    ],
)
def test_modules_that_python_does_not_find(
    name: str, module: str | None, where: str, folder: Path
) -> None:
    """A file is given by its path; a package has to be on the path."""
    found = code_of_pickle({name}, folder / "model.pt")
    assert found is not None
    assert (found.module, found.where) == (module, where)


def test_names_that_are_no_modules_are_not_looked_up(folder: Path) -> None:
    """What a hostile pickle calls a module is not taken for one."""
    assert code_of_pickle({"../evil.Net", " .x", "\x1b[2J.y"}, folder / "model.pt") is None


def test_a_pickled_package_is_run_where_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal of a module from a package names the folder, and there it is exported."""
    (folder / "nets").mkdir()
    (folder / "nets" / "gru.py").write_text(NET.format(arguments=""))
    save = "import torch\nfrom nets.gru import Net\ntorch.save(Net(), 'nets/model.pt')\n"
    subprocess.run([sys.executable, "-c", save], check=True, timeout=120)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (folder / "nets" / "model.pt").rename(elsewhere / "model.pt")
    assert refusal("model.pt", trust=True) == (
        "`model.pt` needs code that cannot be found: No module named 'nets'. Repeat it in the "
        "folder that holds the package `nets`."
    )
    assert "repeat with trust=True in the folder that holds the package `nets`; or" in refusal(
        "model.pt"
    )
    monkeypatch.chdir(folder)
    with torch.no_grad():
        edgernn.export_model("elsewhere/model.pt", trust=True)
