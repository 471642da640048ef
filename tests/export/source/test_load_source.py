"""The rules for where a model may come from."""

from __future__ import annotations

import copy
import io
import sys
import warnings
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgernn.errors import SourceError
from edgernn.export.foreign.onnx_file import OnnxFile
from edgernn.export.source import load_source as sources
from edgernn.export.source.load_source import Source
from tests.torch_calls import TorchCalls

VERSION = torch.__version__.partition("+")[0]

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes=2):
        super().__init__()
        self.rnn = nn.RNN(4, 3, nonlinearity="relu")
        self.head = nn.Linear(3, classes)

    def forward(self, x):
        return self.head(torch.relu(self.rnn(x)[0]))
"""


def load_source(model: Any, **options: Any) -> Source:
    source = sources.load_source(model, assume_plain=True, **options)
    assert isinstance(source, Source)
    return source


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(4, 3, dropout=0.0, batch_first=True)
        self.head = nn.Linear(3, 2)

    def forward(self, x, hx: tuple[torch.Tensor, torch.Tensor] | None = None):
        y, hx = self.rnn(x, hx)
        return self.head(y), hx


X = torch.randn(2, 5, 4)


@pytest.fixture(autouse=True)
def no_grad():
    """Run without gradients: torch takes other kernels where it records them."""
    with torch.no_grad():
        yield


@pytest.fixture
def net():
    return Net().eval().requires_grad_(False)


@pytest.fixture
def net_file(tmp_path):
    file = tmp_path / "code" / "net.py"
    file.parent.mkdir()
    file.write_text(NET)
    return file


def write_torchscript(model, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(model).save(path)


def write_exported(model, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(model, (X,), strict=False), path)


WRITERS = {
    "TorchScript archive": write_torchscript,
    "torch.export archive": write_exported,
    "state_dict in torch.save file": lambda m, path: torch.save(m.state_dict(), path),
    "state_dict in safetensors file": lambda m, path: save_file(m.state_dict(), path),
}


@pytest.mark.parametrize("label", WRITERS)
@pytest.mark.parametrize("name", ["model.pt", "model.pt2", "model.safetensors", "model"])
def test_kind_is_told_by_content(tmp_path, net, label, name):
    """Each kind of file loads under any name, runs as the model and shows its recurrent call."""
    path = tmp_path / name
    WRITERS[label](net, path)
    source = load_source(path)
    assert source.description == f"{label} {name}, torch {VERSION}"
    with TorchCalls() as calls:
        y, _ = source.module(X)
    assert torch.equal(y, net(X)[0])
    assert calls.count("lstm") == 1
    assert "rnn.weight_ih_l0" in dict(source.module.named_parameters())


def test_live_module_is_copied(net):
    """A live module is copied: eval mode and frozen parameters are the copy's alone."""
    net.train().requires_grad_(True)
    source = load_source(net)
    assert source.description == f"nn.Module Net, torch {VERSION}"
    assert source.module is not net
    assert not source.module.training
    assert not any(p.requires_grad for p in source.module.parameters())
    assert net.training
    assert all(p.requires_grad for p in net.parameters())


def test_weights_in_place_of_a_model_are_refused_in_a_line(net):
    """A state_dict, or anything else that is no module, is named by its type, not printed."""
    with pytest.raises(SourceError) as info:
        load_source(net.state_dict())
    assert str(info.value) == (
        "`model` is of type `OrderedDict`, which is not a model. Give an nn.Module, or the path of "
        "a model file: that of a state_dict with module=, its code."
    )


def test_live_script_module_is_converted(net):
    """A live ScriptModule is converted as its archive would be."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(net)
    source = load_source(scripted)
    assert source.description == f"ScriptModule Net, torch {VERSION}"
    assert torch.equal(source.module(X)[0], net(X)[0])


def test_legacy_file_is_read(tmp_path, net):
    """A state_dict in torch.save's format before zip files is read."""
    torch.save(net.state_dict(), tmp_path / "m.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(load_source(tmp_path / "m.pth").module(X)[0], net(X)[0])


@pytest.mark.parametrize("legacy", [False, True])
def test_pickled_module_needs_trust(tmp_path, net, legacy):
    """A whole module is refused with the classes it asks for, and loads when trusted."""
    path = tmp_path / "m.pt"
    torch.save(net, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(SourceError) as info:
        load_source(path)
    first, _, classes = str(info.value).partition(": ")
    assert first == f"`{path}` is a pickle that asks for code"
    assert f"`{Net.__module__}.Net`" in classes
    assert classes.endswith(
        "Unpickling runs whatever the file says, so it is not done unasked. If you trust its "
        "origin, repeat with trust=True; or save model.state_dict() and export that."
    )
    source = load_source(path, trust=True)
    assert source.description == f"pickled module Net in torch.save file m.pt, torch {VERSION}"
    assert torch.equal(source.module(X)[0], net(X)[0])


def test_pickle_from_main_takes_its_classes_from_the_module(tmp_path, net_file, monkeypatch):
    """Classes that a training script pickled as `__main__` are found in FILE.py."""
    path = tmp_path / "m.pt"
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(NET, space)
    monkeypatch.setattr(sys.modules["__main__"], "Net", space["Net"], raising=False)
    model = space["Net"]().requires_grad_(False)
    torch.save(model, path)
    monkeypatch.delattr(sys.modules["__main__"], "Net")
    with pytest.raises(SourceError) as info:
        load_source(path, trust=True)
    assert str(info.value) == (
        f"`{path}` needs code that cannot be found: Can't get attribute 'Net'. Give the code: "
        'repeat with module="FILE.py", where FILE.py is the script that defines `Net`.'
    )
    source = load_source(path, module=str(net_file), trust=True)
    assert torch.equal(source.module(X), model(X))


def test_pickle_whose_module_is_missing(tmp_path, net_file, monkeypatch):
    """A pickled class is imported from the file's own folder; elsewhere its module is named."""
    monkeypatch.syspath_prepend(net_file.parent)
    import net as trained  # type: ignore[import-not-found]  # written by the fixture

    torch.save(trained.Net(), net_file.parent / "m.pt")
    monkeypatch.undo()
    sys.modules.pop("net")
    source = load_source(net_file.parent / "m.pt", trust=True)
    assert type(source.module).__name__ == "Net"
    sys.modules.pop("net")
    path = tmp_path / "m.pt"
    path.write_bytes((net_file.parent / "m.pt").read_bytes())
    with pytest.raises(SourceError) as info:
        load_source(path, trust=True)
    assert str(info.value) == (
        f"`{path}` needs code that cannot be found: No module named 'net'. Give the code: repeat "
        'with module="PATH/net.py", where PATH is the folder of `net.py`.'
    )
    assert type(load_source(path, module=f"{net_file}", trust=True).module).__name__ == "Net"


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: {"epoch": 3, "state_dict": weights},
        lambda weights: {"model_state_dict": weights, "optimizer_state_dict": {"state": {}}},
        lambda weights: {"model": weights, "loss": 0.5},
        lambda weights: {"checkpoint": {"module": {"state_dict": weights}}, "step": 7},
        lambda weights: {
            "state_dict": {f"model.{key}": value for key, value in weights.items()},
            "pytorch-lightning_version": "2.5",
        },
    ],
    ids=["state_dict", "model_state_dict", "model", "nested", "lightning"],
)
def test_checkpoint_wrappings_are_opened(tmp_path, net, wrap):
    """The weights are found in the usual checkpoints of training scripts."""
    torch.save(wrap(net.state_dict()), tmp_path / "m.pt")
    assert torch.equal(load_source(tmp_path / "m.pt").module(X)[0], net(X)[0])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("label", [None, "TorchScript archive", "state_dict in safetensors file"])
def test_other_floats_run_in_float32(tmp_path, net, dtype, label):
    """Every kind of source in another floating dtype runs in float32, and says so."""
    model = copy.deepcopy(net).to(dtype)
    if label:
        WRITERS[label](model, tmp_path / "m")
    source = load_source(tmp_path / "m" if label else model)
    assert torch.equal(source.module(X)[0], model.float()(X)[0])
    name = str(dtype).removeprefix("torch.")
    assert source.notes[-1] == f"6 parameters and buffers in {name} run in float32."


def test_a_bare_state_dict_is_a_guess_and_says_so(tmp_path, net, net_file):
    """A model made from keys alone says so first, and is asked for where keys cannot tell."""
    path = tmp_path / "m.pt"
    torch.save(net.state_dict(), path)
    source = load_source(path)
    assert source.rebuilt
    assert source.notes[0].startswith(
        "Warning: the model was rebuilt from the state_dict's keys; forward was not seen. "
    )
    with pytest.raises(SourceError) as info:
        sources.load_source(path)
    assert str(info.value).endswith("repeat with assume_plain=True.")
    weights = net_file_weights(tmp_path, net_file)
    assert not load_source(weights, module=f"{net_file}:Net").rebuilt


def test_module_gives_the_code_of_a_state_dict(tmp_path, net_file):
    """`FILE.py:FACTORY` makes the model that a state_dict is loaded into."""
    source = load_source(net_file_weights(tmp_path, net_file), module=f"{net_file}:Net")
    assert torch.equal(source.module(torch.ones(1, 1, 4)), torch.zeros(1, 1, 2))
    assert source.notes == ()


def test_a_callable_gives_the_code_of_a_state_dict(tmp_path):
    """A class or function makes the model as FILE.py:FACTORY does, and is named as its source."""
    torch.manual_seed(0)
    net = nn.GRU(3, 4)
    torch.save(net.state_dict(), tmp_path / "w.pt")
    source = load_source(tmp_path / "w.pt", module=partial(nn.GRU, 3, 4))
    assert isinstance(source.module, nn.GRU)
    for name, weight in net.named_parameters():
        assert torch.equal(source.module.get_parameter(name), weight)
    assert not source.rebuilt
    assert source.description.startswith("state_dict for partial in torch.save file w.pt, torch ")


def net_file_weights(tmp_path: Path, net_file: Path) -> Path:
    space: dict[str, Any] = {"__name__": "net"}
    exec(net_file.read_text(), space)
    weights = {key: torch.zeros_like(value) for key, value in space["Net"]().state_dict().items()}
    torch.save(weights, tmp_path / "w.pt")
    return tmp_path / "w.pt"


def test_an_onnx_file_is_told_by_its_content(tmp_path):
    """An ONNX file is recognised whatever its name, and read as a graph."""
    import onnx

    port = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([], "g", [port], [port])
    path = tmp_path / "m.pt"
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    read = sources.load_source(path)
    assert isinstance(read, OnnxFile)
    assert read.description == "ONNX file m.pt"


def test_code_is_not_taken_where_the_source_has_its_own(tmp_path, net):
    """`module` beside a live module or an archive is refused."""
    with pytest.raises(SourceError) as info:
        load_source(net, module="net.py:Net")
    assert str(info.value) == (
        "`net.py:Net` is given beside a live module, which has its code already. Leave module out."
    )
    write_torchscript(net, tmp_path / "m.pt")
    with pytest.raises(SourceError) as info:
        load_source(tmp_path / "m.pt", module="net.py:Net")
    assert str(info.value) == (
        f"`{tmp_path / 'm.pt'}` is a TorchScript archive, which has its code in it. Leave out "
        'module="net.py:Net".'
    )


def test_names_without_end_are_refused(tmp_path):
    """A pickle whose names go on for long is refused before torch searches them in its messages."""
    path = tmp_path / "m.pt"
    names = b"\x80\x02c" + b"a" * 200_000 + b"\nb\n."
    message = (
        f"`{path}` is a torch.save file that cannot be read: a name starts with {'a' * 40}. Save "
        "or download it again."
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("m/data.pkl", names)
    for content in (names, packed.getvalue()):
        path.write_bytes(content)
        with pytest.raises(SourceError) as caught:
            load_source(path)
        assert str(caught.value) == message
