"""Submodules by their dotted paths."""

from __future__ import annotations

from torch import nn

from edgernn.export.source.submodules import make_submodule


def test_missing_submodules_are_added():
    """One that exists is returned as it is."""
    module = nn.Module()
    inner = make_submodule(module, "a.b")
    assert make_submodule(module, "a.b") is inner is module.get_submodule("a.b")
    assert make_submodule(module, "") is module
