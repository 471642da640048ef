"""Axes that forward turned out to fix while it was traced."""

from __future__ import annotations

import re

from edgernn.contract import BATCH
from edgernn.export.example.call import Example

__all__ = ["fixed_axes"]

_AXIS = re.compile(r"L\['tensors'\]\[(\d+)\]\.size\(\)\[(\d+)\]")


def fixed_axes(example: Example, failure: str) -> str | None:
    """Return which axes forward fixes, with the remedy, where that is what `failure` of torch says.

    Args:
        example: The call that was traced.
        failure: torch.export's message.
    """
    head = failure.strip().partition("\n")[0]
    if not head.startswith("Constraints violated"):
        return None
    fixed = dict.fromkeys((int(leaf), int(axis)) for leaf, axis in _AXIS.findall(head))
    leaves = example.leaves
    shapes = {place: list(leaves[place].shape) for place, _ in fixed}
    for place, axis in fixed:
        shapes[place][axis] = leaves[place].tensor.shape[axis]
    if not fixed:
        return None
    listed = " and ".join(
        f"axis {axis} of `{leaves[place].path}` ({leaves[place].shape[axis]})"
        for place, axis in fixed
    )
    alone = all(leaves[place].shape[axis] == BATCH for place, axis in fixed)
    options = " ".join(
        f'--input "{leaves[place].path}:{str(leaves[place]).partition(":")[2].partition("[")[0]}'
        f'[{",".join(map(str, shape))}]"'
        for place, shape in shapes.items()
    )
    remedy = f"Give it as a number: {'--batch 1' if alone else options}."
    return (
        f"forward fixes {listed} while it is traced: it branches on that size, or a loop over "
        f"it is written out. {remedy}"
    )
