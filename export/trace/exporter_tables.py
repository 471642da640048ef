"""torch's tables of operators, made once in a process.

torch makes them anew in every export: it parses the source of some 500 functions for the ONNX form
of each operator, lists all composite operators twice, and registers 20 kernels for each of them,
which it removes afterwards. This takes longer than to trace a small model. The tables depend on the
registered operators alone, and are made again where there are others.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any
from unittest import mock

import torch
from torch._export.utils import _collect_all_valid_cia_ops
from torch._subclasses.fake_impls import op_implementations_dict as fake_rules
from torch.export import exported_program
from torch.onnx._internal.exporter import _decomp
from torch.onnx._internal.exporter._registration import ONNXRegistry

__all__ = ["kept_tables"]

_Kernels = Mapping[Any, Mapping[Any, Any]]


class _Kept:
    """What was made from something, kept for the last things that it was made from."""

    def __init__(self) -> None:
        self._made: dict[Hashable, Any] = {}

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what is kept for `key`; else make it."""
        if key not in self._made:
            if len(self._made) == 8:
                self._made.clear()
            self._made[key] = make()
        return self._made[key]


_registry = staticmethod(functools.cache(ONNXRegistry.from_torchlib))
_composites, _decompositions, _overrides = _Kept(), _Kept(), _Kept()
_make_decompositions = _decomp.create_onnx_friendly_decomposition_table
_override = exported_program._override_composite_implicit_decomp


@contextlib.contextmanager
def kept_tables() -> Iterator[None]:
    """Let torch's exporters take the tables of earlier exports."""
    known = (
        *torch._C._dispatch_get_registrations_for_dispatch_key("CompositeImplicitAutograd"),
        len(torch._decomp.decomposition_table),
    )

    def composites() -> set[Any]:
        return set(_composites.get(known, _collect_all_valid_cia_ops))

    def decompositions(written: set[Any]) -> dict[Any, Any]:
        make = functools.partial(_make_decompositions, written)
        return dict(_decompositions.get((known, frozenset(written)), make))

    with (
        mock.patch.object(ONNXRegistry, "from_torchlib", _registry),
        mock.patch.object(exported_program, "_collect_all_valid_cia_ops", composites),
        mock.patch.object(_decomp, "create_onnx_friendly_decomposition_table", decompositions),
        mock.patch.object(
            exported_program, "_override_composite_implicit_decomp", _override_composites
        ),
    ):
        yield


@contextlib.contextmanager
def _override_composites(table: Mapping[Any, Any]) -> Iterator[None]:
    """Register what composite operators are decomposed to, as torch does, until the end.

    The kernels depend on `table` and on what was registered before; both are compared.
    """
    before, rules = _kernels(table), {op: fake_rules.get(op) for op in table}
    key = (frozenset(table.items()), frozenset(rules.items()))
    kept = _overrides.get(key, dict)
    if kept.get("before") != before:
        with _override(table):
            after, new_rules = _kernels(table), {op: fake_rules[op] for op in table}
            kept.update(before=before, kernels=after, rules=new_rules)
            yield
        return
    try:
        _register(kept["kernels"])
        fake_rules.update(kept["rules"])
        yield
    finally:
        _register(before)
        for op in table:  # torch, too, removes the rules that were there before
            fake_rules.pop(op, None)


def _kernels(operators: Mapping[Any, Any]) -> _Kernels:
    return {op: dict(op.py_kernels) for op in operators}


def _register(kernels: _Kernels) -> None:
    for op, of_keys in kernels.items():
        op.py_kernels.clear()
        op.py_kernels.update(of_keys)
        op._dispatch_cache.clear()
