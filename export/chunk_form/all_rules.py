"""The rule of each operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_form.attention import ATTENTION_RULES, PRODUCT_RULES, has_keys
from edgernn.export.chunk_form.elementwise import elementwise
from edgernn.export.chunk_form.features import FEATURE_RULES
from edgernn.export.chunk_form.gathers import GATHER_RULES
from edgernn.export.chunk_form.joins import JOIN_RULES
from edgernn.export.chunk_form.moves import MOVE_RULES
from edgernn.export.chunk_form.overlap_add import OVERLAP_RULES
from edgernn.export.chunk_form.pools import POOL_RULES
from edgernn.export.chunk_form.positions import POSITION_RULES
from edgernn.export.chunk_form.recurrence import RECURRENCE_RULES
from edgernn.export.chunk_form.resizes import RESIZE_RULES
from edgernn.export.chunk_form.running_sums import RUNNING_RULES
from edgernn.export.chunk_form.scatters import SCATTER_RULES
from edgernn.export.chunk_form.slices import SLICE_RULES
from edgernn.export.chunk_form.static import copied
from edgernn.export.chunk_form.tables import TABLE_RULES
from edgernn.export.chunk_form.windows import WINDOW_RULES
from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.time_axis import Size, Streamed
from edgernn.export.ir.operator_kinds import ELEMENTWISE

__all__ = ["Rule", "mixes_time", "rule_of"]

Rule = Callable[[ir.Node, Form], Sequence[Streamed | None]]
"""Writes a node; returns what stands for each of its outputs, None for one without a name."""

_MIXING: dict[str, Rule] = {
    **SLICE_RULES,
    **JOIN_RULES,
    **GATHER_RULES,
    **SCATTER_RULES,
    **WINDOW_RULES,
    **POOL_RULES,
    **OVERLAP_RULES,
    **POSITION_RULES,
    **RUNNING_RULES,
}
"""Those that may mix steps, other than by a recurrence."""

_RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **MOVE_RULES,
    **FEATURE_RULES,
    **PRODUCT_RULES,
    **RESIZE_RULES,
    **RECURRENCE_RULES,
    **_MIXING,
}


def mixes_time(node: ir.Node) -> bool:
    """Return whether a node may mix steps, other than by a recurrence."""
    return not node.domain and node.op_type in _MIXING


def rule_of(node: ir.Node, inputs: Sequence[Streamed | Size | None]) -> Rule:
    """Return what writes a node with such inputs; None is one that was refused."""
    if any(one is not None and has_keys(one) for one in inputs):
        if node.domain or node.op_type not in ATTENTION_RULES:
            raise UnsupportedModelError("it is not known what it does to the weights of attention")
        return ATTENTION_RULES[node.op_type]
    if node.op_type in POSITION_RULES:
        return _RULES[node.op_type]
    if all(isinstance(one, Size) or (one and one.time is None) for one in inputs):
        return TABLE_RULES.get(node.op_type, copied)
    rule = None if node.domain else _RULES.get(node.op_type)
    if rule is None:
        raise UnsupportedModelError("it is not known what this operator does to steps")
    return rule
