"""Archives in which torch has written out a loop over time, step after step."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from edgernn.export.call.example_call import ExampleCall
from edgernn.export.capture.preserve_state import preserve_state
from edgernn.export.source.read_exported import ExportedModule
from edgernn.export.source.read_torchscript import ScriptedModule
from edgernn.option_names import option

__all__ = ["describe_unrolled_loop"]

_PRODUCTS = ("linear", "matmul", "mm", "addmm", "bmm")


def describe_unrolled_loop(module: nn.Module, example: ExampleCall) -> str | None:
    """Tell a loop that an archive has written out: one weight multiplied step after step.

    Returns:
        Why the archive is of one length only, with the remedy; None where there is no such loop.
    """
    exported = isinstance(module, ExportedModule)
    if not exported and (not isinstance(module, ScriptedModule) or module.has_loops):
        return None
    products = _Products()
    with torch.no_grad(), preserve_state(module), products:
        module(**example.kwargs)
    names = {id(weight): name for name, weight in module.named_parameters()}
    steps, name = max(
        ((times, names[key]) for key, times in products.times.items() if key in names),
        default=(0, ""),
    )
    if steps < 2:
        return None
    maker = "torch.export" if exported else "torch.jit.trace"
    return (
        f"The archive multiplies by `{name}` {steps} times in a row: {maker} wrote a loop over "
        f"time out at {steps} steps, for which alone it is right. Export the model from its code "
        f"(the nn.Module itself, or its state_dict with {option('module', 'FILE.py:FACTORY')}), "
        "or archive it with torch.jit.script, which keeps the loop."
    )


class _Products(TorchFunctionMode):
    """Counts how often each tensor is multiplied by."""

    def __init__(self) -> None:
        super().__init__()
        self.times: Counter[int] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "").partition(".")[0] in _PRODUCTS:
            given = [one for one in (*args, *(kwargs or {}).values()) if isinstance(one, Tensor)]
            # weights come as they are or transposed, which is a view of them
            self.times.update({id(one if one._base is None else one._base) for one in given})
        return func(*args, **(kwargs or {}))
