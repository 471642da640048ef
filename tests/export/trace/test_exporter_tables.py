from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_impls import op_implementations_dict as fake_rules
from torch.export import exported_program
from torch.onnx._internal.exporter import _decomp

from edgernn.export.ir.fold_constants import silence_exporters
from edgernn.export.trace.exporter_tables import kept_tables


def composites() -> set[Any]:
    """Return the composite operators as torch's exporter lists them now."""
    found: set[Any] = vars(exported_program)["_collect_all_valid_cia_ops"]()
    return found


def test_tables_are_made_once():
    """The second export takes the tables of the first, as copies that torch may change."""
    with kept_tables():
        first = composites()
        expected = set(first)
        first.clear()
        decompositions = _decomp.create_onnx_friendly_decomposition_table(set())
        kept = dict(decompositions)
        decompositions.clear()
    with kept_tables():
        assert composites() == expected
        assert _decomp.create_onnx_friendly_decomposition_table(set()) == kept
    assert expected == composites()


def test_new_operators_are_in_the_tables():
    """An operator that is registered between two exports is in the tables of the second."""
    with kept_tables():
        composites()
    with torch.library._scoped_library("edgernn_test", "FRAGMENT") as library:
        library.define("twice(Tensor x) -> Tensor")
        library.impl("twice", lambda x: x + x, "CompositeImplicitAutograd")
        with kept_tables():
            found = composites()
        assert torch.ops.edgernn_test.twice.default in found


def test_kernels_are_those_of_torch():
    """While composite operators are overridden, and after, they have the kernels of torch's own."""
    table = {torch.ops.aten.linear.default: lambda *_: NotImplemented}
    op = torch.ops.aten.linear.default
    before = dict(op.py_kernels)
    with exported_program._override_composite_implicit_decomp(table):
        keys = set(op.py_kernels)
    for _ in range(3):
        with kept_tables(), exported_program._override_composite_implicit_decomp(table):
            assert set(op.py_kernels) == keys
            assert op.py_kernels[torch._C.DispatchKey.CompositeImplicitAutograd] is table[op]
            assert op in fake_rules
        assert op.py_kernels == before
        assert op not in fake_rules


def test_other_kernels_are_made_for_other_tables():
    """What an operator is decomposed to follows the table of the export."""
    op = torch.ops.aten.linear.default
    for value in (1, 2, 1):
        table = {op: lambda *_, value=value: value}
        with kept_tables(), exported_program._override_composite_implicit_decomp(table):
            assert op.py_kernels[torch._C.DispatchKey.CompositeImplicitAutograd]() == value


def test_programs_are_decomposed_the_same():
    """A program is decomposed to the same operators with tables that were kept as with torch's."""
    with silence_exporters():
        program = torch.export.export(nn.Linear(2, 3), (torch.zeros(1, 2),))
        own = program.run_decompositions().graph
        for _ in range(3):
            with kept_tables():
                kept = program.run_decompositions().graph
            assert [node.target for node in kept.nodes] == [node.target for node in own.nodes]
