"""Submodules by their dotted paths."""

from __future__ import annotations

from torch import nn

__all__ = ["make_submodule"]


def make_submodule(module: nn.Module, path: str) -> nn.Module:
    """Return the submodule of `module` at `path`, adding empty modules where there are none."""
    for name in filter(None, path.split(".")):
        if name not in module._modules:
            module.add_module(name, nn.Module())
        module = module.get_submodule(name)
    return module
