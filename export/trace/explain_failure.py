"""Why torch could not export a module: the line of the model, the reason and what helps.

Either forward fixes the size of axes that were to be dynamic, or the first known cause that matches
the failure, in one table, explains it.
"""

from __future__ import annotations

import contextlib
import re
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from edgernn.contract import BATCH
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import run_forward
from edgernn.export.capture.preserve_state import preserve_state
from edgernn.export.code_lines.source_line import (
    FirstCallMode,
    SourceLine,
    line_of_error,
    size_guards,
)
from edgernn.export.code_lines.source_syntax import condition_kind
from edgernn.export.trace.complex_numbers import ComplexNumbersError
from edgernn.option_names import option

__all__ = ["explain_failure", "export_one_step"]

_UNKNOWN = re.compile(
    r"No ONNX function found for <OpOverload\(op='(?P<space>\w+)\.(?P<name>\w+)'"
    r"|CustomOpDef\((?P<package>\w+)::(?P<own>\w+)\)"
)

_FORMS: Mapping[str, str] = {
    "_cdist_forward": "`(a[:, :, None] - b[:, None]).square().sum(-1).sqrt()`",
    "kthvalue": "the last of `x.topk(k, largest=False)`",
    "median": "the middle of `x.sort(-1)[0]`",
    "searchsorted": "`(values[..., None] > edges).sum(-1)`",
    "bucketize": "`(values[..., None] > edges).sum(-1)`",
}
"""Operators without an ONNX form → the same in operators that have one."""

_NUMBERS: Mapping[str, str] = {
    "item": ".item()",
    "tolist": ".tolist()",
    "__float__": "float()",
    "__int__": "int()",
    "__index__": "an index",
    "__complex__": "complex()",
}
"""Functions of tensors that return Python numbers → how they are written."""

_AXIS = re.compile(r"L\['tensors'\]\[(\d+)\]\.size\(\)\[(\d+)\]")
_EQUAL = re.compile(r"Eq\(\w+, \d+\)")


@dataclass(frozen=True)
class _Failure:
    """An export that failed, with the error that torch raised."""

    module: nn.Module
    example: ExampleCall
    error: BaseException

    @cached_property
    def chain(self) -> tuple[BaseException, ...]:
        """The exceptions that led to each other, the first one last."""
        found = [self.error]
        while (cause := found[-1].__cause__ or found[-1].__context__) is not None:
            found.append(cause)
        return tuple(found)

    @cached_property
    def text(self) -> str:
        return "\n".join(map(str, self.chain))

    def says(self, *words: str) -> bool:
        """Return whether one of some words is in the messages, in capitals or not."""
        return any(word.lower() in self.text.lower() for word in words)

    @cached_property
    def line(self) -> SourceLine | None:
        name = self.operator.rpartition("::")[2].strip("`")
        if not name:
            return line_of_error(self.error)
        # torch's own notes have only forward
        first = FirstCallMode(lambda operator, _: operator.overloadpacket.__name__ == name)
        with torch.no_grad(), preserve_state(self.module), warnings.catch_warnings(), first:
            warnings.simplefilter("ignore")
            with contextlib.suppress(Exception):
                self.module(**self.example.kwargs)
        return first.line or line_of_error(self.error)

    @property
    def at(self) -> str:
        """The line as a part of a sentence."""
        return f" at {self.line}" if self.line else ""

    @property
    def condition(self) -> str:
        """What a condition on the values of a tensor decides, see `condition_kind`, or nothing."""
        if self.function != "__bool__":
            return ""
        return (self.line and condition_kind(self.line)) or "branch"

    @cached_property
    def function(self) -> str:
        """The function of torch that forward called there; empty where it is not known."""
        for error in self.chain:
            for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
                if frame.f_code.co_name == "__torch_function__":
                    return str(getattr(frame.f_locals.get("func"), "__name__", ""))
        return ""

    @cached_property
    def operator(self) -> str:
        """The operator that torch or its exporter does not know, in backticks; or nothing.

        It is `name` for one of torch's, `package::name` for another's.
        """
        if self.of_complex is not None:
            return f"`{self.of_complex.operator}`" if self.of_complex.operator else ""
        space, name = "", ""
        if found := _UNKNOWN.search(self.text):
            space, name = found["space"] or found["package"], found["name"] or found["own"]
        for error in self.chain:
            if type(error).__name__ == "UnsupportedOperatorException":
                space, name, *_ = f"{getattr(error, 'func', '')}..".split(".")
        if not name:
            return ""
        return f"`{name}`" if space in ("aten", "prims") else f"`{space}::{name}`"

    @cached_property
    def of_complex(self) -> ComplexNumbersError | None:
        """The error of complex numbers among the exceptions."""
        return next((one for one in self.chain if isinstance(one, ComplexNumbersError)), None)

    @property
    def complex_numbers(self) -> str:
        """What forward does with complex numbers that has no ONNX form; empty where nothing."""
        return self.of_complex.what.format(at=self.at) if self.of_complex else ""

    @property
    def form(self) -> str:
        """The same as the operator in operators that have an ONNX form, where that is known."""
        return _FORMS.get(self.operator.strip("`"), "")

    @property
    def number(self) -> str:
        """How a Python number was made of a tensor; empty where none was."""
        return _NUMBERS.get(self.function, "")

    @property
    def reason(self) -> str:
        """The first line of the exception that led to the others."""
        cause = next((one for one in self.chain if one.__cause__ is None), self.chain[-1])
        first = next((line.strip() for line in str(cause).splitlines() if line.strip()), "")
        return f"{type(cause).__name__}: {first}".rstrip(".!: ")


def explain_failure(module: nn.Module, example: ExampleCall, error: BaseException) -> str:
    """Say which line of the model torch could not export in a call, why, and what helps."""
    failure = _Failure(module, example, error)
    message = _fixed_axes(module, example, error)
    if message is None:
        template = next(template for matches, template in _CAUSES if matches(failure))
        message = template.format(failure=failure, one_step=export_one_step())
    return f"`{type(module).__name__}` cannot be traced: {message}"


def export_one_step() -> str:
    """Return the advice to export one step of a loop that no graph can run."""
    return (
        "export the module of one step, which takes what is carried as arguments and returns it, "
        f"and name it with {option('states', {'INPUT': 'OUTPUT'})}"
    )


def _fixed_axes(module: nn.Module, example: ExampleCall, error: BaseException) -> str | None:
    """Say which axes forward fixes, and on which line; None where that is not the reason."""
    head = str(error).strip().partition("\n")[0]
    axes = dict.fromkeys((int(leaf), int(axis)) for leaf, axis in _AXIS.findall(head))
    if not axes or not head.startswith("Constraints violated"):
        return None
    leaves = example.tensors
    listed = " and ".join(
        f"axis {axis} of `{leaves[index].path}` ({leaves[index].shape[axis]})"
        for index, axis in axes
    )
    symbols = {str(leaves[index].shape[axis]) for index, axis in axes}
    options = _with_numbers(module, example, symbols).options()
    where, helps = _fixing_line(error)
    return f"forward fixes {listed}{where}. {helps}ive it as a number, such as {options}."


def _with_numbers(module: nn.Module, example: ExampleCall, symbols: set[str]) -> ExampleCall:
    """Return the example with these axes as constants: one sequence if forward takes one."""
    sizes = {symbol: example.sizes[symbol] for symbol in symbols}
    if BATCH in sizes:
        single = example.with_constants({**sizes, BATCH: 1})
        with contextlib.suppress(Exception):
            run_forward(module, single)
            return single
    return example.with_constants(sizes)


def _fixing_line(error: BaseException) -> tuple[str, str]:
    """Say on which line of the model, and begin the sentence with what helps."""
    found = [(guard, line) for guard, line in size_guards(error) if line is not None]
    equal = [line for guard, line in found if _EQUAL.fullmatch(guard)]
    lines = equal or [line for _, line in found]
    if not lines:
        return " while it is traced: it branches on that size, or loops over it", "G"
    line = lines[-1]
    if line.code.startswith(("for ", "while ")) or " for " in line.code:
        return f" by a loop over it at {line}", "G"
    if condition_kind(line):
        return f" by a branch on its size at {line}", "G"
    by = "Compute with Python's operators (`n ** 0.5` is the root of a size) or torch, or g"
    return f" by making a number of it at {line}", by


_UNLESS_EXPORTING = (
    "put it under `if not torch.compiler.is_exporting():`, or leave it to the caller"
)

_CAUSES: tuple[tuple[Callable[[_Failure], object], str], ...] = (
    (
        lambda failure: failure.complex_numbers,
        "forward {failure.complex_numbers}",
    ),
    (
        lambda failure: failure.says("sparse"),
        "forward computes with a sparse tensor{failure.at}, and ONNX has only dense ones. Make it "
        "dense with `.to_dense()` before the export.",
    ),
    (
        lambda failure: "::" in failure.operator,
        "forward calls {failure.operator}{failure.at}, an operator that is not torch's own, so "
        "ONNX has no form of it. Write it in Python with torch's operators.",
    ),
    (
        lambda failure: failure.form,
        "forward calls {failure.operator}{failure.at}, which has no ONNX form. Write "
        "{failure.form} instead.",
    ),
    (
        lambda failure: failure.operator,
        "forward calls {failure.operator}{failure.at}, which has no ONNX form. If it depends on "
        "weights alone, compute it once and keep the result as a buffer; otherwise write it with "
        "other operators, or leave it to the caller.",
    ),
    (
        lambda failure: (
            failure.function in ("numpy", "__array__") or ".numpy() is not supp" in failure.text
        ),
        "forward leaves torch for NumPy{failure.at}, where nothing can be traced. Compute the same "
        "with torch's functions on tensors.",
    ),
    (
        lambda failure: "data is not allocated yet" in failure.text,
        "forward makes a tensor from the numbers of others{failure.at}, and there are none while "
        "it is traced. Join the tensors with torch.stack or torch.cat.",
    ),
    (
        lambda failure: re.search(r"'Sym(Int|Float)' object has no attribute", failure.text),
        "forward passes a size to NumPy{failure.at}, which takes only numbers. Compute with "
        "Python's operators (`n ** 0.5` is the root of a size) or torch.",
    ),
    (
        lambda failure: failure.says("Trying to backward", "does not require grad"),
        "forward computes a gradient{failure.at}, and a graph runs only forward. Write the "
        "derivative out, or leave that line to the caller.",
    ),
    (
        lambda failure: failure.function == "__format__" or "__format__" in failure.text,
        "forward writes the numbers of a tensor as text{failure.at}, which has none while it is "
        f"traced. For a message, {_UNLESS_EXPORTING}.",
    ),
    (
        lambda failure: failure.condition == "check",
        "forward checks the values of a tensor{failure.at}, and a graph cannot raise. To keep the "
        f"check, {_UNLESS_EXPORTING}.",
    ),
    (
        lambda failure: failure.condition == "end",
        "forward ends a loop by the values of a tensor{failure.at}, and a graph runs the same "
        "steps whatever they are. Let the caller loop: {one_step}.",
    ),
    (
        lambda failure: failure.condition,
        "forward branches on the values of a tensor{failure.at}, and a graph computes the same "
        "whatever they are. Compute both sides and choose with torch.where(condition, a, b).",
    ),
    (
        lambda failure: failure.number,
        "forward makes a Python number of a tensor with {failure.number}{failure.at}, and there is "
        "none while it is traced. Keep it a tensor; where it is a size or a position, use a mask "
        "over all positions instead.",
    ),
    (
        lambda failure: (
            "GuardOnDataDependentSymNode" in [type(error).__name__ for error in failure.chain]
        ),
        "forward makes a tensor whose size depends on values, and needs that size{failure.at}. "
        "Keep the size: multiply by a mask or choose with torch.where(condition, a, b).",
    ),
    (
        lambda failure: failure.line,
        "torch cannot follow forward{failure.at}: {failure.reason}. Write that line with torch's "
        "functions on tensors, or leave it to the caller.",
    ),
    (
        lambda failure: True,
        "torch fails: {failure.reason}. Write that line with torch's functions on tensors, or "
        "leave it to the caller.",
    ),
)
