"""Models that keep memory between calls: the graphs do what the module does, call after call."""

from __future__ import annotations

import copy
import json

import numpy as np
import onnxruntime
import pytest
import torch

import edgernn
from tests.models import counting_models as counting
from tests.models import memory_models as models

CHUNKS = "x:float32[batch,sequence,4]"
STEPS = "x:float32[batch,4]"

CASES = {
    models.StatefulLSTM: (CHUNKS,),
    models.InitHidden: (CHUNKS,),
    models.LearnedStart: (STEPS,),
    models.ByAttribute: (STEPS,),
    models.FirstCallFlag: (CHUNKS,),
    models.LayerList: (STEPS,),
    models.StateDictionary: (STEPS,),
    models.HoltSmoothing: ("x:float32[batch,3]",),
    models.FrameStack: ("obs:float32[1,4]",),
    models.RollingBuffer: ("obs:float32[1,4]",),
    models.ShiftedSlice: ("x:float32[1,1]",),
    models.CopiedState: ("x:float32[1,4]",),
    models.WrittenThroughData: ("x:float32[1,4]",),
    models.TwoSubmodules: (CHUNKS,),
    models.CausalConvolution: ("x:float32[batch,sequence,3]",),
    models.RestartedLayer: (CHUNKS,),
    models.RunningPeak: (CHUNKS,),
    counting.TensorCounter: (STEPS,),
    counting.PythonCounter: (STEPS,),
    counting.RingBuffer: ("x:float32[1,3]",),
    counting.PythonRing: ("x:float32[1,3]",),
    counting.PositionEmbedding: ("token:int64[batch]",),
    counting.ResetByToken: ("token:int64[batch]",),
    models.FedBack: ("x:float32[1,4]",),
    models.LoopOverSteps: (CHUNKS,),
    models.LeakyNeuron: (STEPS,),
    counting.LatchedFlag: ("x:float32[batch,3]",),
    models.Reservoir: ("u:float32[3]",),
    counting.Unread: (STEPS,),
    models.DifferentStarts: (CHUNKS, "h:float32[1,batch,6]"),
    counting.RunningNorm: (STEPS,),
    models.GatedConvolution: ("x:float32[1,3,sequence]",),
    counting.EpisodeEnds: (STEPS,),
    counting.LastChoice: ("x:float32[1,4]",),
    models.KeyValueWindow: ("x:float32[1,4]",),
    models.TwoWaysInAChunk: ("x:float32[1,sequence,4]",),
}

CALLS = 40


@pytest.mark.parametrize("model", CASES, ids=lambda model: model.__name__)
def test_the_graph_does_what_the_module_does_call_after_call(model, tmp_path):
    """Plain ONNX Runtime and contract.json beside the module, which remembers by itself."""
    torch.manual_seed(0)
    specs = CASES[model]
    module = model().eval()
    fresh = copy.deepcopy(module)

    artifact = edgernn.export_model(module, tmp_path / "m.edgernn", inputs=list(specs))

    name, _, described = specs[0].partition(":")
    axes = described.partition("[")[2][:-1].split(",")
    contract = json.loads((artifact.path / "contract.json").read_text())
    kinds = ["sequence"] if "sequence" in axes else ["step"]
    shapes = [port["shape"] for port in contract["graphs"]["sequence"]["inputs"]]
    for kind in kinds:
        session = onnxruntime.InferenceSession(artifact.path / f"{kind}.onnx")
        for batch in (1, 3) if any("batch" in shape for shape in shapes) else (1,):
            _compare(session, contract, kind, copy.deepcopy(fresh), name, axes, batch, len(specs))


def _compare(session, contract, kind, module, name, axes, batch, arguments):
    ports = {port["name"]: port for port in contract["graphs"][kind]["inputs"]}
    state = {}
    for one in contract["states"]:
        shape = [size if isinstance(size, int) else batch for size in ports[one["in"]]["shape"]]
        initial = 0 if one["initial"] is None else one["initial"]
        state[one["in"]] = np.broadcast_to(np.array(initial, ports[one["in"]]["dtype"]), shape)
    names = [port.name for port in session.get_outputs()]
    hidden = (torch.zeros(1, batch, 6),) if arguments > 1 else ()
    for call in range(CALLS):
        sizes = {"batch": batch, "sequence": call % 7 + 1}
        shape = [sizes.get(axis) or int(axis) for axis in axes]
        data = torch.randint(0, 9, shape) if name == "token" else torch.randn(shape)
        with torch.no_grad():
            expected = module(data, *hidden)
        if hidden:
            expected, last = expected
            hidden = (last,)
        expected = expected if isinstance(expected, tuple) else (expected,)
        got = dict(zip(names, session.run(names, {name: data.numpy(), **state}), strict=True))
        state = {one["in"]: got.pop(one["out"]) for one in contract["states"]}
        for array, tensor in zip(got.values(), expected, strict=True):
            np.testing.assert_allclose(array, tensor.numpy(), rtol=0, atol=2e-5, err_msg=f"{call}")
