"""Calls of a torch model with data of any size, for measuring them beside its artifact."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgernn.contract import BATCH, SEQUENCE, Contract, Port
from edgernn.errors import ContractError, InputError
from edgernn.export.build_model import make_example, open_model
from edgernn.export.call.added_lengths import LENGTHS
from edgernn.export.call.example_call import ArgumentTensor, ExampleCall
from edgernn.export.capture.pytree import map_tensors
from edgernn.export.foreign.onnx_file import OnnxFile
from edgernn.export.library_errors import stage
from edgernn.export.options import SourceOptions

__all__ = ["EagerCalls", "eager_threads"]


class EagerCalls:
    """Calls of the torch model that an artifact was made from, as its user makes them.

    Args:
        model: The model, or its file.
        options: How to read it.
        contract: The contract of the artifact.

    Attributes:
        parameters: The number of parameters of the model.

    Raises:
        SourceError: The file cannot be read as a model.
        InputError: It is an ONNX file, or does not run on its inputs.
        ContractError: It has other inputs than the artifact.
    """

    def __init__(
        self, model: nn.Module | str | Path, options: SourceOptions, contract: Contract
    ) -> None:
        source = open_model(model, options)
        if isinstance(source, OnnxFile):
            raise InputError(
                f"`{model}` is an ONNX file, which torch does not run. Give the torch model that "
                "it was made from."
            )
        with stage("running forward", source.name):
            lengths = LENGTHS in contract.lengths
            self._example = make_example(source, options.inputs, lengths, options.states or {})
        self._module = source.given
        self.parameters = sum(one.numel() for one in self._module.parameters())
        _check_inputs(self._example, contract, source.name)

    def call(self, batch: int, chunk: int, device: str = "cpu") -> Callable[[], Any] | None:
        """Return a call with data of that size; None where forward or torch cannot do it here.

        A module whose forward is one step is called once per step.

        Args:
            batch: The number of sequences.
            chunk: The number of steps of each.
            device: Where torch is to run; a call on `cuda:0` waits for its end.
        """
        sizes = {BATCH: batch, SEQUENCE: chunk}
        known = {name: size for name, size in sizes.items() if name in self._example.sizes}
        try:
            example = self._example.resized(known)
            module = self._module if device == "cpu" else copy.deepcopy(self._module).to(device)
            call = _repeated(module, example, 1 if example.has_sequence else chunk, device)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                call()
        except Exception:
            return None  # such as fewer steps than a convolution needs
        return call


@contextlib.contextmanager
def eager_threads(threads: int | None) -> Iterator[None]:
    """Run torch without gradients, on so many threads; None for as many as it takes by itself."""
    before = torch.get_num_threads()
    with torch.no_grad():
        torch.set_num_threads(threads or before)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _repeated(
    module: nn.Module, example: ExampleCall, times: int, device: str
) -> Callable[[], Any]:
    moved = map_tensors(lambda _, tensor: tensor.to(device, copy=True), dict(example.kwargs))

    def call() -> None:
        for _ in range(times):
            module(**moved)
        if device != "cpu":
            torch.cuda.synchronize(device)

    return call


def _check_inputs(example: ExampleCall, contract: Contract, name: str) -> None:
    """Check that a model takes arguments like those that the artifact takes."""
    kind = next(iter(contract.graphs))
    leaves = {leaf.path: leaf for leaf in example.tensors}
    for port in (port for port in contract.data_inputs(kind) if port.origin):
        # A model that is rebuilt from a state_dict may have other names for its arguments.
        found = [leaves[port.origin]] if port.origin in leaves else leaves.values()
        if not any(_is_like(port, leaf) for leaf in found):
            raise ContractError(
                f"The artifact takes `{port}`, and `{name}.forward` takes "
                f"{', '.join(f'`{one}`' for one in leaves.values())}. Give the model that the "
                "artifact was made from."
            )


def _is_like(port: Port, leaf: ArgumentTensor) -> bool:
    """Return whether both hold floats, or neither, in axes that agree where they are constant.

    A leaf of one step has no axis of steps.
    """
    is_float = np.dtype(port.dtype).kind == "f"
    pairs = zip(reversed(port.shape), reversed(leaf.shape), strict=False)
    return (
        is_float == leaf.tensor.is_floating_point()
        and len(port.shape) - len(leaf.shape) in (0, 1)
        and all(a == b for a, b in pairs if isinstance(a, int) and isinstance(b, int))
    )
