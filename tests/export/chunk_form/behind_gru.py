"""A GRU, and a function of its output that mixes steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

__all__ = ["SPEC", "BehindGru"]

SPEC = "x:float32[batch,sequence,4]"


class BehindGru(nn.Module):
    """A GRU whose output, (batch, 4, steps), goes through a function with some modules.

    Args:
        function: It takes this module and the output.
        modules: They become attributes.
    """

    def __init__(
        self, function: Callable[[BehindGru, torch.Tensor], torch.Tensor], **modules: nn.Module
    ) -> None:
        super().__init__()
        self.function = function
        self.rnn = nn.GRU(4, 4, batch_first=True)
        for name, module in modules.items():
            setattr(self, name, module)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the function makes of the GRU's output."""
        result: torch.Tensor = self.function(self, self.rnn(x)[0].transpose(1, 2))
        return result
