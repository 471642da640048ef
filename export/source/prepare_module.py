"""The form in which every source is traced: a private copy, CPU, float32, eval, no gradients."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from edgernn.errors import SourceError
from edgernn.export.source.refusals import quantized_weights
from edgernn.option_names import option

__all__ = [
    "CONVERTED_DTYPES",
    "TRAINING_FLAGS",
    "has_rewritten_parts",
    "make_submodule",
    "prepare_module",
    "private_copy",
    "to_cpu_float32",
]

# Floating dtypes that run as float32.
CONVERTED_DTYPES = (torch.float64, torch.float16, torch.bfloat16)

# The names that operator schemas give to the flag of training mode.
TRAINING_FLAGS = ("train", "training")

_WRAPPERS = {
    "torch._dynamo.eval_frame.OptimizedModule": "_orig_mod",
    "torch.nn.parallel.data_parallel.DataParallel": "module",
    "torch.nn.parallel.distributed.DistributedDataParallel": "module",
}


def private_copy(model: nn.Module) -> nn.Module:
    """Return a deep copy of `model`, out of the wrappers of torch.compile and data parallelism."""
    while attribute := _WRAPPERS.get(f"{type(model).__module__}.{type(model).__qualname__}"):
        model = getattr(model, attribute)
    # deepcopy refuses tensors that autograd computed, such as a state kept from the last call.
    memo: dict[int, Any] = {
        id(tensor): tensor.detach().clone()
        for part in model.modules()
        for tensor in _tensors(vars(part))
        if tensor.grad_fn is not None
    }
    modes = {part: part.training for part in model.modules()}
    try:
        # in train mode a copied layer would compute its parametrizations anew, and change them
        for part in modes:
            part.training = False
        return copy.deepcopy(model, memo)
    except (TypeError, RuntimeError, AttributeError) as error:
        raise SourceError(
            f"`{type(model).__name__}` cannot be copied with copy.deepcopy: {error}. Remove what "
            f"cannot be copied from the module, or export its state_dict with {option('module')}."
        ) from error
    finally:
        for part, training in modes.items():
            part.training = training


def prepare_module(model: nn.Module) -> tuple[str, ...]:
    """Bring `model` itself to CPU, float32, eval mode, without gradients and parametrizations.

    Returns:
        Notes: what was converted.

    Raises:
        UnsupportedModelError: A part of it is quantized.
        SourceError: A parameter has no values yet.
    """
    _check_values(model)
    notes = to_cpu_float32(model)
    _bake_parametrizations(model)
    model.requires_grad_(False)
    return notes


def to_cpu_float32(model: nn.Module) -> tuple[str, ...]:
    """Bring `model` itself to CPU, float32 and eval mode, otherwise as it is.

    Returns:
        Notes: what was converted.
    """
    dtypes = [tensor.dtype for _, tensor in chain(model.named_parameters(), model.named_buffers())]
    narrowed = [str(t).removeprefix("torch.") for t in dtypes if t in CONVERTED_DTYPES]
    with warnings.catch_warnings():
        # the parameters of a copied ScriptModule are not autograd leaves
        warnings.filterwarnings("ignore", "The .grad attribute of a Tensor", UserWarning)
        model.to("cpu")
        if narrowed:
            model.to(torch.float32)
    with contextlib.suppress(Exception):  # one that trains, or that wants what to evaluate
        model.eval()
    for part in model.modules():  # also where `train` or `eval` of its own does not
        part.training = False
    if not narrowed:
        return ()
    count = len(narrowed)
    tensors = "1 parameter or buffer" if count == 1 else f"{count} parameters and buffers"
    return (f"{tensors} in {' and '.join(sorted(set(narrowed)))} run in float32.",)


def has_rewritten_parts(model: nn.Module) -> bool:
    """Return whether `model` has parts that are traced in another form than they have."""
    return any(
        isinstance(part, torch.jit.ScriptModule) or parametrize.is_parametrized(part)
        for part in model.modules()
    )


def make_submodule(module: nn.Module, path: str) -> nn.Module:
    """Return the submodule of `module` at `path`, adding empty modules where there are none."""
    for name in filter(None, path.split(".")):
        if name not in module._modules:
            module.add_module(name, nn.Module())
        module = module.get_submodule(name)
    return module


def _bake_parametrizations(model: nn.Module) -> None:
    """Keep what parametrizations (orthogonal, norms) make of a weight, in place of its making.

    torch's own way to remove them changes the class, which a copy shares with its original.
    """
    for part in list(model.modules()):
        if not parametrize.is_parametrized(part):
            continue
        names = [name for name, _ in part.get_submodule("parametrizations").named_children()]
        made = {name: getattr(part, name).detach().clone() for name in names}
        part.__class__ = parametrize.type_before_parametrizations(part)
        del part.parametrizations
        for name, value in made.items():
            setattr(part, name, nn.Parameter(value))


def _check_values(model: nn.Module) -> None:
    for name, part in model.named_modules():
        if type(part).__module__.startswith(("torch.ao.nn.quantized", "torch.nn.quantized")):
            subject = f"`{name or type(part).__name__}`"
            raise quantized_weights(subject, f"those of a {type(part).__name__}")
    for name, tensor in chain(model.named_parameters(), model.named_buffers()):
        if is_lazy(tensor):
            raise SourceError(
                f"`{name}` is lazy and has no shape yet. Run the model once before saving it."
            )
        if tensor.is_meta:
            raise SourceError(
                f"`{name}` is on the meta device and has no values. Load the weights first."
            )


def _tensors(value: object) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        parts = value.values() if isinstance(value, dict) else value
        yield from chain.from_iterable(map(_tensors, parts))
