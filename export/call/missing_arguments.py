"""Arguments of forward that an example leaves out, and what a spec of each would look like."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Collection, Iterator

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
from edgernn.export.call.guess_examples import first_spec, guess_step_sizes, state_shapes
from edgernn.option_names import option

__all__ = ["ask_for_inputs", "check_required_arguments"]


def check_required_arguments(module: nn.Module, example: ExampleCall) -> None:
    """Raise InputError where the example leaves out an argument that forward needs."""
    for path in (hole for name, value in example.kwargs.items() for hole in _holes(value, name)):
        raise InputError(
            f"`{path}` has no value, but what comes after it in its tuple has one. Give a spec "
            "for each part of it."
        )
    missing = [one for one in _required(module) if one not in example.kwargs]
    if missing:
        has = "has" if len(missing) == 1 else "have"
        raise InputError(
            f"`{type(module).__name__}.forward` also needs {_listed(missing)}, which {has} no "
            f"default. Give an example tensor or a spec for each{_hint(module, missing, example)}."
        )


def _hint(module: nn.Module, missing: Collection[str], example: ExampleCall) -> str:
    """Return a spec for each missing argument, if forward runs with these; else nothing."""
    specs = _specs(module, missing)
    with contextlib.suppress(Exception):
        guessed = dict(example_from(module, specs).kwargs)
        for given in (example.kwargs, {}):
            with contextlib.suppress(Exception):
                run_forward(module, ExampleCall({**given, **guessed}, {}))
                return f": {option('inputs', specs)}"
    return ", such as x:float32[batch,sequence,3] or ids:int64[batch]"


def ask_for_inputs(module: nn.Module) -> str:
    """Ask for a description of what forward takes, with one that forward runs with if any."""
    names = _required(module) or list(forward_parameters(module))
    specs = _specs(module, _required(module) or names[:1] or ["x"])
    with contextlib.suppress(Exception):
        run_forward(module, example_from(module, specs))
        return f"Describe the inputs of its forward, such as {option('inputs', specs)}."
    listed = _listed(names or ["x"])
    spec = option("inputs", ["NAME:DTYPE[DIMS]"])
    return (
        f"Describe the inputs of its forward, {listed}, with a spec for each: {spec}, such as "
        "x:float32[batch,sequence,3] or ids:int64[batch]."
    )


def _required(module: nn.Module) -> list[str]:
    """Return the arguments that forward cannot do without."""
    empty = inspect.Parameter.empty
    return [name for name, one in forward_parameters(module).items() if one.default is empty]


def _specs(module: nn.Module, names: Collection[str]) -> list[str]:
    """Return specs for some arguments, as the layers and the arguments' names suggest them."""
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
    return specs


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


def _holes(value: object, path: str) -> Iterator[str]:
    """Yield the paths of tuple and list entries that were given no value."""
    if isinstance(value, (tuple, list)):
        for place, part in enumerate(value):
            if part is None:
                yield f"{path}[{place}]"
            yield from _holes(part, f"{path}[{place}]")


def _listed(names: Collection[str]) -> str:
    *others, last = (f"`{name}`" for name in names)
    return f"{', '.join(others)} and {last}" if others else last
