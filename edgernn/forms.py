"""The forms of an artifact: graphs that run in place of its portable ones where they are faster."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edgernn.errors import ContractError
from edgernn.json_field import MAX_SIZE, JsonField
from edgernn.ports import Port
from edgernn.untrusted_text import quote

__all__ = [
    "FORMS_FOLDER",
    "MOST_THREADS",
    "Form",
    "choose_form",
    "forms_from_json",
    "is_form_file",
    "unit_axes",
    "with_unit_axes",
]

FORMS_FOLDER = "forms"
"""The folder of an artifact that holds the graphs of its forms."""

MOST_THREADS = 1024
"""The most threads for a graph: each is started, whether there is a core for it or not."""

_FILE = re.compile(rf"{FORMS_FOLDER}/[A-Za-z0-9][A-Za-z0-9_-]*\.onnx")
_MAX_FORMS = 256


@dataclass(frozen=True)
class Form:
    """A graph to run in place of a portable one, and the sizes for which to run it.

    It has the ports, the states and the metadata of the portable graph, and computes the same. A
    port may have additional axes of size 1, which leave the numbers and their order as they are.

    Attributes:
        graph: The graph in whose place it runs: `sequence` or `step`.
        file: Its file in the artifact's folder, `forms/NAME.onnx`; or that of the portable graph
            itself, which a tuned artifact may prefer for some sizes.
        provider: The name of the provider that runs it.
        least: Name of an axis → the smallest size for which it is used.
        most: Name of an axis → the largest.
        threads: The number of threads that run it, unless the user asks for another; None for
            that of the portable graph.
    """

    graph: str
    file: str
    provider: str = "cpu"
    least: Mapping[str, int] = field(default_factory=dict)
    most: Mapping[str, int] = field(default_factory=dict)
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.graph not in ("sequence", "step"):
            raise ContractError(
                f"A form is of graph {quote(self.graph)}; known are: sequence, step."
            )
        if not (is_form_file(self.file) or self.file == f"{self.graph}.onnx"):
            raise ContractError(
                f"A form is in file {quote(self.file)}; expected `{FORMS_FOLDER}/NAME.onnx` with a "
                f"name of letters, digits, - and _, or `{self.graph}.onnx`."
            )
        for axis, size in (*self.least.items(), *self.most.items()):
            least, most = self.least.get(axis, 1), self.most.get(axis, MAX_SIZE)
            if not 1 <= least <= size <= most:
                raise ContractError(
                    f"Form `{self.file}` is for {quote(axis)} of at least {least} and at most "
                    f"{most}; bounds are at least 1, the lower first."
                )

    @property
    def name(self) -> str:
        """The name of its file, without folder and extension: `step-operator`."""
        return self.file.rpartition("/")[2].removesuffix(".onnx")

    def __str__(self) -> str:
        """Return the name with the conditions: `step-operator on cpu, batch 1 to 4`."""
        sizes = [f"{axis} {self._range(axis)}" for axis in dict.fromkeys((*self.least, *self.most))]
        threads = "thread" if self.threads == 1 else "threads"
        chosen = [] if self.threads is None else [f"{self.threads} {threads}"]
        return ", ".join([f"{self.name} on {self.provider}", *sizes, *chosen])

    def _range(self, axis: str) -> str:
        least, most = self.least.get(axis, 1), self.most.get(axis)
        if most is None:
            return f"from {least}"
        return str(least) if least == most else f"{least} to {most}"

    def applies(self, graph: str, provider: str, sizes: Mapping[str, int]) -> bool:
        """Return whether it runs in place of `graph`.

        Args:
            graph: `sequence` or `step`.
            provider: The name of the provider.
            sizes: Name of an axis → its size in the call; an axis without a size is outside of
                every bound.
        """
        return (
            graph == self.graph
            and provider == self.provider
            and all(sizes.get(axis, 0) >= size for axis, size in self.least.items())
            and all(sizes.get(axis, size + 1) <= size for axis, size in self.most.items())
        )

    def to_json(self) -> dict[str, Any]:
        """Return the form as a JSON object."""
        return {
            "graph": self.graph,
            "file": self.file,
            "provider": self.provider,
            "least": dict(self.least),
            "most": dict(self.most),
            "threads": self.threads,
        }

    @classmethod
    def from_json(cls, data: JsonField) -> Form:
        """Read what `to_json` returned.

        Raises:
            ContractError: It is not a form.
        """
        graph = data["graph"].one_of(("sequence", "step"))
        file = data["file"].text()
        if not (is_form_file(file) or file == f"{graph}.onnx"):
            data["file"].refuse(f"`{FORMS_FOLDER}/NAME.onnx` or `{graph}.onnx`")
        least, most = (
            {axis: size.count(1, MAX_SIZE) for axis, size in data[bound].entries().items()}
            for bound in ("least", "most")
        )
        for axis in least.keys() & most.keys():
            if least[axis] > most[axis]:
                data["least"].refuse("sizes of at most those of `most`")
        return cls(
            graph=graph,
            file=file,
            provider=data["provider"].text(),
            least=least,
            most=most,
            threads=data["threads"].optional(lambda threads: threads.count(1, MOST_THREADS)),
        )


def is_form_file(name: str) -> bool:
    """Return whether `name` is a file of the folder of forms: `forms/NAME.onnx`."""
    return _FILE.fullmatch(name) is not None


def choose_form(
    forms: Sequence[Form], graph: str, provider: str, sizes: Mapping[str, int]
) -> Form | None:
    """Return the first form that applies, or None for the portable graph.

    Args:
        forms: Those of an artifact, in their order.
        graph: `sequence` or `step`.
        provider: The name of the provider.
        sizes: Name of an axis → its size in the call.
    """
    return next((form for form in forms if form.applies(graph, provider, sizes)), None)


def forms_from_json(whole: JsonField) -> tuple[Form, ...]:
    """Return the forms in `contract.json`; none where it has no such field.

    Raises:
        ContractError: One of them is not a form.
    """
    forms = whole.get("forms")
    return () if forms is None else tuple(map(Form.from_json, forms.items(_MAX_FORMS)))


def unit_axes(port: Port, shape: Sequence[int | str]) -> tuple[int, ...] | None:
    """Return which axes of a form's port are additional ones of size 1.

    Args:
        port: The port of the portable graph.
        shape: The shape of the same port of the form.

    Returns:
        The indices of the axes in `shape`; None where it is another shape.
    """
    left, added = list(port.shape), []
    for axis, size in enumerate(shape):
        is_spare = len(shape) - axis > len(left)
        if left and left[0] == size and not (size == 1 and is_spare):
            del left[0]
        elif size == 1:
            added.append(axis)
        else:
            return None
    return None if left else tuple(added)


def with_unit_axes(port: Port, shape: Sequence[int | str]) -> Port | None:
    """Return a port of the portable graph in the shape of a form; None where that is another."""
    added = unit_axes(port, shape)
    if added is None:
        return None
    axes: list[str | None] = list(port.axes)
    for axis in added:
        axes.insert(axis, None)
    return replace(port, shape=tuple(shape), axis_names=None).with_axes(axes)
