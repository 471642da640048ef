"""Where a value of a graph comes from: data, sizes, constants, chance."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from edgernn.export.ir.dataflow import (
    ancestors,
    depends_on_data,
    descendants,
    id_limit,
    input_dependencies,
    is_elementwise_change,
    is_random,
    movement_sources,
    reordering_sources,
)

HEADER = '<ir_version: 8, opset_import: ["": 18, "other": 1]>'


class Values:
    """The values of a graph in ONNX's text form, by name."""

    def __init__(self, text: str) -> None:
        graph = ir.from_onnx_text(f"{HEADER} {text}").graph
        named = [*graph.inputs, *graph.initializers.values()]
        named += [value for node in graph for value in node.outputs]
        self._by_name = {value.name: value for value in named}

    def __getitem__(self, name: str) -> ir.Value:
        return self._by_name[name]


def names(values: list[ir.Value] | set[ir.Value]) -> list[str]:
    return sorted(value.name or "" for value in values)


# --- what a value depends on ----------------------------------------------------------------------

READS = Values("""g (float[b, 4] x, float[b, 4] h) => (float[b, 4] y) <float[4] k = {1, 2, 3, 4}> {
    size = Shape(x)
    zeros = ConstantOfShape(size)
    like = RandomNormalLike(x)
    scaled = Mul(k, k)
    both = Add(x, h)
    y = Add(both, zeros) }""")


def test_a_value_reads_the_inputs_whose_numbers_it_has():
    """Every input on the way counts, whichever operators stand between."""
    assert names(input_dependencies(READS["y"])) == ["h", "x"]
    assert names(input_dependencies(READS["x"])) == ["x"]
    assert depends_on_data(READS["both"])


@pytest.mark.parametrize("name", ["size", "zeros", "like", "scaled"])
def test_sizes_and_constants_are_no_data(name):
    """Zeros as large as an input, chance as large, and products of constants read no number."""
    assert not depends_on_data(READS[name])


def test_everything_behind_a_value_is_found():
    """All values that one is computed from, sizes too, and itself; nothing beside them."""
    assert names(ancestors(READS["zeros"])) == ["size", "x", "zeros"]


CHANCE = Values("""g (float[2, 3] x) => (float[2, 3] y) {
    drawn = RandomNormal<shape=[2, 3]>()
    like = RandomUniformLike(x)
    scaled = Neg(drawn)
    sum = Add(x, like)
    y = Neg(x) }""")


@pytest.mark.parametrize(
    ("name", "random"),
    [("drawn", True), ("like", True), ("scaled", True), ("sum", True), ("y", False), ("x", False)],
)
def test_chance_is_found_behind_any_operator(name, random):
    """What is drawn anew is found through what is computed from it, and data is none."""
    assert is_random(CHANCE[name]) is random


def test_descendants_are_all_that_is_computed_from_values():
    """The values themselves are among them; what is computed from others alone is not."""
    graph = MOVED["x"].graph
    assert isinstance(graph, ir.Graph)
    assert names(descendants(graph, [MOVED["s"]])) == ["c", "s"]


# --- numbers that are only moved ------------------------------------------------------------------

MOVED = Values("""g (float[2, 3] x, float[2, 3] h, int64[2] order) => (float[6] y)
    <int64[1] flat = {-1}, int64[1] first = {0}> {
    t = Transpose<perm=[1, 0]>(x)
    r = Reshape(t, flat)
    s = Gather<axis=0>(h, order)
    c = Concat<axis=0>(x, s, x)
    n = Neg(x)
    foreign = other.Transpose(x)
    y = Identity(r) }""")


def test_moving_ends_where_numbers_change():
    """Moves are followed to what they started from; a change of the numbers is a start."""
    assert names(movement_sources(MOVED["y"])) == ["x"]
    assert names(movement_sources(MOVED["n"])) == ["n"]


def test_only_what_is_moved_is_followed():
    """Shapes and places say where numbers go, and are not among them; all parts of a Concat are."""
    assert names(movement_sources(MOVED["s"])) == ["h"]
    assert names(movement_sources(MOVED["c"])) == ["h", "x"]


def test_an_operator_of_another_domain_moves_nothing():
    """The same name in another domain may mean anything."""
    assert names(movement_sources(MOVED["foreign"])) == ["foreign"]


CHANGED = Values("""g (float[b, 4] h, float[b, 4] x, bool[b, 4] m) => (float[b, 4] y)
<float[4, 4] w, float[4] k = {1, 2, 3, 4}> {
    product = MatMul(h, w)
    gate = Sigmoid(product)
    gated = Mul(gate, h)
    shifted = Add(gated, k)
    masked = Where(m, shifted, h)
    summed = Add(h, x)
    chosen = Where(m, h, x)
    residual = Add(h, product)
    y = Tanh(product) }""")


@pytest.mark.parametrize("name", ["h", "gated", "shifted", "masked"])
def test_gates_masks_and_constants_change_a_value_entry_by_entry(name):
    """A gate may itself be a product; what it gates is changed entry by entry."""
    assert is_elementwise_change(CHANGED[name], {CHANGED["h"]})


@pytest.mark.parametrize("name", ["x", "product", "gate", "summed", "chosen", "residual", "y"])
def test_products_and_sums_with_other_data_are_no_changes(name):
    """What weights mix, or what is put together with other data, is another quantity."""
    assert not is_elementwise_change(CHANGED[name], {CHANGED["h"]})


SORTED = Values("""g (int64[b] lengths, float[b] x) => (int32[b] y) <int64[1] k = {2}> {
    top, places = TopK(lengths, k)
    y = Cast<to=6>(top)
    less = Sub(lengths, lengths) }""")


def test_sorted_numbers_are_the_same_numbers():
    """Lengths that were sorted or cast are still those lengths; a difference of them is not."""
    assert names(reordering_sources(SORTED["y"])) == ["lengths"]
    assert names(reordering_sources(SORTED["less"])) == ["less"]
    assert reordering_sources(None) == []


# --- ids ------------------------------------------------------------------------------------------

IDS = Values("""g (int64[b, 3] ids, int64[b] rows, float[b] x, float[1, 3] one) => (float[b] y)
    <float[7, 2] words, float[5, 2] others, float[2, 9] columns, int64[1] flat = {-1}> {
    a = Gather(words, ids)
    cast = Cast<to=6>(ids)
    line = Reshape(cast, flat)
    b = Gather(others, line)
    c = Gather<axis=1>(columns, rows)
    none = Gather(x, one) }""")


def test_ids_stay_below_the_smallest_table():
    """Every table that ids look up counts, also behind a cast and a reshape."""
    assert id_limit(IDS["ids"]) == 5


def test_the_axis_that_is_looked_up_counts():
    """Ids into the columns of a table are limited by its columns."""
    assert id_limit(IDS["rows"]) == 9


def test_a_port_that_looks_up_nothing_has_no_limit():
    """A table that is itself an input is not looked up by itself; one of unknown rows is none."""
    assert id_limit(IDS["x"]) is None
    assert id_limit(IDS["one"]) is None
