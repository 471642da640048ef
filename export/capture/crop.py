"""The first or the last entries of a dynamic axis, at most so many: `x[:, -20:]`.

torch.export follows what the slice is at the example's size: all of the axis, or always as many
entries. ONNX's Slice is right at every size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx_ir as ir
import torch
from torch.onnx.ops import symbolic

__all__ = ["CROP", "crop", "lower_crops"]

CROP = "crop"
"""The node that crops, in the domain of torch's calls: x, and an axis from `start` to `end`."""

_DOMAIN = "torch"
_END = (1 << 63) - 1


def crop(x: torch.Tensor, index: Any) -> Any:
    """Return `x[index]`, or NotImplemented where torch.export is right."""
    parts = list(index) if isinstance(index, tuple) else [index]
    if not all(isinstance(one, (slice, int)) or one in (None, Ellipsis) for one in parts):
        return NotImplemented
    found = list(_crops(x, parts))
    for place, axis, start, end in found:
        most = end if start == 0 else -start
        shape = [*x.shape]
        shape[axis] = torch.sym_min(shape[axis], most)  # type: ignore[no-untyped-call]
        x = symbolic(
            f"{_DOMAIN}::{CROP}",
            (x,),
            {"axis": axis, "start": start, "end": end},
            dtype=x.dtype,
            shape=shape,
            version=1,
        )
        parts[place] = slice(None)
    return x[tuple(parts)] if found else NotImplemented


def _crops(x: torch.Tensor, parts: list[Any]) -> Iterator[tuple[int, int, int, int]]:
    """Yield place and axis of each index that takes the first or last of a dynamic axis."""
    axis = 0
    indexed = sum(one is not None and one is not Ellipsis for one in parts)
    for place, one in enumerate(parts):
        if one is None:
            continue
        if one is Ellipsis:
            axis += x.dim() - indexed
            continue
        if isinstance(one, slice) and axis < x.dim() and type(x.shape[axis]) is not int:
            first = one.start in (None, 0) and type(one.stop) is int and one.stop > 1
            last = one.stop is None and type(one.start) is int and one.start < -1
            most = one.stop if first else -one.start if last else 0
            if one.step in (None, 1) and most > _fewest(x.shape[axis]):
                yield (place, axis, 0, one.stop) if first else (place, axis, one.start, _END)
        axis += 1


def _fewest(size: Any) -> int:
    """Return how large a size is where every dynamic axis is 1, and larger where they are."""
    expression = size.node.expr
    fewest = expression.subs(dict.fromkeys(expression.free_symbols, 1))
    return int(fewest) if fewest.is_Integer else 0


def lower_crops(model: ir.Model) -> None:
    """Write crops as ONNX's Slice, in place."""
    for node in [one for one in model.graph if (one.domain, one.op_type) == (_DOMAIN, CROP)]:
        tape = ir.tape.Tape()
        bounds = [
            tape.op("Constant", [], {"value_ints": [node.attributes[name].as_int()]})
            for name in ("start", "end", "axis")
        ]
        out = tape.op("Slice", [node.inputs[0], *bounds])
        out.shape, out.type = node.outputs[0].shape, node.outputs[0].type
        ir.convenience.replace_nodes_and_values(
            model.graph, node, [node], tape.nodes, node.outputs, [out]
        )
