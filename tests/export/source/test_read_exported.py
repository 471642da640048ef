"""The rules for torch.export archives as a source."""

from __future__ import annotations

import inspect
import io
import json
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from edgernn.errors import SourceError
from edgernn.export.source.read_exported import read_exported
from tests.archive_entries import entries_of, rewritten, written
from tests.torch_calls import TorchCalls


@pytest.fixture(autouse=True)
def no_grad():
    """Run without gradients: torch takes another LSTM kernel where it records them."""
    with torch.no_grad():
        yield


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.encoder = nn.ModuleDict({"rnn": nn.LSTM(4, 3, 2, batch_first=True, dropout=0.5)})
        self.shift = torch.arange(5.0)
        self.head = nn.Linear(3, 5)
        self.requires_grad_(False)

    def forward(self, tokens, hx=None, *, scale=2.0):
        y, state = self.encoder["rnn"](self.embed(tokens), hx)
        return {"scores": self.head(y) * scale + self.shift, "state": state}


def save(model: nn.Module, path: Path, *args, kwargs=None, dynamic=None) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(model, args, kwargs, dynamic_shapes=dynamic, strict=False)
        torch.export.save(program, path)
    return path


TOKENS = torch.tensor([[0, 1, 2, 3], [4, 3, 2, 1]])


def test_archive_gives_the_same_results_names_and_signature(tmp_path):
    """An archive runs as its model did, under the same parameter names and arguments."""
    model = Tagger().eval()
    module, _ = read_exported(save(model, tmp_path / "a.pt2", TOKENS, None, kwargs={"scale": 3.0}))
    want, got = model(TOKENS, scale=3.0), module(TOKENS)
    assert list(got) == ["scores", "state"]
    assert torch.equal(got["scores"], want["scores"])
    assert torch.equal(got["state"][1], want["state"][1])
    assert [n for n, _ in module.named_parameters()] == [n for n, _ in model.named_parameters()]
    assert str(inspect.signature(module.forward)) == "(tokens, hx=None, *, scale=3.0)"


def test_keywords_are_taken_by_name(tmp_path):
    """Arguments of the archive are taken by position and by name."""
    model = Tagger().eval()
    hx = (torch.randn(2, 2, 3), torch.randn(2, 2, 3))
    module, _ = read_exported(save(model, tmp_path / "a.pt2", TOKENS, hx))
    assert torch.equal(module(hx=hx, tokens=TOKENS)["scores"], model(TOKENS, hx)["scores"])


def test_another_structure_of_arguments_is_a_type_error(tmp_path):
    """Arguments of another structure than the export's are refused."""
    module, _ = read_exported(save(Tagger().eval(), tmp_path / "a.pt2", TOKENS, None))
    with pytest.raises(
        TypeError, match=r"^The archive was exported for arguments of the structure"
    ):
        module(TOKENS, (torch.zeros(2, 2, 3), torch.zeros(2, 2, 3)))


def test_guards_pin_no_size(tmp_path):
    """Sizes that the archive's guards pin are open where its graph takes others."""
    axes = {"tokens": {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}, "hx": None}
    model = Tagger().eval()
    path = save(model, tmp_path / "a.pt2", TOKENS, None, dynamic=axes)
    module, _ = read_exported(path)
    for size in ((1, 1), (3, 9)):
        tokens = torch.ones(size, dtype=torch.int64)
        assert torch.equal(module(tokens)["scores"], model(tokens)["scores"])


def test_static_archive_is_noted(tmp_path):
    """An archive without a dynamic axis says for which sizes it was exported."""
    hx = (torch.zeros(2, 2, 3), torch.zeros(2, 2, 3))
    _, notes = read_exported(save(Tagger().eval(), tmp_path / "a.pt2", TOKENS, hx))
    assert notes == (
        "The archive was exported for tokens[2, 4], hx_0[2, 2, 3], hx_1[2, 2, 3] alone: other "
        "sizes rest on its graph, not on the model's code.",
    )


def test_a_function_mode_sees_the_recurrent_calls(tmp_path):
    """A TorchFunctionMode sees the archive's recurrent operators."""
    module, _ = read_exported(save(Tagger().eval(), tmp_path / "a.pt2", TOKENS, None))
    with TorchCalls() as calls:
        module(TOKENS)
    assert calls.names.count("lstm.input") == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_floats_run_in_float32(tmp_path, dtype):
    """An archive in another floating dtype runs in float32, its own zeros and casts too."""

    class Cast(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(4, 3)

        def forward(self, x):
            y, h = self.rnn(x, torch.zeros(1, x.size(1), 3, dtype=dtype))
            return y.to(dtype) * torch.tensor([1.0, 2.0, 3.0], dtype=dtype), h

    model = Cast().to(dtype).eval()
    x = torch.randn(5, 2, 4, dtype=dtype)
    axes = ({0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO},)
    module, notes = read_exported(save(model, tmp_path / "a.pt2", x, dynamic=axes))
    y, h = module(x.float())
    assert y.dtype == h.dtype == torch.float32
    assert torch.allclose(y, model(x)[0].float(), atol=0.1)
    name = str(dtype).removeprefix("torch.")
    assert notes == (f"5 parameters and buffers in {name} run in float32.",)


def test_training_mode_becomes_eval_mode(tmp_path):
    """An archive exported in training mode runs in eval mode: no dropout, running statistics."""

    class Trained(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(4, 3, 2, dropout=0.5)
            self.norm = nn.BatchNorm1d(3)
            self.requires_grad_(False)

        def forward(self, x):
            return self.norm(self.rnn(x)[0].transpose(1, 2))

    model = Trained().train()
    x = torch.randn(5, 2, 4)
    module, notes = read_exported(save(model, tmp_path / "a.pt2", x))
    assert torch.equal(module(x), model.eval()(x))
    assert notes[0] == (
        "The archive was exported in training mode; batch_norm, lstm run in eval mode."
    )


def test_module_is_conformed(tmp_path):
    """The module is in eval mode and its parameters ask for no gradient."""
    model = Tagger().requires_grad_(True)
    module, _ = read_exported(save(model, tmp_path / "a.pt2", TOKENS, None))
    assert not module.training
    assert not any(p.requires_grad for p in module.parameters())


def test_results_trace_again_with_dynamic_axes(tmp_path):
    """torch.export.export takes the module with named dynamic axes."""
    axes = {"tokens": {0: torch.export.Dim.AUTO}, "hx": None}
    path = save(Tagger().eval(), tmp_path / "a.pt2", TOKENS, None, dynamic=axes)
    module, _ = read_exported(path)
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        module, (TOKENS,), dynamic_shapes={"tokens": {0: batch}}, strict=False
    )
    assert program.module()(torch.ones(7, 4, dtype=torch.int64))["scores"].shape == (7, 4, 5)


def test_broken_archive_is_a_source_error(tmp_path):
    """An archive that torch cannot read is named with torch's reason."""
    path = save(Tagger().eval(), tmp_path / "a.pt2", TOKENS, None)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"graph_module"', b'"graph_modulf"'))
    with pytest.raises(SourceError) as info:
        read_exported(path)
    assert str(info.value) == (
        f"`{path}` is a damaged zip archive: Bad CRC-32 for file 'a/models/model.json'. Save or "
        "download it again."
    )
    path.write_bytes(whole)
    rewritten(path, "models/model.json", b'"opset_version"', b'"opset_versiom"')
    with pytest.raises(SourceError) as info:
        read_exported(path)
    assert str(info.value) == (
        f"`{path}` is a torch.export archive that torch {torch.__version__} cannot read: "
        "ExportedProgram.__init__() missing 1 required positional argument: 'opset_version'. "
        "Export it again with this version of torch."
    )


def test_an_archive_of_another_device_runs_on_the_cpu(tmp_path):
    """An archive of a model on a GPU is read where there is none."""
    path = save(Tagger().eval(), tmp_path / "a.pt2", TOKENS, None)
    entries = entries_of(path)
    changed = {
        name: content.replace(b'"type": "cpu"', b'"type": "cuda"')
        for name, content in entries.items()
        if name.endswith(".json")
    }
    assert all(content != entries[name] for name, content in changed.items())
    module, _ = read_exported(written(path, entries | changed))
    assert module(TOKENS)["scores"].shape == (*TOKENS.shape, 5)


def test_a_pickled_weight_that_is_a_tensor_is_taken(tmp_path):
    """Tensors that torch chose to pickle are read as tensors alone."""
    path = save(Tagger().eval(), tmp_path / "a.pt2", TOKENS, None)
    entries = entries_of(path)
    table = json.loads(entries["data/weights/model_weights_config.json"])
    table["config"]["head.weight"]["use_pickle"] = True
    entries["data/weights/model_weights_config.json"] = json.dumps(table).encode()
    buffer = io.BytesIO()
    torch.save(torch.full((5, 3), 7.0), buffer)
    entries["data/weights/" + table["config"]["head.weight"]["path_name"]] = buffer.getvalue()
    module, _ = read_exported(written(path, entries))
    assert torch.equal(module.state_dict()["head.weight"], torch.full((5, 3), 7.0))
