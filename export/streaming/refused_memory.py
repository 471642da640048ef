"""The refusal of memory that cannot be a state."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from edgernn.errors import UnsupportedModelError
from edgernn.option_names import option

__all__ = ["memory_refusal"]


def memory_refusal(
    module: nn.Module, names: Iterable[str], reason: str, remedy: str = ""
) -> UnsupportedModelError:
    """Return an error that names the attributes of memory that cannot be a state, and says why.

    Args:
        module: The module that keeps them.
        names: The paths of the attributes.
        reason: Why no state can replace them.
        remedy: What to do; by default, to take them as arguments.
    """
    listed = [f"`self.{name}`" for name in names]
    it = "it" if len(listed) == 1 else "them"
    remedy = remedy or (
        f"Take {it} as arguments and return the next values, each named with "
        f"{option('states', {'INPUT': 'OUTPUT'})} where it is not recognised."
    )
    return UnsupportedModelError(
        f"`{type(module).__name__}.forward` keeps {' and '.join(listed)} from call to call, and no "
        f"state can replace {it}: {reason}. {remedy}"
    )
