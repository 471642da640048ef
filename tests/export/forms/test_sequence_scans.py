"""A sequence graph with some of its layers as Scans."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgernn.export.forms.sequence_scans import sequence_scans
from edgernn.export.ir.onnx_session import OnnxSession
from edgernn.export.ir.recurrent_operators import recurrent_nodes
from tests.nets.step_forms import Elman, exported

pytestmark = pytest.mark.forms


def test_the_layers_named_become_scans():
    """Others stay operators, and the graph computes the same."""
    portable = ir.load(exported(Elman).sequence)
    names = [node.name or "" for node in recurrent_nodes(portable.graph)]
    rng = np.random.default_rng(0)
    feeds = {
        "x": rng.normal(size=(2, 5, 3)).astype(np.float32),
        "h_in": rng.normal(size=(4, 2, 4)).astype(np.float32),
    }
    wanted = OnnxSession(str(exported(Elman).sequence))(feeds)
    for chosen in (names[:1], names):
        model = sequence_scans(portable, chosen)
        kinds = [node.op_type for node in model.graph]
        assert kinds.count("RNN") == 2 - len(chosen)
        assert kinds.count("Scan") == 2 * len(chosen)
        found = OnnxSession(ir.serde.serialize_model(model).SerializeToString())(feeds)
        for name, array in wanted.items():
            np.testing.assert_allclose(found[name], array, atol=1e-6)
    assert [node.op_type for node in portable.graph].count("RNN") == 2
