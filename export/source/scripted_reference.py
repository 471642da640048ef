"""A ScriptModule that torch itself runs: what the module read from it is compared with."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from inspect import Signature
from typing import Any

import torch
from torch import nn

from edgernn.export.capture.override_forward import subclass_with_forward
from edgernn.export.source.prepare_module import CONVERTED_DTYPES

__all__ = ["scripted_reference"]

# Of a forward that may leave another module than it found.
_WRITES = re.compile(r"prim::SetAttr|aten::[a-z]\w*_\(")


class Scripted(nn.Module):
    """A ScriptModule as a module that is the same at every call.

    Args:
        scripted: The ScriptModule, on the CPU.
        method: Its forward.
    """

    _scripted: Any

    def __init__(self, scripted: torch.jit.ScriptModule, method: str) -> None:
        super().__init__()
        narrowed = any(one.dtype in CONVERTED_DTYPES for one in scripted.state_dict().values())
        # Not one of this module's parts: attributes of a ScriptModule cannot be put back.
        vars(self)["_scripted"] = scripted.eval().float() if narrowed else scripted.eval()
        self._method = method
        self._writes = _WRITES.search(str(getattr(scripted, method).inlined_graph)) is not None

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run the ScriptModule."""
        scripted = copy.deepcopy(self._scripted) if self._writes else self._scripted
        unoptimized: Any = torch.jit.optimized_execution  # type: ignore[attr-defined]  # public
        with unoptimized(False):
            return getattr(scripted, self._method)(*args, **kwargs)

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """Yield the parameters of the ScriptModule."""
        yield from self._scripted.parameters(recurse)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Scripted:
        self._scripted._apply(fn, recurse)
        return self


def scripted_reference(
    scripted: torch.jit.ScriptModule, method: str, signature: Signature
) -> nn.Module:
    """Return a ScriptModule as a module with the arguments of its forward.

    Args:
        scripted: The ScriptModule, on the CPU.
        method: The name of its forward.
        signature: The arguments of it, `self` among them.
    """

    def forward(self: Scripted, *args: Any, **kwargs: Any) -> Any:
        return self.run(*args, **kwargs)

    module: nn.Module = subclass_with_forward(Scripted, forward, signature)(scripted, method)
    return module
