"""Embeddings folded into the product that multiplies them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgernn
from edgernn.artifact import Artifact
from edgernn.errors import UnsupportedModelError
from edgernn.export.options import FoldChoice
from edgernn.export.passes.fold_embeddings import fold_embeddings
from edgernn.report import Fold
from tests.export.step.test_products import model_of, op_types
from tests.nets.layer_graphs import run, session
from tests.nets.tagger import tagged

IDS = "(int64[batch] x) => (float[batch,3] y)"
PRODUCT = "a = Gather(E, x) y = Gemm(a, W, b)"


@pytest.mark.parametrize(
    ("product", "weights"),
    [
        ("Gemm(a, W, b)", (2, 3)),
        ("Gemm(a, W)", (2, 3)),
        ("Gemm<transB = 1>(a, W, b)", (3, 2)),
        ("MatMul(a, W)", (2, 3)),
    ],
)
def test_an_embedding_is_folded_into_its_product(product: str, weights: tuple[int, ...]) -> None:
    """The rows of the folded table are the products of the embedding's rows."""
    model = model_of(IDS, f"a = Gather(E, x) y = {product}", E=(5, 2), W=weights, b=(3,))
    feeds = {"x": np.arange(5)}
    before = run(session(model), feeds)["y"]
    (fold,) = fold_embeddings(model)
    assert op_types(model) == ["Gather"]
    assert fold == Fold("E", 5, 3, 4 * (15 - 10 - 6), 6, True)
    np.testing.assert_allclose(run(session(model), feeds)["y"], before, atol=1e-6)


@pytest.mark.parametrize(
    "product",
    ["Gemm<alpha = 2.0>(a, W, b)", "Gemm<transA = 1>(a, W, b)"],
)
def test_a_product_that_is_not_plain_is_kept(product: str) -> None:
    """A scaled or transposed product is no product of rows."""
    nodes = f"a = Gather(E, x) y = {product}"
    model = model_of("(int64[2] x) => (float[2,3] y)", nodes, E=(5, 2), W=(2, 3), b=(3,))
    assert fold_embeddings(model, "yes") == ()
    assert op_types(model) == ["Gather", "Gemm"]


@pytest.mark.parametrize(
    ("entries", "outputs", "folds"),
    [
        (2048, 1024, True),  # 8 MiB
        (2049, 1024, False),  # more than 8 MiB and more than embedding and weights
        (30000, 100, True),  # more than 8 MiB, less than the embedding
    ],
)
def test_a_large_table_is_folded_only_where_it_saves(
    entries: int, outputs: int, folds: bool
) -> None:
    """Up to 8 MiB always; beyond, where it is smaller than embedding and weights together."""
    model = model_of(
        f"(int64[batch] x) => (float[batch,{outputs}] y)",
        PRODUCT,
        E=(entries, 128),
        W=(128, outputs),
        b=(outputs,),
    )
    (fold,) = fold_embeddings(model, "auto")
    assert fold.folded is folds
    assert ("Gemm" not in op_types(model)) is folds


@pytest.mark.parametrize(
    ("precision", "more_bytes"), [("float32", -4), ("float16", -2), ("int8", 4 * (15 - 10) - 6)]
)
def test_what_folding_costs_is_measured_in_the_precision_of_the_file(
    precision: str, more_bytes: int
) -> None:
    """With `no` nothing changes; the bytes are those that folding would add."""
    model = model_of(IDS, PRODUCT, E=(5, 2), W=(2, 3), b=(3,))
    (fold,) = fold_embeddings(model, "no", precision)
    assert op_types(model) == ["Gather", "Gemm"]
    assert (fold.more_bytes, fold.multiply_adds, fold.folded) == (more_bytes, 6, False)


def test_an_embedding_with_another_use_stays_in_the_file() -> None:
    """Its bytes are not saved then."""
    nodes = f"{PRODUCT} z = Relu(a)"
    model = model_of(
        "(int64[batch] x) => (float[batch,3] y, float[batch,2] z)",
        nodes,
        E=(5, 2),
        W=(2, 3),
        b=(3,),
    )
    (fold,) = fold_embeddings(model)
    assert op_types(model) == ["Gather", "Gather", "Relu"]
    assert fold.more_bytes == 4 * (15 - 6)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """A tagger with its embedding folded and one without."""
    return {fold: tagged("GRU", tmp_path_factory.mktemp(fold), fold=fold) for fold in ("yes", "no")}


def test_the_report_says_what_was_folded(folders: dict[str, Artifact]) -> None:
    """contract.json, the model card and the summary have the bytes and the multiply-adds."""
    assert [str(one) for one in folders["yes"].folds] == [
        "`table.weight` is folded into a table of 7 × 18: 104 bytes more, 72 multiply-adds fewer "
        "per step"
    ]
    assert [str(one) for one in folders["no"].folds] == [
        "`table.weight` is not folded; a table of 7 × 18 would take 104 bytes more, 72 "
        "multiply-adds fewer per step"
    ]
    gained = folders["no"].cost.multiply_adds - folders["yes"].cost.multiply_adds
    assert gained == folders["yes"].folds[0].multiply_adds
    card = (folders["yes"].path / "README.md").read_text("utf-8")
    assert f"- {folders['yes'].folds[0]}." in card


@pytest.mark.parametrize(("before", "after"), [("yes", "no"), ("no", "yes"), ("yes", "yes")])
def test_an_artifact_is_folded_or_taken_apart_again(
    before: str, after: FoldChoice, folders: dict[str, Artifact], tmp_path: Path
) -> None:
    """What the step graph of an artifact has folded does not matter for that of the next."""
    artifact = edgernn.export_model(folders[before].path, tmp_path / "again.edgernn", fold=after)
    assert artifact.parity is not None
    assert artifact.parity.passed
    assert [one.folded for one in artifact.folds] == [after == "yes"]
    assert artifact.cost.multiply_adds == folders[after].cost.multiply_adds


def test_a_folded_step_graph_alone_cannot_be_taken_apart(
    folders: dict[str, Artifact], tmp_path: Path
) -> None:
    """There is no sequence graph to make the products from."""
    alone = edgernn.export_model(folders["yes"].path, tmp_path / "step.edgernn", graph="step")
    with pytest.raises(UnsupportedModelError) as caught:
        edgernn.export_model(alone.path, tmp_path / "no.edgernn", fold="no")
    assert str(caught.value) == (
        "`step.onnx` looks up products of `table.weight`, which cannot be taken apart: there is no "
        "sequence graph beside it. Export the model that it was made from with "
        'fold="no".'
    )
