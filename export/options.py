"""The options of an export, each declared once. Imports no library.

A field is an option of `export_model` and, made from it, of `edgernn export`:

    steps: Annotated[int | None, Option("Take N steps and no other number.", metavar="N")] = None
    → export_model(model, steps=16)
    → edgernn export MODEL --steps 16

Types and defaults are those of the signature of `export_model`. A value is checked against its
type when the options are made.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    ParamSpec,
    Protocol,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    runtime_checkable,
)

from edgernn.errors import InputError
from edgernn.export.ir.opset_versions import IR_VERSIONS
from edgernn.vocabulary import Vocabulary

__all__ = [
    "Declaration",
    "ExportOptions",
    "GraphChoice",
    "Option",
    "Precision",
    "SourceOptions",
    "StateLayout",
    "SupportsArray",
    "accept_old_names",
    "declarations",
]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

GraphChoice = Literal["both", "sequence", "step"]
Precision = Literal["float32", "float16", "int8"]
StateLayout = Literal["torch", "batch-major"]


@runtime_checkable
class SupportsArray(Protocol):
    """A NumPy array or a torch tensor."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the values as a NumPy array."""


@dataclass(frozen=True)
class Option:
    """What the declaration of an option says besides its name, type and default.

    Attributes:
        help: The line in `edgernn export --help`.
        flags: The flags on the command line; `--` and the name where empty.
        metavar: What the help calls the value.
        repeatable: Whether the flag is given once per value.
        hidden: Whether the option is in the Python API only.
        old_name: A former name, which still works and which no help shows.
        choices: The integers that are known, where not every integer is.
        expected: What messages say of a value that is neither a choice, a bool nor an integer.
    """

    help: str
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    repeatable: bool = False
    hidden: bool = False
    old_name: str = ""
    choices: tuple[int, ...] = ()
    expected: str = ""


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """How to read a model: the options that exporting and verifying share.

    Raises:
        InputError: A value is not what its option takes.
    """

    inputs: Annotated[
        Sequence[Any] | Mapping[str, Any] | SupportsArray | None,
        Option(
            'An example input, as "tokens:int64[batch,sequence]" or, with ids below 11, '
            '"tokens:int64[batch,sequence]<11"; or one that is always the same, as '
            '"rate:int64[]=16000"; or a file, as "tokens=tokens.npy"; once per argument.',
            flags=("--input",),
            metavar="SPEC",
            repeatable=True,
            expected="example tensors in a tuple or by name, or specs such as "
            "`tokens:int64[batch,sequence]`",
        ),
    ] = None
    states: Annotated[
        Mapping[str, str | int] | None,
        Option(
            "A state: forward's argument, and its next value by name or position.",
            flags=("--state",),
            metavar="IN=OUT",
            repeatable=True,
            expected='a mapping from arguments to results, such as {"h": 1}',
        ),
    ] = None
    module: Annotated[
        str | Callable[[], object] | None,
        Option(
            "What builds the module that a state_dict belongs to.",
            metavar="FILE.py:FACTORY",
            expected="`FILE.py:FACTORY`, or a function or class that returns an nn.Module",
        ),
    ] = None
    assume_plain: Annotated[
        bool,
        Option("Assume that nothing lies between the layers of a bare state_dict."),
    ] = False
    trust: Annotated[
        bool,
        Option(
            "Let the file run code while it is opened: a pickled module, or an archive that does "
            "more than compute.",
            old_name="trust_pickle",
        ),
    ] = False

    def __post_init__(self) -> None:
        for declaration in declarations(type(self)):
            declaration.check(getattr(self, declaration.name))


@dataclass(frozen=True, kw_only=True)
class ExportOptions(SourceOptions):
    """What to export, as what and where to.

    Raises:
        InputError: A value is not what its option takes, or two options exclude each other.
    """

    path: Annotated[
        str | Path | None,
        Option(
            "The artifact to write.  [default: MODEL's name with .edgernn, here]",
            flags=("-o", "--output"),
            metavar="DIR",
            expected="the path of a folder",
        ),
    ] = None
    graph: Annotated[GraphChoice, Option("The graphs to write.")] = "both"
    precision: Annotated[
        Precision, Option("The number format of the weights and of the computation.")
    ] = "float32"
    opset: Annotated[
        int, Option("The ONNX operator set.", metavar="N", choices=tuple(IR_VERSIONS))
    ] = 18
    state_layout: Annotated[
        StateLayout,
        Option("The axes of a state: (layers, batch, size), or (batch, layers, size)."),
    ] = "torch"
    state_per_layer: Annotated[bool, Option("Give every layer of a stack its own state.")] = False
    int32_ids: Annotated[bool, Option("Take integers as int32 instead of int64.")] = False
    reset: Annotated[bool, Option("Add an input that resets the state of single sequences.")] = (
        False
    )
    lengths: Annotated[bool, Option("Add an input for the length of each sequence.")] = False
    batch_size: Annotated[
        int | None,
        Option("Take N sequences and no other number.", metavar="N", old_name="batch"),
    ] = None
    steps: Annotated[
        int | None,
        Option("Take N steps and no other number.", metavar="N", old_name="sequence"),
    ] = None
    vocabulary: Annotated[
        Vocabulary | Sequence[str] | Mapping[str, Any] | str | Path | None,
        Option(
            "The model's symbols: one per line, or .json.",
            metavar="FILE",
            expected="the symbols in the order of their ids, or the path of a vocabulary file",
        ),
    ] = None
    force: Annotated[bool, Option("Replace an artifact that exists.")] = False
    verify: Annotated[bool, Option("Prove the graphs before they are written.", hidden=True)] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.graph == "step" and self.steps is not None:
            raise InputError(
                f"`steps` is {self.steps}, which is of the sequence graph, but --graph step writes "
                "none. Leave out one of the two."
            )


# --- declarations ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Declaration:
    """One option with all that is declared of it.

    Attributes:
        name: The name in Python.
        type: The type of its values.
        default: The value where none is given.
        option: The rest.
    """

    name: str
    type: Any
    default: Any
    option: Option = field(repr=False)

    @property
    def choices(self) -> tuple[str | int, ...]:
        """The values that are known, where they are enumerated."""
        return get_args(self.type) if get_origin(self.type) is Literal else self.option.choices

    @property
    def member_types(self) -> tuple[Any, ...]:
        """The types of which a value has one."""
        return get_args(self.type) if _is_union(self.type) else (self.type,)

    def check(self, value: object) -> None:
        """Check a value against the type and the choices.

        Raises:
            InputError: It is none of them.
        """
        if _matches(value, self.type) and self._is_known(value):
            return
        text = repr(value)
        simple = isinstance(value, (str, int, float, type(None))) and len(text) <= 80
        subject = f"`{self.name}` is {text if simple else f'of type {type(value).__name__}'}"
        if self.choices:
            raise InputError(f"{subject}; known are: {', '.join(map(str, self.choices))}.")
        raise InputError(f"{subject}; expected {self._expected()}.")

    def _is_known(self, value: object) -> bool:
        if self.choices:
            return value in self.choices
        return not (int in self.member_types and isinstance(value, int)) or value >= 1

    def _expected(self) -> str:
        if self.type is bool:
            return "True or False"
        if int in self.member_types:
            return "an integer of at least 1, or None"
        return self.option.expected


def declarations(options: type[SourceOptions]) -> tuple[Declaration, ...]:
    """Return the options that a class declares, in their order."""
    hints = get_type_hints(options, include_extras=True)
    found = []
    for one in fields(options):
        assert one.default is not MISSING
        kind, option = get_args(hints[one.name])
        found.append(Declaration(one.name, kind, one.default, option))
    return tuple(found)


def accept_old_names(
    options: type[SourceOptions],
) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Let a function whose keywords are options take them by their old names, with a warning."""
    names = {one.option.old_name: one.name for one in declarations(options) if one.option.old_name}

    def decorate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        @functools.wraps(function)
        def with_old_names(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            for old, new in names.items():
                if old not in kwargs:
                    continue
                if new in kwargs:
                    raise InputError(f"`{old}` is the old name of `{new}`. Give `{new}` alone.")
                warnings.warn(f"`{old}` is now called `{new}`.", DeprecationWarning, stacklevel=2)
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return with_old_names

    return decorate


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, UnionType)


def _matches(value: Any, kind: Any) -> bool:
    """Say whether a value is of a declared type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if _is_union(kind):
        return any(_matches(value, one) for one in arguments)
    if origin is Literal:
        return isinstance(value, str) and value in arguments
    if origin is Mapping:
        return isinstance(value, Mapping) and all(
            _matches(key, arguments[0]) and _matches(item, arguments[1])
            for key, item in value.items()
        )
    if origin is Sequence:
        return isinstance(value, Sequence) and all(_matches(one, arguments[0]) for one in value)
    if origin is Callable:
        return callable(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)
