"""Products in integers as the gate sees them."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import edgernn
from edgernn.errors import ParityError
from edgernn.export.proof import integer_products as integers
from edgernn.export.proof.integer_products import check_integers, extreme_activations
from edgernn.export.quantize import int8_products
from edgernn.export.quantize.integer_rounding import quantize_full_range
from tests.export.saturating import saturated
from tests.nets.tagger import Tagger, tagged

BOUNDED = "{100, -64, 28, -64, -64, -127}"
UNBOUNDED = "{100, -64, 29, -64, -64, -127}"


def file_of(folder: Path, weights: str, dtype: str = "int8") -> str:
    """Write a product of three inputs and two outputs, x (rows, 3) quantized as it comes."""
    model = onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["": 18]> g (float[rows, 3] x) => (int32[rows, 2] y)
        <{dtype}[3, 2] w = {weights}>
        {{
            q, scale, zero = DynamicQuantizeLinear(x)
            y = MatMulInteger(q, w, zero)
        }}
    """)
    path = folder / "product.onnx"
    onnx.save(model, path)
    return str(path)


def test_bounded_weights_are_right(tmp_path: Path) -> None:
    """A product whose weights are bounded passes."""
    check_integers("step", file_of(tmp_path, BOUNDED))


def test_weights_that_saturate_elsewhere_fail_here(tmp_path: Path) -> None:
    """One more than the limit is an error on every CPU, also on one that computes it right."""
    with pytest.raises(ParityError) as caught:
        check_integers("step", file_of(tmp_path, UNBOUNDED))
    assert str(caught.value) == (
        "`y` of the step graph multiplies integers with neighbouring weights that come to 129 "
        "together; 128 was expected at most, beyond which CPUs without VNNI saturate. Export the "
        'float32 model with precision="int8".'
    )


W, KERNEL = (np.array(v, np.int8) for v in ([[65, 9], [64, 8]], [[[65], [0], [64]]]))
FORMS = {
    "DynamicQuantizeMatMul": ("y = com.microsoft.DynamicQuantizeMatMul(x, w, s)", W),
    "MatMulIntegerToFloat": ("y = com.microsoft.MatMulIntegerToFloat(q, w, s, s, z)", W),
    "QLinearMatMul": ("y = QLinearMatMul(q, s, z, w, s, z8, s, z)", W),
    "QGemm": ("y = com.microsoft.QGemm <transB = 1> (q, s, z, w, s, z8)", W.T),
    "ConvInteger": ("y = ConvInteger(q, w, z)", KERNEL),
    "QLinearConv": ("y = QLinearConv(q, s, z, w, s, z8, s, z)", KERNEL),
    "QDQ": ("v = DequantizeLinear(w, s, z8)  y = MatMul(d, v)", W),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_product_is_bounded(form: str, tmp_path: Path) -> None:
    """Products in integers that others wrote are held against the bound whatever their form."""
    line, weights = FORMS[form]
    body = f"""q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)  {line}"""
    for limit in (0, 1):
        model = onnx.parser.parse_model(
            f"""<ir_version: 8, opset_import: ["": 18, "com.microsoft": 1]> g (float[n, 2] x) => (y)
            <float s = {{0.1}}, uint8 z = {{128}}, int8 z8 = {{0}}> {{ {body} }}"""
        )
        bounded = np.where(weights == 65, 64 + limit, weights).astype(np.int8)
        model.graph.initializer.append(onnx.numpy_helper.from_array(bounded, "w"))
        onnx.save(model, tmp_path / "m.onnx")
        with pytest.raises(ParityError, match="come to 129") if limit else nullcontext():
            check_integers("step", str(tmp_path / "m.onnx"))


def test_a_cpu_that_computes_wrong_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Integers of ONNX Runtime that are not NumPy's are an error that blames the CPU."""
    right = integers._in_onnxruntime

    def wrong(*given: Any) -> Any:
        def product(activations: NDArray[np.uint8]) -> NDArray[Any]:
            computed = right(*given)(activations)
            computed[0, 0] += 1
            return computed

        return product

    monkeypatch.setattr(integers, "_in_onnxruntime", wrong)
    with pytest.raises(ParityError) as caught:
        check_integers("sequence", file_of(tmp_path, BOUNDED))
    assert str(caught.value) == (
        "`y` of the sequence graph is wrong in ONNX Runtime on this CPU: 1 of 20 integers are not "
        "those that NumPy computes. Export on another machine, or with another version of "
        "onnxruntime."
    )


def test_extreme_activations_find_what_saturates() -> None:
    """Each output with a pair beyond the limit is wrong at some of them, the others at none."""
    rng = np.random.default_rng(2)
    weights = rng.integers(-64, 65, (31, 12)).astype(np.int8)
    weights[4:6, [1, 7]] = 65, -70
    weights[5, [1, 7]] = 64, -59
    activations = extreme_activations(weights)
    exact = activations.astype(int) @ weights
    wrong = (saturated(activations, weights) != exact).any(0)
    assert np.flatnonzero(wrong).tolist() == [1, 7]


def test_unsigned_weights_are_not_checked(tmp_path: Path) -> None:
    """Unsigned by unsigned is another instruction, which does not saturate."""
    check_integers("step", file_of(tmp_path, "{255, 255, 255, 255, 255, 255}", "uint8"))


def test_the_gate_refuses_weights_of_the_full_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export with scales that only the largest weight sets is refused on every CPU."""
    monkeypatch.setattr(
        int8_products, "quantize_pair_bounded", lambda w: quantize_full_range(w, (0,))
    )
    with pytest.raises(ParityError) as caught:
        tagged("GRU", tmp_path, precision="int8")
    assert "beyond which CPUs without VNNI saturate" in str(caught.value)
    assert str(caught.value).endswith("Nothing was written.")
    assert not list(tmp_path.iterdir())


def test_verify_refuses_them_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was exported without proof is refused when it is verified."""
    with monkeypatch.context() as patch:
        patch.setattr(
            int8_products, "quantize_pair_bounded", lambda w: quantize_full_range(w, (0,))
        )
        artifact = tagged("LSTM", tmp_path, precision="int8", verify=False)
    with pytest.raises(ParityError, match="of the step graph multiplies integers with"):
        edgernn.export.verify_artifact(artifact, Tagger("LSTM"))
