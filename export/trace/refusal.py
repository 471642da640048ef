"""Why torch could not export a module: the line of the model, the reason and what helps.

One table holds every cause that is known; the first that recognises a failure speaks.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import nn

from edgernn.export.call.example_call import ExampleCall
from edgernn.export.code_lines.place import Place, place_of
from edgernn.export.code_lines.statement import decision_at
from edgernn.export.trace.first_call import first_call
from edgernn.export.trace.fixed_axes import fixed_axes

__all__ = ["ONE_STEP", "refusal"]

ONE_STEP = (
    "export the module of one step, which takes what is carried as arguments and returns it, and "
    "name it with --state INPUT=OUTPUT"
)

_UNKNOWN = re.compile(
    r"No ONNX function found for <OpOverload\(op='(?P<space>\w+)\.(?P<name>\w+)'"
    r"|CustomOpDef\((?P<package>\w+)::(?P<own>\w+)\)"
)

_CHECK = "put it under `if not torch.compiler.is_exporting():`, or leave it to the caller"

_HAS_FORM: Mapping[str, str] = {
    "_cdist_forward": "`(a[:, :, None] - b[:, None]).square().sum(-1).sqrt()`",
    "kthvalue": "the last of `x.topk(k, largest=False)`",
    "median": "the middle of `x.sort(-1)[0]`",
    "searchsorted": "`(values[..., None] > edges).sum(-1)`",
    "bucketize": "`(values[..., None] > edges).sum(-1)`",
}
"""Operators without an ONNX form → the same in operators that have one."""

_NUMBERS = {
    "item": ".item()",
    "tolist": ".tolist()",
    "__float__": "float()",
    "__int__": "int()",
    "__index__": "an index",
    "__complex__": "complex()",
}
"""Functions of tensors that give Python numbers → how they are written."""


@dataclass(frozen=True)
class _Failure:
    """An export that failed.

    Attributes:
        module: The model.
        example: The call that was traced.
        error: What torch raised.
    """

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
        """What all of them say."""
        return "\n".join(map(str, self.chain))

    @cached_property
    def place(self) -> Place | None:
        """The line of the model."""
        return self._place_of_operator or place_of(self.error)

    @cached_property
    def _place_of_operator(self) -> Place | None:
        """Where it calls the operator at fault: torch's own notes tell the forward alone."""
        name = self.operator.rpartition("::")[2].strip("`")
        if not name:
            return None
        return first_call(
            self.module,
            self.example,
            lambda operator, _: operator.overloadpacket.__name__ == name,
        )

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
        space, name = "", ""
        if found := _UNKNOWN.search(self.text):
            space, name = found["space"] or found["package"], found["name"] or found["own"]
        for error in self.chain:
            if type(error).__name__ == "UnsupportedOperatorException":
                space, name, *_ = f"{getattr(error, 'func', '')}..".split(".")
        if not name:
            return ""
        return f"`{name}`" if space in ("aten", "prims") else f"`{space}::{name}`"

    def named(self, *kinds: str) -> bool:
        """Return whether an exception of one of these classes is among them."""
        return any(type(error).__name__ in kinds for error in self.chain)


def refusal(module: nn.Module, example: ExampleCall, error: BaseException) -> str:
    """Say which line of the model torch could not export, why, and what helps.

    Args:
        module: The model.
        example: The call that was traced.
        error: What torch raised.
    """
    failure = _Failure(module, example, error)
    said = next(filter(None, (cause(failure) for cause in _CAUSES)))
    return f"`{type(module).__name__}` cannot be traced: {said}"


def _at(failure: _Failure) -> str:
    return f" at {failure.place}" if failure.place else ""


def _fixed(failure: _Failure) -> str | None:
    return fixed_axes(failure.module, failure.example, failure.error)


def _complex(failure: _Failure) -> str | None:
    if "complex" not in failure.text.lower():
        return None
    operator = failure.operator
    lacking = f"of which {operator} has no ONNX form" if operator else "which ONNX does not have"
    return (
        f"forward computes with complex numbers{_at(failure)}, {lacking}. Compute with the real "
        "and the imaginary part as two real tensors, or leave that line to the caller."
    )


def _sparse(failure: _Failure) -> str | None:
    if "sparse" not in failure.text.lower():
        return None
    return (
        f"forward computes with a sparse tensor{_at(failure)}, and ONNX has dense ones alone. "
        "Make it dense with `.to_dense()` before the export."
    )


def _own_operator(failure: _Failure) -> str | None:
    operator = failure.operator
    if "::" not in operator:
        return None
    return (
        f"forward calls {operator}{_at(failure)}, an operator that is not torch's own, so ONNX has "
        "no form of it. Write it in Python with torch's operators."
    )


def _without_form(failure: _Failure) -> str | None:
    operator = failure.operator
    if not operator:
        return None
    known = _HAS_FORM.get(operator.strip("`"))
    helps = (
        f"Write {known} instead."
        if known
        else "If it depends on weights alone, compute it once and keep the result as a buffer; "
        "otherwise write it with other operators, or leave it to the caller."
    )
    return f"forward calls {operator}{_at(failure)}, which has no ONNX form. {helps}"


def _numpy(failure: _Failure) -> str | None:
    left = failure.function in ("numpy", "__array__") or ".numpy() is not supp" in failure.text
    if not left:
        return None
    return (
        f"forward leaves torch for NumPy{_at(failure)}, where nothing can be traced. Compute the "
        "same with torch's functions on tensors."
    )


def _of_numbers(failure: _Failure) -> str | None:
    if "data is not allocated yet" not in failure.text:
        return None
    return (
        f"forward makes a tensor from the numbers of others{_at(failure)}, and there are none "
        "while it is traced. Join the tensors with torch.stack or torch.cat."
    )


def _size_outside(failure: _Failure) -> str | None:
    if not re.search(r"'Sym(Int|Float)' object has no attribute", failure.text):
        return None
    return (
        f"forward hands a size to NumPy{_at(failure)}, which takes numbers alone. Compute with "
        "Python's operators (`n ** 0.5` is the root of a size) or torch."
    )


def _gradient(failure: _Failure) -> str | None:
    if "Trying to backward" not in failure.text and "does not require grad" not in failure.text:
        return None
    return (
        f"forward computes a gradient{_at(failure)}, and a graph runs forward alone. Write the "
        "derivative out, or leave that line to the caller."
    )


def _text(failure: _Failure) -> str | None:
    if failure.function != "__format__" and "__format__" not in failure.text:
        return None
    return (
        f"forward writes the numbers of a tensor as text{_at(failure)}, which has none while it "
        f"is traced. For a message, {_CHECK}."
    )


def _condition(failure: _Failure) -> str | None:
    if failure.function != "__bool__":
        return None
    match decision_at(failure.place) if failure.place else None:
        case "check":
            return (
                f"forward checks the values of a tensor{_at(failure)}, and a graph cannot raise. "
                f"To keep the check, {_CHECK}."
            )
        case "end":
            return (
                f"forward ends a loop by the values of a tensor{_at(failure)}, and a graph runs "
                f"the same steps whatever they are. Let the caller loop: {ONE_STEP}."
            )
    return (
        f"forward branches on the values of a tensor{_at(failure)}, and a graph computes the same "
        "whatever they are. Compute both sides and choose with torch.where(condition, a, b)."
    )


def _number(failure: _Failure) -> str | None:
    if failure.function not in _NUMBERS:
        return None
    return (
        f"forward makes a Python number of a tensor with {_NUMBERS[failure.function]}"
        f"{_at(failure)}, and there is none while it is traced. Keep it a tensor; where it is a "
        "size or a position, use a mask over all positions instead."
    )


def _size_by_values(failure: _Failure) -> str | None:
    if not failure.named("GuardOnDataDependentSymNode"):
        return None
    return (
        f"forward makes a tensor whose size depends on values, and needs that size{_at(failure)}. "
        "Keep the size: multiply by a mask or choose with torch.where(condition, a, b)."
    )


def _anything(failure: _Failure) -> str:
    cause = failure.chain[-1]
    for error in failure.chain:
        if error.__cause__ is None:
            cause = error
            break
    first = next((line.strip() for line in str(cause).splitlines() if line.strip()), "")
    reason = f"{type(cause).__name__}: {first}".rstrip(".!: ")
    where = f"torch cannot follow forward{_at(failure)}" if failure.place else "torch fails"
    return (
        f"{where}: {reason}. Write that line with torch's functions on tensors, or leave it to the "
        "caller."
    )


_CAUSES: tuple[Callable[[_Failure], str | None], ...] = (
    _fixed,
    _complex,
    _sparse,
    _own_operator,
    _without_form,
    _numpy,
    _of_numbers,
    _size_outside,
    _gradient,
    _text,
    _condition,
    _number,
    _size_by_values,
    _anything,
)
