"""Exceptions of libraries, as refusals that name the stage of an export."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping

import onnx_ir as ir

from edgernn.errors import EdgernnError, ParityError, UnsupportedModelError
from edgernn.export.code_lines.source_line import SourceLine, line_of_error, line_of_stack
from edgernn.option_names import option

__all__ = ["lines_of", "locating", "stage"]

_STACK = "pkg.torch.onnx.stack_trace"


@contextlib.contextmanager
def stage(doing: str, model: str) -> Iterator[None]:
    """Turn what libraries raise into UnsupportedModelError.

    What the operating system refuses, and what is not installed, is left as it is.

    Args:
        doing: What is done within the block: `tracing forward`.
        model: The name of the model.

    Raises:
        UnsupportedModelError: Something within the block raised another exception than edgernn's.
    """
    try:
        yield
    except (EdgernnError, OSError, ImportError):
        raise
    except Exception as error:
        raise UnsupportedModelError(_unforeseen(doing, model, error)) from error


def _unforeseen(doing: str, model: str, error: Exception) -> str:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    reason = f"{type(error).__name__}: {first}".rstrip(".!: ")
    if (line := line_of_error(error)) is not None:
        return (
            f"`{model}.forward` fails at {line} while edgernn is {doing}: {reason}. Where it "
            f"takes certain sizes or values only, describe them with {option('inputs')}."
        )
    return (
        f"{doing.capitalize()} of `{model}` fails with {reason}. That is a fault of edgernn; "
        "please report it with the model."
    )


def lines_of(models: Iterable[ir.Model]) -> dict[str, SourceLine]:
    """Return the line of the model's code that each node of graphs came from, by its name."""
    found = {
        node.name or "": line_of_stack(node.metadata_props.get(_STACK, ""))
        for model in models
        for node in model.graph.all_nodes()
    }
    return {name: line for name, line in found.items() if line is not None}


@contextlib.contextmanager
def locating(lines: Mapping[str, SourceLine]) -> Iterator[None]:
    """Add the line of the model to refusals that name a node of a graph.

    Args:
        lines: Name of a node → the line that it came from.
    """
    try:
        yield
    except (ParityError, UnsupportedModelError) as error:
        named = (name for name in re.findall(r"\w+", str(error)) if name in lines)
        if (name := next(named, None)) is None:
            raise
        raise type(error)(f"{error} `{name}` comes from {lines[name]}.") from error.__cause__
