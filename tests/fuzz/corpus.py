"""Small whole files of every kind that edgernn reads, for the fuzz test to damage."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from safetensors.torch import save_file

from tests.nets import small_artifacts
from tests.nets.onnx_files import recurrent, weights, write
from tests.nets.tagger import Tagger

__all__ = ["make"]


def make(folder: Path) -> None:
    """Write the files into an empty folder, the same bytes in every process."""
    torch.manual_seed(0)
    small_artifacts.hello(folder / "hello.edgernn")
    small_artifacts.features(folder / "features.edgernn")
    _texts(folder)
    _arrays(folder)
    _models(folder)


def _texts(folder: Path) -> None:
    (folder / "vocabulary.txt").write_text("h\ne\nl\no\n\\n\n", "utf-8")
    table = {"symbols": ["h", "e", "l", "o", "<unk>"], "unknown": "<unk>", "padding": 0}
    (folder / "vocabulary.json").write_text(json.dumps(table))
    (folder / "x.csv").write_text("a,b\n1,2\n-0.5,1e-3\n0.25,7\n")
    (folder / "x.jsonl").write_text('[1, 2]\n{"x": [[0.5, -1]]}\n[0, 1e-3]\n')
    (folder / "text.txt").write_text("hello\n")


def _arrays(folder: Path) -> None:
    x = np.linspace(-1, 1, 6, dtype=np.float32).reshape(1, 3, 2)
    np.save(folder / "x.npy", x)
    np.savez(folder / "x.npz", x=x)
    np.savez_compressed(folder / "state.npz", h=np.full((1, 1, 3), 0.5, np.float32))


def _models(folder: Path) -> None:
    module = Tagger("LSTM", 1).eval()
    torch.save(module.state_dict(), folder / "weights.pt")
    torch.save(module.state_dict(), folder / "legacy.pt", _use_new_zipfile_serialization=False)
    save_file(module.state_dict(), folder / "weights.safetensors")
    sizes = {"ids": {0: torch.export.Dim("batch", min=2, max=64)}}
    ids = torch.zeros(3, 5, dtype=torch.int64)
    with warnings.catch_warnings():
        # of torch.jit's age, and of the attributes in which layers keep their weights
        warnings.simplefilter("ignore")
        torch.jit.script(module).save(folder / "scripted.pt")
        program = torch.export.export(module, (ids,), dynamic_shapes=sizes)
    torch.export.save(program, folder / "program.pt2")
    file = write(folder / "foreign.onnx", [recurrent("LSTM")], weights("LSTM"))
    (folder / "external").mkdir()
    onnx.save(
        onnx.load(file),
        folder / "external" / "graph.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )


def copy(folder: Path, name: str, target: Path) -> Path:
    """Copy a file, or the folder that it stands in, to where it is damaged."""
    top = Path(name).parts[0]
    if (folder / top).is_dir():
        shutil.copytree(folder / top, target / top)
    else:
        shutil.copy(folder / top, target / top)
    return target / name
