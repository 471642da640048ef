"""Artifacts whose calls are calls of a model that keeps memory from call to call."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

import edgernn
from edgernn.contract import Contract
from edgernn.export import verify_artifact
from edgernn.runtime.chunk_calls import ChunkCalls
from edgernn.runtime.golden_replay import replay
from tests.models.memory_models import RestartedLayer, RunningPeak

REASONS = {
    RunningPeak: "in parts, eager torch gives another `",
    RestartedLayer: "in parts, eager torch gives another `",
}


@pytest.fixture(scope="module", params=REASONS)
def exported(request, tmp_path_factory):
    torch.manual_seed(0)
    module = request.param().eval()
    path = tmp_path_factory.mktemp("calls") / "m.edgernn"
    specs = ["x:float32[batch,sequence,4]"]
    return module, edgernn.export_model(copy.deepcopy(module), path, inputs=specs)


def test_a_chunk_is_one_call_of_the_model(exported):
    """A stream gives what the module gives, called with the same chunks."""
    module, artifact = exported
    contract = artifact.contract
    assert (contract.carry, contract.divisible, contract.step) == (True, False, None)
    assert contract.no_step.startswith(REASONS[type(module)])
    called, stream = copy.deepcopy(module), edgernn.load(artifact.path).stream()
    for steps in (5, 1, 9, 2, 30):
        x = torch.randn(1, steps, 4)
        with torch.no_grad():
            expected = called(x)
        np.testing.assert_allclose(stream.feed(x.numpy()), expected.numpy(), rtol=0, atol=2e-5)


def test_the_golden_run_is_one_call(exported):
    """No division into parts gives its numbers, so none is replayed."""
    _, artifact = exported
    assert [check.name for check in replay(edgernn.load(artifact.path))] == ["whole"]


def test_the_whole_proof_can_be_repeated(exported):
    """Also against a module that has been called since."""
    module, artifact = exported
    report = verify_artifact(artifact, module, inputs=["x:float32[batch,sequence,4]"])
    assert {check.name for check in report.checks} == {"whole", "golden", "calls"}


def test_a_chunk_that_is_a_call_is_never_divided(exported):
    """A model of at most eight steps a call is not called twice for ten."""
    contract: Contract = replace(exported[1].contract, most={"sequence": 8})
    assert len(ChunkCalls(contract).calls(10)) == 1
    assert len(ChunkCalls(replace(contract, divisible=True)).calls(10)) == 2
