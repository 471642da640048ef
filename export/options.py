"""The options of an export, each declared once. Imports no library.

A field is an option of `export_model` and, made from it, of `edgernn export`:

    steps: Annotated[int | None, Option("Take N steps and no other number.", metavar="N")] = None
    → export_model(model, steps=16)
    → edgernn export MODEL --steps 16

Types and defaults are those of the signature of `export_model`. A value is checked against its
type when the options are made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from edgernn.declared_options import Option, check_options
from edgernn.errors import InputError
from edgernn.option_names import option
from edgernn.tolerances import LOOSEST
from edgernn.vocabulary import Vocabulary

__all__ = [
    "ExportOptions",
    "FoldChoice",
    "GraphChoice",
    "Precision",
    "SourceOptions",
    "StateLayout",
    "SupportsArray",
]

GraphChoice = Literal["both", "sequence", "step"]
Precision = Literal["float32", "float16", "int8", "int4"]
FoldChoice = Literal["auto", "yes", "no"]
StateLayout = Literal["torch", "batch-major"]


@runtime_checkable
class SupportsArray(Protocol):
    """A NumPy array or a torch tensor."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the values as a NumPy array."""


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
        bool, Option("Assume that nothing lies between the layers of a bare state_dict.")
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
        check_options(self)


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
    fold: Annotated[
        FoldChoice,
        Option(
            "Fold an embedding into the product that multiplies it, in the step graph: a lookup "
            "instead of a product, for a larger file."
        ),
    ] = "auto"
    opset: Annotated[
        int, Option("The ONNX operator set.", metavar="N", choices=tuple(range(13, 26)))
    ] = 18
    state_layout: Annotated[
        StateLayout, Option("The axes of a state: (layers, batch, size), or (batch, layers, size).")
    ] = "torch"
    state_per_layer: Annotated[bool, Option("Give every layer of a stack its own state.")] = False
    int32_ids: Annotated[bool, Option("Take integers as int32 instead of int64.")] = False
    reset: Annotated[bool, Option("Add an input that resets the state of single sequences.")] = (
        False
    )
    lengths: Annotated[bool, Option("Add an input for the length of each sequence.")] = False
    batch_size: Annotated[
        int | None, Option("Take N sequences and no other number.", metavar="N", old_name="batch")
    ] = None
    steps: Annotated[
        int | None, Option("Take N steps and no other number.", metavar="N", old_name="sequence")
    ] = None
    rate: Annotated[
        float | None,
        Option(
            "Steps of the input per second, such as 16000 for sound.",
            metavar="HZ",
        ),
    ] = None
    vocabulary: Annotated[
        Vocabulary | Sequence[str] | Mapping[str, Any] | str | Path | None,
        Option(
            "The model's symbols: one per line, or .json.",
            metavar="FILE",
            expected="the symbols in the order of their ids, or the path of a vocabulary file",
        ),
    ] = None
    calibrate: Annotated[
        Mapping[str, Any] | str | Path | None,
        Option(
            "Data to measure the quality with, before and after: those of `run`, or text.",
            metavar="FILE",
            expected="arrays by the names of ports, or the path of a file of them or of text",
        ),
    ] = None
    tolerance: Annotated[
        float | None,
        Option(
            "The largest difference from the model that passes.  [default: by precision]",
            metavar="X",
        ),
    ] = None
    max_loss: Annotated[
        float | None,
        Option(
            "The largest loss on these data; above it, nothing is written.",
            metavar="PERCENT",
        ),
    ] = None
    force: Annotated[bool, Option("Replace an artifact that exists.")] = False
    verify: Annotated[bool, Option("Prove the graphs before they are written.", hidden=True)] = True
    all_forms: Annotated[
        bool, Option("Write every form that there is, whatever its size.", hidden=True)
    ] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.graph == "step" and self.steps is not None:
            raise InputError(
                f"{option('steps')} is {self.steps}, which is of the sequence graph, but "
                f"{option('graph', 'step')} writes none. Leave out one of the two."
            )

        if self.max_loss is not None and self.calibrate is None:
            raise InputError(
                f"{option('max_loss')} is {self.max_loss:g} %, but there are no data to measure a "
                f"loss on. Give them with {option('calibrate')}."
            )
        if self.tolerance is not None and self.tolerance > LOOSEST[self.precision]:
            raise InputError(
                f"{option('tolerance')} is {self.tolerance:g}; at most "
                f"{LOOSEST[self.precision]:g} makes sense for {self.precision}: a graph that is "
                "wrong would pass. Give less, or leave it out."
            )

    def target(self, name: str) -> Path:
        """Return the folder of the artifact of a model of that name."""
        return Path(f"{name}.edgernn" if self.path is None else self.path)
