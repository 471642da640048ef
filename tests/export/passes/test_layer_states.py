"""One state for every layer of a stack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import edgernn
from tests.nets.tagger import KINDS, learned, ports, replayed, tagged


@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_has_states_of_its_own(kind: str, tmp_path: Path) -> None:
    """States are named by layer, h before c, each (directions, batch, size)."""
    artifact = tagged(kind, tmp_path, state_per_layer=True)
    names = [state.name for state in artifact.contract.states]
    assert names == (["h_l0", "h_l1"] if kind == "GRU" else ["h_l0", "c_l0", "h_l1", "c_l1"])
    size = 2 if kind == "bidirectional" else 1
    for graph in artifact.contract.graphs.values():
        assert [port.name for port in graph.inputs[1:]] == [f"{name}_in" for name in names]
        assert [port.name for port in graph.outputs[1:]] == [f"{name}_out" for name in names]
        assert {port.shape for port in graph.inputs[1:]} == {(size, "batch", 6)}
    assert artifact.parity is not None
    assert artifact.parity.max_difference < 1e-5
    assert replayed(artifact).passed


def test_the_graphs_neither_join_nor_split_states(tmp_path: Path) -> None:
    """Each layer reads its own port: what divided the stack is gone."""
    artifact = tagged("GRU", tmp_path, state_per_layer=True)
    nodes = onnx.load(artifact.sequence or "").graph.node
    assert {"Split", "Concat"} & {node.op_type for node in nodes} == set()


def test_a_trained_initial_state_is_divided(tmp_path: Path) -> None:
    """Each layer starts from its part of torch's numbers."""
    artifact = learned(tmp_path, state_per_layer=True)
    whole = learned(tmp_path / "torch").contract.states[0].initial
    assert whole is not None
    for state, expected in zip(artifact.contract.states, whole, strict=True):
        np.testing.assert_array_equal(state.initial, expected[None])
    assert replayed(artifact).passed


def test_one_layer_keeps_its_names(tmp_path: Path) -> None:
    """A state of a single layer is what it was."""
    artifact = edgernn.export_model(
        nn.GRU(4, 6), tmp_path / "m.edgernn", inputs=(torch.zeros(5, 2, 4),), state_per_layer=True
    )
    assert ports(artifact)[1] == "h_in: float32[1, batch, 6]"
