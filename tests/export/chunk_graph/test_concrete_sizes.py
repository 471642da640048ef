"""The rules for the sizes at which a graph is run to read off its shapes."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from edgernn.export.chunk_graph.concrete_sizes import ConcreteSizes

_MODEL = """<ir_version: 8, opset_import: ["": 18]>
m (float[batch,sequence,2] x) => (float[rows,frames,4] y)
<int64[1] start = {{0}}, int64[1] end = {{-{lost}}}, int64[1] one = {{1}}, int64[1] three = {{3}},
 int64[3] rows = {{-1, 3, 2}},
 float[1,{gates},2] W = {{{weights}}}, float[1,{gates},1] R = {{{recurrent}}}>
{{
    cut = Slice(x, start, end, one)
    {fold}
    Y, y_h = {kind}<hidden_size = 1>(steps, W, R)
    y = Identity(Y)
}}
"""

_ALONG_TIME = "steps = Transpose<perm = [1, 0, 2]>(cut)"
_BESIDE_TIME = """wide = Concat<axis = 2>(cut, cut, cut)
    folded = Reshape(wide, rows)
    steps = Transpose<perm = [1, 0, 2]>(folded)"""


def model(kind: str, gates: int, fold: str, lost: int) -> ir.Model:
    weights, recurrent = (", ".join(["0.5"] * gates * size) for size in (2, 1))
    text = _MODEL.format(
        kind=kind, gates=gates, fold=fold, lost=lost, weights=weights, recurrent=recurrent
    )
    return ir.from_onnx_text(text)


@pytest.mark.parametrize(("kind", "gates"), [("GRU", 3), ("LSTM", 4)])
@pytest.mark.parametrize("fold", [_ALONG_TIME, _BESIDE_TIME], ids=["along time", "beside time"])
def test_a_layer_runs_on_something_at_all_sizes(kind: str, gates: int, fold: str):
    """On no step or no row, ONNX Runtime would abort the process; so more steps are taken."""
    sizes = ConcreteSizes(model(kind, gates, fold, lost=9), 1)
    assert [run.sizes.steps for run in sizes.runs] == [16, 16, 17, 19]
    assert all(0 not in shape for shape in sizes.shapes("steps"))
    few = ConcreteSizes(model(kind, gates, fold, lost=2), 1)
    assert [run.sizes.steps for run in few.runs] == [4, 4, 5, 7]
