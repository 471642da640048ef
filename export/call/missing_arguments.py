"""Arguments of forward that an example leaves out, and what a spec of each would look like."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from torch import nn

from edgernn.errors import InputError
from edgernn.export.call.argument_names import (
    CELL_NAMES,
    LENGTH_NAMES,
    forward_parameters,
    is_state,
)
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.example_from_inputs import example_from
from edgernn.export.call.forward_run import run_forward
from edgernn.export.call.guess_examples import first_spec, state_shapes
from edgernn.export.call.step_sizes import guess_step_sizes

__all__ = ["ask_for_inputs", "check_required_arguments", "example_options"]


def check_required_arguments(module: nn.Module, example: ExampleCall) -> None:
    """Raise InputError where the example leaves out an argument that forward needs."""
    for path in _holes(example.kwargs):
        raise InputError(
            f"`{path}` has no value, but what comes after it in its tuple has one. Give a spec "
            "for each part of it."
        )
    missing = [one for one in _required(module) if one not in example.kwargs]
    if missing:
        has = "has" if len(missing) == 1 else "have"
        raise InputError(
            f"`{type(module).__name__}.forward` also needs {_listed(missing)}, which {has} no "
            f"default. Give an example tensor or a spec for each{_tried(module, missing, example)}."
        )


def _tried(module: nn.Module, missing: Collection[str], example: ExampleCall) -> str:
    """Return `--input` for each missing argument, if forward runs with these; else nothing."""
    options = _options(module, missing)
    specs = re.findall(r'--input "(.*?)"', options)
    with contextlib.suppress(Exception):
        guessed = dict(example_from(module, specs).kwargs)
        for given in (example.kwargs, {}):
            with contextlib.suppress(Exception):
                run_forward(module, ExampleCall({**given, **guessed}, {}))
                return f": {options}"
    return ""


def ask_for_inputs(module: nn.Module) -> str:
    """Ask for a description of what forward takes, with one that forward runs with if any."""
    options = example_options(module)
    with contextlib.suppress(Exception):
        run_forward(module, example_from(module, re.findall(r'--input "(.*?)"', options)))
        return f"Describe the inputs of its forward, such as {options}."
    names = _listed(_required(module) or list(forward_parameters(module)) or ["x"])
    return f'Describe the inputs of its forward, {names}: --input "NAME:DTYPE[DIMS]" for each.'


def example_options(module: nn.Module) -> str:
    """Return `--input` for all that forward needs, or for its first argument."""
    names = _required(module) or list(forward_parameters(module))[:1] or ["x"]
    return _options(module, names)


def _required(module: nn.Module) -> list[str]:
    """Return the arguments that forward cannot do without."""
    empty = inspect.Parameter.empty
    return [name for name, one in forward_parameters(module).items() if one.default is empty]


def _options(module: nn.Module, names: Collection[str]) -> str:
    """Return `--input` for some arguments, as the layers and the arguments' names suggest them."""
    width, hidden = guess_step_sizes(module, _required(module)) or (None, None)
    specs: list[str] = []
    for name in names:
        if LENGTH_NAMES.match(name):
            specs.append(f"{name}:int64[batch]")
        elif is_state(name):
            specs.extend(_state_specs(module, name, hidden))
        elif hidden is not None:
            specs.append(f"{name}:float32[batch,{width}]")
        else:
            specs.append(f"{name}:{first_spec(module)}")
    return " ".join(f'--input "{spec}"' for spec in specs)


def _state_specs(module: nn.Module, name: str, hidden: int | None) -> Iterator[str]:
    shapes = [shape for shape in state_shapes(module, 0) if shape is not None]
    alone = sum(map(is_state, _required(module))) < 2
    if len(shapes) > 1 and alone:
        for place, shape in enumerate(shapes):
            yield f"{name}[{place}]:float32[{_dims(shape)}]"
        return
    own = shapes[-1 if CELL_NAMES.match(name) else 0] if shapes else (0, hidden or 40)
    yield f"{name}:float32[{_dims(own)}]"


def _dims(shape: Collection[int]) -> str:
    """Write a shape with 0 for the batch."""
    return ",".join(str(size) if size else "batch" for size in shape)


def _holes(kwargs: Mapping[str, Any]) -> Iterator[str]:
    for name, value in kwargs.items():
        yield from _holes_in(value, name)


def _holes_in(value: object, path: str) -> Iterator[str]:
    if isinstance(value, (tuple, list)):
        for place, part in enumerate(value):
            if part is None:
                yield f"{path}[{place}]"
            yield from _holes_in(part, f"{path}[{place}]")


def _listed(names: Collection[str]) -> str:
    *others, last = (f"`{name}`" for name in names)
    return f"{', '.join(others)} and {last}" if others else last
