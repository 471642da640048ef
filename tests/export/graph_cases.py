"""Exports that take every way through the code, of models that the other tests are about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import nn

from edgernn.export.pipeline import export_model
from tests.export.capture.test_packed_sequences import LENGTHS, Packed, Plain
from tests.export.capture.test_packed_sequences import TOKENS as PADDED
from tests.export.foreign.test_add_lengths import ended
from tests.export.foreign.test_file_states import initial_forms
from tests.export.foreign.test_options_of_files import ids, stack
from tests.export.foreign.test_resolve_file import EQUAL, RATE, by_size, chosen
from tests.export.lower.test_running_results import LogSpace
from tests.export.passes.test_constant_axes import Loop
from tests.export.passes.test_opset import Normed
from tests.models import (
    cell_loops,
    crops,
    detectors,
    forecasters,
    hand_loops,
    loop_forms,
    memories,
    own_cells,
    packed_forms,
    policies,
    seq2seq,
    state_forms,
    taggers,
)
from tests.nets import scripted
from tests.nets.exact_weights import exact, exact_file
from tests.nets.kinds import HIDDEN, INPUT, STYLES, GivenOne, LeftOut, net
from tests.nets.onnx_files import X, detector, port, recurrent, weights, write
from tests.nets.tagger import Learned, Tagger
from tests.nets.torch_onnx import TOKENS, from_torch
from tests.nets.torch_onnx import Tagger as OnnxTagger
from tests.supported.sources import SOURCES
from tests.supported.trials import specs, state_specs

__all__ = ["CASES"]

Made = tuple[nn.Module | str | Path, dict[str, Any]]
Case = Callable[[], Made]

_X3 = "x:float32[batch,sequence,3]"
_X4 = "x:float32[batch,sequence,4]"


def _module(make: Callable[[], nn.Module], inputs: Any = None, **options: Any) -> Case:
    return lambda: (exact(make()), {"inputs": inputs, **options})


def _kind(kind: str, style: str = "left out", dtype: Any = torch.float32, **options: Any) -> Case:
    """Return a layer, cell or loop of the page of what is supported."""
    batch = options.pop("batch", "batch")

    def made() -> Made:
        model = exact(net(kind, STYLES[style], **options)).to(dtype)
        given = specs(kind, batch_first=options.get("batch_first", False), batch=batch)
        if style == "argument":
            given += state_specs(model, kind, batch)
        named = {"states": {"h": 1}} if kind == "one step by hand" else {}
        return model, {"inputs": given, **named}

    return made


def _tagger(kind: str = "LSTM", **options: Any) -> Case:
    return _module(lambda: Tagger(kind), (torch.zeros(2, 5, dtype=torch.int64),), **options)


def _source(name: str, kind: str = "nn.LSTM") -> Case:
    """Return a file of one of the page's kinds."""

    def made() -> Made:
        step = kind.endswith("Cell")
        model = exact(net(kind, GivenOne if step else LeftOut))
        example: tuple[torch.Tensor, ...] = (torch.zeros(*(() if step else (5,)), 2, INPUT),)
        if step:
            example += tuple(torch.zeros(2, HIDDEN) for _ in model.sizes)
        inputs = specs(kind) + (state_specs(model, kind) if step else [])
        file, options = SOURCES[name](model, example)
        named = {"states": {"h": 1, "c": 2}} if step else {}
        return file, {"inputs": inputs, "assume_plain": True, **named, **options}

    return made


def _scripted(make: type[nn.Module], *example: torch.Tensor, how: str = "scripted") -> Case:
    return lambda: (
        scripted.archive(Path(), exact(make()), *example, how=how),
        {"inputs": example},
    )


def _file(make: Callable[[Path], Path], **options: Any) -> Case:
    return lambda: (exact_file(make(Path("model.onnx"))), options)


def _from_torch(kind: type[nn.LSTM | nn.GRU | nn.RNN], dynamo: bool, **how: Any) -> Case:
    def made() -> Made:
        axes: dict[str, Any] = {"dynamic_axes": {"tokens": {0: "b", 1: "t"}}}
        if dynamo:
            axes = {"dynamic_shapes": ({0: torch.export.Dim("b"), 1: torch.export.Dim("t")},)}
        module = exact(OnnxTagger(kind, **how))
        names = {"input_names": ["tokens"], "dynamo": dynamo}
        return from_torch(Path("model.onnx"), module, (TOKENS,), **names, **axes), {}

    return made


def _own(form: str) -> Callable[[Path], Path]:
    """Return what writes a layer whose initial state the file makes itself."""
    nodes, constants, inputs = initial_forms()[form]
    nodes = [*nodes, recurrent("GRU", inputs)]
    return lambda path: write(path, nodes, {**weights("GRU"), **constants})


def _half(path: Path) -> Path:
    half = TensorProto.FLOAT16
    nodes = [
        helper.make_node("Cast", ["x"], ["x_half"], to=half),
        recurrent("GRU", ("x_half", "W", "R", "B")),
    ]
    arrays = {name: array.astype(np.float16) for name, array in weights("GRU").items()}
    return write(path, nodes, arrays, outputs=[port("y", None, half)])


def _mask(path: Path) -> Path:
    nodes = [
        helper.make_node("ReduceSum", ["mask", "axis"], ["lens"], keepdims=0),
        recurrent("RNN", ("x", "W", "R", "B", "lens"), ("y", "y_h")),
    ]
    mask = port("mask", ["T", "B"], TensorProto.INT32)
    return write(path, nodes, {**weights("RNN"), "axis": np.array([0])}, [X, mask])


def _old(path: Path) -> Path:
    squeeze = helper.make_node("Squeeze", ["y"], ["z"], axes=[1])
    return write(path, [recurrent("LSTM"), squeeze], weights("LSTM"), opset=9, ir_version=3)


def _by_size(path: Path) -> Path:
    model = onnx.load(chosen(path, by_size(1), [X]))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "one"))
    onnx.save(model, path)
    return path


def _again(part: str, make: Callable[[], nn.Module], **options: Any) -> Case:
    """Return an artifact, or a graph of it, as the model of another."""

    def made() -> Made:
        first = export_model(exact(make()), "first.edgernn", verify=False, **options)
        return first.path / part, {}

    return made


def _chosen(path: Path) -> Path:
    return chosen(path, EQUAL, [X, RATE])


def _tokens(high: int, *shape: int) -> torch.Tensor:
    return torch.arange(int(np.prod(shape))).reshape(shape) % high


_TRANSLATION = (_tokens(20, 2, 5), _tokens(15, 2, 7))

CASES: Mapping[str, Case] = {
    "layers: lstm": _kind("nn.LSTM"),
    "layers: gru": _kind("nn.GRU"),
    "layers: rnn, tanh": _kind("nn.RNN, tanh"),
    "layers: rnn, relu, batch first": _kind("nn.RNN, relu", batch_first=True),
    "layers: lstm, two, both ways, batch first": _kind(
        "nn.LSTM", layers=2, bidirectional=True, batch_first=True
    ),
    "layers: gru, both ways": _kind("nn.GRU", bidirectional=True),
    "layers: lstm, projected": _kind("nn.LSTM, proj_size"),
    "layers: lstm, projected, two, both ways": _kind(
        "nn.LSTM, proj_size", layers=2, bidirectional=True
    ),
    "layers: lstm, no bias": _kind("nn.LSTM", bias=False),
    "layers: gru, no bias, two, batch first": _kind(
        "nn.GRU", bias=False, layers=2, batch_first=True
    ),
    "layers: lstm, unbatched": _kind("nn.LSTM", batch=None),
    "layers: gru, float64": _kind("nn.GRU", dtype=torch.float64),
    "taggers: lstm": _tagger(),
    "taggers: gru": _tagger("GRU"),
    "taggers: both ways": _tagger("bidirectional"),
    "states: learned": _module(Learned, [_X4]),
    "states: learned, two": _kind("nn.LSTM", "learned", layers=2),
    "states: from data": _kind("nn.LSTM", "from data"),
    "states: arguments, two layers": _kind("nn.LSTM", "argument", layers=2),
    "states: in a dict": _module(
        state_forms.DictState,
        {
            "x": torch.zeros(2, 5, 4),
            "state": {"h": torch.zeros(1, 2, 6), "c": torch.zeros(1, 2, 6)},
        },
    ),
    "states: on the module": _module(state_forms.CallerZeros),
    "cells: lstm, one step": _kind("nn.LSTMCell", "argument"),
    "cells: gru, one step": _kind("nn.GRUCell", "argument"),
    "cells: one step by hand": _kind("one step by hand", "argument"),
    "cells: a policy": _module(
        policies.ActorCritic,
        ((torch.zeros(1, 6), (torch.zeros(1, 16), torch.zeros(1, 16))),),
    ),
    "cells: peepholes": _module(
        own_cells.PeepholeLSTM,
        (torch.zeros(2, 3), (torch.zeros(2, 6), torch.zeros(2, 6))),
    ),
    "cells: normalised": _module(
        own_cells.NormedLSTM,
        (torch.zeros(2, 3), torch.zeros(2, 6), torch.zeros(2, 6)),
        states={"h": 0, "c": 1},
    ),
    "loops: lstm": _kind("loop over nn.LSTMCell"),
    "loops: written in place": _module(cell_loops.Preallocated, (torch.zeros(5, 2, 3),)),
    "loops: last step": _module(cell_loops.UnbindLast),
    "loops: both ways": _module(cell_loops.TwoWays),
    "loops: output fed back": _module(cell_loops.FeedsOutputBack, [_X3]),
    "loops: counting": _module(cell_loops.RunningMean),
    "loops: zoneout": _module(cell_loops.ZoneoutLoop),
    "loops: two states": _module(hand_loops.GrowingOutput, [_X3]),
    "loops: two steps back": _module(hand_loops.LooksFarBack, [_X3]),
    "loops: lengths compared": _module(
        loop_forms.Masked, (torch.zeros(2, 6, 3), torch.tensor([6, 4]))
    ),
    "loops: constant count": _module(loop_forms.OtherCellLater, ["x:float32[batch,5,3]"]),
    "packed: lstm, both ways": _module(
        lambda: Packed("LSTM", True, True, False), (PADDED, LENGTHS)
    ),
    "packed: gru, sorted": _module(
        lambda: Packed("GRU", False, True, True), (PADDED, LENGTHS.sort(descending=True)[0])
    ),
    "packed: rows": _module(packed_forms.Ids, packed_forms.EXAMPLE),
    "packed: counted from padding": _module(
        taggers.LengthsInside, (taggers.padded(3, 6, False)[0],)
    ),
    "packed: lengths added": _module(Plain, lengths=True),
    "decoders: attention": _module(seq2seq.AttentionSeq2Seq, _TRANSLATION),
    "decoders: fixed horizon": _module(seq2seq.Autoregressive, ["x:float32[batch,sequence,2]"]),
    "decoders: memory": _module(
        memories.AttentionStep,
        (torch.zeros(2, dtype=torch.int64), torch.zeros(2, 12), torch.zeros(2, 7, 10)),
    ),
    "convolutions: speech": _module(detectors.DeepSpeech, (torch.zeros(2, 1, 20, 31),)),
    "convolutions: frames of a cell": _module(
        detectors.VoiceDetector, (torch.zeros(1, 17, 8), torch.zeros(2, 1, 12))
    ),
    "crops: before and after": _module(lambda: crops.Crop(slice(None, 8), slice(-3, None)), [_X4]),
    "crops: a window": _module(
        crops.Window,
        ["x:float32[batch,4,sequence]", "past:float32[batch,4,2]"],
        states={"past": 1},
    ),
    "running: sums of logarithms": _module(LogSpace, [_X3, "h:float32[batch,4]"], states={"h": 1}),
    "axes: two lengths": _module(
        forecasters.TwoBranches, (torch.zeros(2, 7, 2), torch.zeros(2, 11, 5))
    ),
    "options: float16": _tagger(precision="float16"),
    "options: int8": _tagger(precision="int8"),
    "options: int8, both ways": _tagger("bidirectional", precision="int8", opset=21),
    "options: opset 13": _tagger(opset=13),
    "options: opset 17, normed": _module(Normed, [_X4], opset=17),
    "options: opset 25": _tagger("GRU", opset=25),
    "options: batch-major": _tagger(state_layout="batch-major"),
    "options: per layer": _tagger(state_per_layer=True),
    "options: int32, reset, float16": _tagger(int32_ids=True, reset=True, precision="float16"),
    "options: reset, learned": _module(Learned, [_X4], reset=True, state_layout="batch-major"),
    "options: constant axes": _module(Loop, [_X4], batch_size=2, steps=5),
    "options: constant, lengths": _tagger(batch_size=2, steps=3, lengths=True),
    "options: step alone": _tagger(graph="step", vocabulary=list("abcdefg")),
    "files: state_dict": _source("state_dict"),
    "files: state_dict with its code": _source("state_dict and `--module`", "nn.GRU"),
    "files: pickled": _source("pickled module"),
    "files: traced": _source("TorchScript"),
    "files: traced cell": _source("TorchScript", "nn.LSTMCell"),
    "files: torch.export": _source("torch.export"),
    "files: scripted": _scripted(scripted.Tagger, torch.zeros(2, 5, dtype=torch.int64)),
    "files: scripted, packed": _scripted(scripted.Packed, *scripted.packed(3, 5)),
    "files: an artifact": _again(".", lambda: Tagger("GRU")),
    "files: its graph": _again("sequence.onnx", Learned, inputs=[_X4]),
    "onnx: torch's, lstm": _from_torch(nn.LSTM, False),
    "onnx: torch's, both ways": _from_torch(nn.GRU, False, bidirectional=True),
    "onnx: torch's newer, two layers": _from_torch(nn.LSTM, True, num_layers=2),
    "onnx: states as inputs": _file(stack),
    "onnx: float16": _file(_half),
    "onnx: sequence_lens": _file(lambda path: ended(path, "LSTM", "bidirectional")),
    "onnx: lengths of a mask": _file(_mask),
    "onnx: lengths added": _file(ids, lengths=True),
    "onnx: If by a number": _file(_chosen),
    "onnx: If by a size": _file(_by_size),
    "onnx: layout": _file(
        lambda path: write(
            path,
            [recurrent("LSTM", outputs=("y", "yh"), layout=1)],
            weights("LSTM"),
            [port("x", ["B", "T", 2])],
        )
    ),
    "onnx: reverse": _file(
        lambda path: write(path, [recurrent("GRU", direction="reverse")], weights("GRU"))
    ),
    "onnx: states omitted": _file(_own("omitted")),
    "onnx: a learned state": _file(_own("learned")),
    "onnx: opset 9": _file(_old),
    "onnx: one step": _file(lambda path: detector(path, False)),
    "onnx: one step in operators": _file(lambda path: detector(path, True)),
}
"""Name → what makes the model, or writes its file into the current folder, and the options."""
