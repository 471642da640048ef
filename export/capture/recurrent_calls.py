"""Every recurrent call that a forward makes, whoever makes it.

`nn.LSTM` and its kin, the cells, and archives that hold torch's operators all end in one of
torch's recurrent functions; a torch function mode sees them there, with the weights and the state
that forward chose. What happens at a call is up to the handler: note it, feed it another state, or
write an ONNX node in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from edgernn.export.capture.exporter_fixes import exporter_fix
from edgernn.export.capture.loop_call import LoopOperands, TimeLoop, run_loop
from edgernn.export.capture.packed_sequences import PaddedPacking, sorts_for_packing
from edgernn.export.capture.pytree import mark_layout
from edgernn.export.ir.operator_kinds import LOOP
from edgernn.export.ir.recurrent_operators import CELL_FUNCTIONS, FUNCTIONS, TORCH_WEIGHTS

__all__ = ["RecurrentCall", "RecurrentCallMode", "Results"]

Results = tuple[torch.Tensor, ...]

_LAYER = "x hx weights bias num_layers dropout training bidirectional batch_first"
_PACKED = "x batch_sizes hx weights bias num_layers dropout training bidirectional"
_CELL = " ".join(("x", "hx", *TORCH_WEIGHTS[:4]))

_DATA = torch.Tensor.data.__get__  # type: ignore[attr-defined]

# torch's names of the same arguments in its operator schemas
_SCHEMA_NAMES = {
    "input": "x",
    "data": "x",
    "params": "weights",
    "has_biases": "bias",
    "train": "training",
}


@dataclass(frozen=True)
class RecurrentCall:
    """One call of a recurrent function.

    Attributes:
        function: A name of `FUNCTIONS`, or `loop`.
        x: For a layer (sequence, batch, input_size), or batch first; for a cell
            (batch, input_size).
        states: (h,) or (h, c): for a layer (num_layers · directions, batch, hidden_size or
            proj_size), for a cell (batch, hidden_size).
        weights: In torch's order: per layer and direction w_ih, w_hh, then b_ih, b_hh if `bias`,
            then w_hr if projected. Gate rows in torch's order.
        bias: Whether there are b_ih and b_hh.
        num_layers: Stacked layers; 1 for a cell.
        bidirectional: Whether each layer also runs backward.
        batch_first: Whether x is (batch, sequence, input_size).
        batch_sizes: For a packed sequence, how many sequences each time step has.
        order: For a packed sequence that was sorted for packing, the place in the batch of each
            of its sequences; states are in this order.
        loop: For a loop over time, what runs it; its states are any number of any shape.
        operands: What it is called with; x is the first sequence.
    """

    function: str
    x: torch.Tensor
    states: tuple[torch.Tensor, ...]
    weights: tuple[torch.Tensor, ...]
    bias: bool
    num_layers: int = 1
    bidirectional: bool = False
    batch_first: bool = False
    batch_sizes: torch.Tensor | None = None
    order: torch.Tensor | None = None
    loop: TimeLoop | None = None
    operands: LoopOperands | None = None

    @property
    def layer(self) -> object:
        """What the calls of one layer have in common: its first weight, or the loop.

        A call without weights, as an ONNX file's, is a layer of its own.
        """
        return self.loop or (self.weights[0] if self.weights else self)

    @property
    def first_state(self) -> int:
        """The place of the first state among the results."""
        return 0 if self.loop or self.is_cell else 1

    @property
    def is_cell(self) -> bool:
        """Whether this is one step of a cell rather than a layer over a sequence."""
        return self.function in CELL_FUNCTIONS

    @property
    def sizes(self) -> tuple[int, int]:
        """The number of steps and of sequences of x."""
        if self.is_cell:
            return 1, self.x.shape[0]
        if self.loop is not None:
            axis = self.loop.axes[0]
            batch = self.x.shape[int(axis == 0)] if self.x.ndim > 1 else 1
            return self.x.shape[axis], batch
        if self.batch_sizes is not None:
            return len(self.batch_sizes), int(self.batch_sizes[0])
        steps, batch = self.x.shape[0], self.x.shape[1]
        return (batch, steps) if self.batch_first else (steps, batch)


Proceed = Callable[[tuple[torch.Tensor, ...]], Results]
Handler = Callable[[RecurrentCall, Proceed], Results]


class RecurrentCallMode(TorchFunctionMode):
    """A mode under which each recurrent call goes to a handler.

    Args:
        handler: Takes the call and `proceed`, which runs torch's own function from the states it
            is given; returns the function's results as a flat tuple: (output, h[, c]) of a layer,
            (h[, c]) of a cell.
        packing: What answers torch's packing functions; None for torch itself.

    Attributes:
        lengths: The lengths by which forward packed sequences.
        functions: How many functions of torch were called, without those on lists of integers.
    """

    def __init__(self, handler: Handler, packing: PaddedPacking | None = None) -> None:
        super().__init__()
        self._handler = handler
        self._packing = packing
        self._order: torch.Tensor | None = None
        self.lengths: list[torch.Tensor] = []
        self.functions = 0

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        self.functions += not _concerns_integers(args)
        name = getattr(func, "__name__", "").partition(".")[0]
        if self._packing is not None:
            answer = self._packing.length_values(name, args, kwargs)
            if answer is not NotImplemented:
                return answer
            args, kwargs = self._packing.length_values.with_steps(name, args, kwargs)
            for answers in (self._packing, exporter_fix):
                answer = answers(name, args, kwargs)
                if answer is not NotImplemented:
                    return answer
        if func is run_loop:
            return self._loop(*args)
        if name not in FUNCTIONS:
            return self._run_other(name, func, args, kwargs)
        named = _arguments_by_name(name, args, kwargs)
        call = _recurrent_call(name, named, self._order)
        single = call.is_cell and len(call.states) == 1

        def proceed(states: tuple[torch.Tensor, ...]) -> Results:
            hx = named["hx"]
            named["hx"] = states[0] if isinstance(hx, torch.Tensor) else type(hx)(states)
            result = func(*named.values())
            return (result,) if single else tuple(result)

        results = self._handler(call, proceed)
        return results[0] if single else results

    def _loop(self, loop: TimeLoop, operands: LoopOperands) -> Results:
        call = RecurrentCall(
            LOOP, operands.sequences[0], operands.states, (), False, loop=loop, operands=operands
        )
        return self._handler(call, lambda states: run_loop(loop, replace(operands, states=states)))

    def _run_other(
        self, name: str, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """Run a function that is not a recurrent call, and note how sequences get packed."""
        # torch.export cannot trace `Tensor.data`
        result = (torch.Tensor.detach if func == _DATA else func)(*args, **kwargs)
        if self._packing is not None:
            self._packing.length_values.follow(name, args, result)
        if sorts_for_packing(name, 2):
            self.lengths.append(args[0])
            self._order = result[1]
        elif name == "_pack_padded_sequence":
            self.lengths.append(args[1])
            mark_layout(result[1], bool(args[2]))
        return result


def _concerns_integers(args: tuple[Any, ...]) -> bool:
    """Return whether a call takes a vector of integers, such as lengths that become a list."""
    first = args[0] if args else None
    return isinstance(first, torch.Tensor) and first.dim() < 2 and not first.is_floating_point()


def _arguments_by_name(
    name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return all arguments by name, in the order of the call."""
    second = args[1] if len(args) > 1 else None
    integers = isinstance(second, torch.Tensor) and second.dtype == torch.int64
    layer = _PACKED if "batch_sizes" in kwargs or integers else _LAYER
    names = _CELL if name in CELL_FUNCTIONS else layer
    named = dict(zip(names.split(), args, strict=False))
    return named | {_SCHEMA_NAMES.get(key, key): value for key, value in kwargs.items()}


def _recurrent_call(
    name: str, named: Mapping[str, Any], order: torch.Tensor | None
) -> RecurrentCall:
    x, hx = named["x"], named["hx"]
    states = (hx,) if isinstance(hx, torch.Tensor) else tuple(hx)
    if name in CELL_FUNCTIONS:
        bias = named.get("b_ih") is not None
        weights = tuple(named[key] for key in TORCH_WEIGHTS[: 4 if bias else 2])
        return RecurrentCall(function=name, x=x, states=states, weights=weights, bias=bias)
    batch_sizes = named.get("batch_sizes")
    return RecurrentCall(
        function=name,
        x=x,
        states=states,
        weights=tuple(named["weights"]),
        bias=bool(named["bias"]),
        num_layers=int(named["num_layers"]),
        bidirectional=bool(named["bidirectional"]),
        batch_first=bool(named.get("batch_first", False)),
        batch_sizes=batch_sizes,
        order=None if batch_sizes is None else order,
    )
