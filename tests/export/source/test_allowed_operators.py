"""The rules for which operators an archive may call."""

from __future__ import annotations

import pytest

from edgernn.export.source.allowed_operators import acts, computes

COMPUTE = ["add", "gelu", "div", "lstm", "_softmax", "conv1d"]
REACH_OUT = ["from_file", "save", "set_", "manual_seed", "record_stream"]
UNCHECKED = ["_sparse_coo_tensor_unsafe", "fbgemm_linear_fp16_weight", "_no_such_operator"]


@pytest.mark.parametrize("name", COMPUTE)
def test_operators_of_numbers_compute(name: str) -> None:
    """What takes and gives tensors and numbers may run."""
    assert computes(f"aten::{name}")
    assert not acts(f"aten::{name}")


@pytest.mark.parametrize("name", REACH_OUT)
def test_operators_that_reach_out_act(name: str) -> None:
    """What names a file, another's memory, a stream, a process or the seed may not."""
    assert acts(f"aten::{name}")
    assert not computes(f"aten::{name}")


@pytest.mark.parametrize("name", UNCHECKED)
def test_operators_that_check_nothing_do_not_compute(name: str) -> None:
    """Operators that trust their arguments, or are unknown, may not run either."""
    assert not computes(f"aten::{name}")


def test_other_namespaces_act() -> None:
    """Operators of other libraries are unknown, and so may do anything."""
    assert acts("mylib::run")
    assert acts("debugprims::load_tensor")
