"""The arguments of forward by name, and what their names say of them."""

from __future__ import annotations

import inspect
import re

from torch import nn

__all__ = [
    "CELL_NAMES",
    "LENGTH_NAMES",
    "forward_parameters",
    "holds_data",
    "holds_state",
    "is_data",
    "is_state",
    "takes_any_keyword",
]

LENGTH_NAMES = re.compile(r"\w*len(gth)?s?$", re.I)
"""What arguments that hold the lengths of sequences are called."""

_STATE_NAMES = re.compile(
    r"(\w*hxs?|hc|h|h_?0|h_?t|h_?n|h_?tm1|h_?prev\w*|\w*hid(den)?\w*|prev\w*|\w*state\w*|mem\w*"
    r"|\w*carry)$",
    re.I,
)

CELL_NAMES = re.compile(r"(cxs?|c|c_?0|c_?t|c_?n|c_?tm1|c_?prev\w*|cell\w*|syn)$", re.I)
"""What arguments that hold the c of a state are called."""

_DATA_NAMES = re.compile(r"(x\w{0,2}|inp\w*|obs\w*|feat\w*|frames?|tokens?|word\w*|data)$", re.I)


def is_data(name: str) -> bool:
    """Return whether an argument of that name holds data."""
    return bool(_DATA_NAMES.match(name))


def is_state(name: str) -> bool:
    """Return whether an argument of that name holds a state, or a part of one."""
    return bool(_STATE_NAMES.match(name) or CELL_NAMES.match(name))


def holds_data(path: str) -> bool:
    """Return whether a tensor holds data by the names in its path, such as `obs["image"]`.

    Of a tuple of everything, `inputs[0]` is data, and what comes after it may be a state.
    """
    later = any(int(place) for place in re.findall(r"\[(\d+)\]", path))
    return not holds_state(path) and is_data(_names(path)[-1]) and not later


def holds_state(path: str) -> bool:
    """Return whether a tensor holds a state, or a part of one, by the names in its path."""
    return any(map(is_state, _names(path)))


def _names(path: str) -> list[str]:
    """Return the names that a path goes through."""
    return re.findall(r"(?:^|\.|\[[\"'])(\w+)", path) or [""]


def forward_parameters(module: nn.Module) -> dict[str, inspect.Parameter]:
    """Return forward's arguments that can be given by name."""
    signature = inspect.signature(module.forward)
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {name: p for name, p in signature.parameters.items() if p.kind not in kinds}


def takes_any_keyword(module: nn.Module) -> bool:
    """Return whether forward takes arguments of any name, as `**kwargs`."""
    parameters = inspect.signature(module.forward).parameters.values()
    return any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters)
