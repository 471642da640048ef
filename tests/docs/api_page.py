"""The page docs/api.md, made from the docstrings of the public names; `scripts/docs` writes it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import griffe

__all__ = ["SECTIONS", "page"]

ROOT = Path(__file__).parents[2]

HEAD = """# The Python API

This page is the reference of the names in `edgernn`, in the order in which a program uses them.
`scripts/docs` makes it from their docstrings; [export.md](export.md) and [run.md](run.md) have
complete programs.

Shapes are tuples of sizes and of the names of dynamic axes. `ArrayLike` is a NumPy array or
anything that NumPy turns into one, such as a list. `Outputs` is the array of the only output, or a
dict from name to array for a model with several.

`import edgernn` is fast: torch and ONNX Runtime are imported by the first call that needs them."""

SECTIONS = {
    "Exporting": ("export_model", "verify_artifact"),
    "Running": ("load", "Model", "Stream", "StreamPool", "PoolStream", "Result", "generate"),
    "Artifacts and contracts": (
        *("Artifact", "Contract", "Port", "State", "Vocabulary", "ParityReport"),
        *("contract.Graph", "layer.Layer", "report.Check", "report.Cost"),
    ),
    "Errors": (
        *("SourceError", "UnsupportedModelError", "ParityError", "ContractError"),
        *("OutputExistsError", "ProviderError", "MissingExtraError", "InputError", "StateError"),
    ),
}
"""Title → names, below `edgernn`, in the order of the page."""

_FOR_EDGERNN = (
    *("axis_names", "bounds", "from_json", "from_metadata", "metadata", "only", "within"),
    *("with_axes", "with_batch", "with_default_axes", "with_dynamic_axis", "with_steps"),
    *("without_axis", "from_table", "to_table"),
)
"""Members that only edgernn itself calls; the page leaves them out."""


def page() -> str:
    """Return the page in Markdown."""
    package = griffe.load("edgernn", search_paths=[ROOT], docstring_parser="google")
    parts = [HEAD]
    for title, names in SECTIONS.items():
        parts.append(f"## {title}")
        objects = [_target(package[name]) for name in names]
        parts += [_error_table(objects)] if title == "Errors" else _entries(names, objects)
    return "\n\n".join(parts) + "\n"


def _target(found: Any) -> Any:
    return found.final_target if found.is_alias else found


def _entries(names: Sequence[str], objects: Sequence[Any]) -> Iterator[str]:
    for name, found in zip(names, objects, strict=True):
        yield f"### edgernn.{name}"
        if found.is_function:
            yield from _function(found)
        else:
            yield from _class(found)


def _class(found: Any) -> Iterator[str]:
    yield from _docstring(found)
    for name, member in found.members.items():
        hidden = name in _FOR_EDGERNN or (name.startswith("_") and name != "__call__")
        if hidden or member.docstring is None:
            continue
        yield f"#### {found.name}.{name}"
        if member.is_function:
            yield from _function(member)
        else:  # a property
            yield f"`{member.annotation}`: {_joined(member.docstring.value)}"


def _function(found: Any) -> Iterator[str]:
    code = f"def {found.signature()}: ..."
    if "classmethod" in found.labels:
        code = f"@classmethod\n{code}"
    yield f"```python\n{_formatted(code)}```"
    yield from _docstring(found)


def _formatted(code: str) -> str:
    command = [sys.executable, "-m", "ruff", "format", "--line-length", "96", "--isolated", "-"]
    return subprocess.run(command, input=code, capture_output=True, text=True, check=True).stdout


def _docstring(found: Any) -> Iterator[str]:
    for section in found.docstring.parse("google", warnings=False):
        kind = section.kind.value
        if kind == "text":
            yield section.value
        elif kind == "examples":
            yield from (_example(kind.value, text) for kind, text in section.value)
        else:
            yield f"{_TITLES[kind]}:"
            yield "\n".join(map(_ITEMS[kind], section.value))


_TITLES = {
    "parameters": "Arguments",
    "attributes": "Attributes",
    "returns": "Returns",
    "yields": "Yields",
    "raises": "Raises",
}
_ITEMS = {
    "parameters": lambda item: f"- `{item.name}`: {_joined(item.description)}",
    "attributes": lambda item: _attribute(item.name, item.annotation, item.description),
    "returns": lambda item: f"- {_joined(item.description)}",
    "yields": lambda item: f"- {_joined(item.description)}",
    "raises": lambda item: f"- `{item.annotation}`: {_joined(item.description)}",
}


def _attribute(name: str, annotation: Any, description: str) -> str:
    kind = "" if annotation is None else f" (`{annotation}`)"
    return f"- `{name}`{kind}: {_joined(description)}"


def _example(kind: str, text: str) -> str:
    return f"```pycon\n{text}\n```" if kind == "examples" else text


def _error_table(errors: Sequence[Any]) -> str:
    """Return what each error is raised for; its docstring is `When …`."""
    intro = (
        "All derive from `edgernn.EdgernnError`. Each message names its subject in backticks, says "
        "what was expected and what was given, and ends with the remedy "
        "([troubleshooting.md](troubleshooting.md))."
    )
    whens = [_joined(error.docstring.value).removesuffix(".") for error in errors]
    rows = [
        f"| `{error.name}` | {when.removeprefix('When ')} |"
        for error, when in zip(errors, whens, strict=True)
    ]
    return "\n".join([intro, "", "| Error | Raised when |", "|---|---|", *rows])


def _joined(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    click.echo(page(), nl=False)
