"""What a loop over time consists of: unrolled at one size, and rerolled for any size.

An operand of an operator in an unrolled loop is one of these, or a constant:

    h = tanh(x[:, t] + h)      x      Invariant(x)
    y = h * k[t]               t      InductionVariable(0, 1)
                               h      PreviousIteration(0) in the first line,
                                      SameIteration(…) in the second
                               k[t]   Varying() where k is a list of tensors
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sympy
from torch import fx

__all__ = [
    "CarriedValue",
    "CollectedResults",
    "DynamicAxis",
    "InductionVariable",
    "Invariant",
    "IterationResult",
    "LoopBody",
    "NodeVariants",
    "PreallocatedOutput",
    "PreviousIteration",
    "RerollError",
    "SameIteration",
    "StepInput",
    "UnrolledLoop",
    "Varying",
]

NodeVariants = tuple[fx.Node, ...]
"""The same node in the graphs of all sizes."""


class RerollError(Exception):
    """When forward at a few sizes does not determine what it does at others."""


@dataclass(frozen=True)
class DynamicAxis:
    """A dynamic axis whose size forward looks at, measured in iterations of its loops.

    Attributes:
        input: Index of an input that has it.
        axis: Which of the input's axes it is.
        stride: How much longer it must be for one more iteration.
        offset: Less than `stride`; what the size lacks to a multiple where an iteration is added.
    """

    input: int
    axis: int
    stride: int = 1
    offset: int = 0

    def iterations(self, size: int) -> int:
        """Return a size of the axis in iterations."""
        return (size + self.offset) // self.stride


@dataclass(frozen=True)
class SameIteration:
    """The result of an operator in the same iteration, by its index there."""

    operator: int


@dataclass(frozen=True)
class PreviousIteration:
    """What the previous iteration passes on, by its index among the carried values."""

    carried: int


@dataclass(frozen=True)
class Invariant:
    """A value from outside the loop, the same in all iterations."""

    node: fx.Node


@dataclass(frozen=True)
class Varying:
    """A value from outside the loop, a different one in each iteration."""


@dataclass(frozen=True)
class InductionVariable:
    """An integer that is `first` and grows by `stride` in each iteration, at one or any size."""

    first: int | sympy.Expr
    stride: int


class CarriedValue(NamedTuple):
    """What one iteration passes on to the next at its `end`; the first one takes `start`."""

    end: SameIteration | PreviousIteration
    start: fx.Node


@dataclass
class UnrolledLoop:
    """One loop at one size.

    Attributes:
        iterations: The operators of each iteration. In the last one those are None that torch left
            out because nothing uses their results.
        operands: For each operator its operands, in the order of `operands_of`.
        carried: What one iteration passes on to the next.
        hoisted: An operator that computes the same in all iterations → that of the first iteration.
        positions: Each operator → its iteration and its index there.
    """

    iterations: list[list[fx.Node | None]]
    operands: list[list[Any]] = field(default_factory=list)
    carried: list[CarriedValue] = field(default_factory=list)
    hoisted: dict[fx.Node, fx.Node] = field(default_factory=dict)
    positions: dict[fx.Node, tuple[int, int]] = field(init=False)

    def __post_init__(self) -> None:
        iterations, self.iterations, self.positions = self.iterations, [], {}
        for iteration in iterations:
            self.append(iteration)

    @property
    def body(self) -> list[fx.Node]:
        """The operators of the first iteration."""
        return [node for node in self.iterations[0] if node is not None]

    def append(self, iteration: list[fx.Node | None]) -> None:
        """Add an iteration."""
        number = len(self.iterations)
        self.iterations.append(iteration)
        self.positions |= {
            node: (number, index) for index, node in enumerate(iteration) if node is not None
        }

    def carry(self, end: SameIteration | PreviousIteration, start: fx.Node) -> PreviousIteration:
        """Return the carried value with this end and start, added if it is new."""
        value = CarriedValue(end, start)
        if value not in self.carried:
            self.carried.append(value)
        return PreviousIteration(self.carried.index(value))

    def carried_into(self, iteration: int, carried: int) -> fx.Node | None:
        """Return what an iteration takes as a carried value."""
        end, start = self.carried[carried]
        if iteration == 0:
            return start
        if isinstance(end, PreviousIteration):
            return self.carried_into(iteration - 1, end.carried)
        return self.iterations[iteration - 1][end.operator]


@dataclass(frozen=True)
class IterationResult:
    """The result of one operator of a loop in one iteration, by index of loop and operator."""

    loop: int
    operator: int
    iteration: sympy.Expr


class CollectedResults(NamedTuple):
    """The results of one operator of a loop in all iterations, by index of loop and operator."""

    loop: int
    operator: int


@dataclass(frozen=True)
class StepInput:
    """A tensor of which each iteration takes one step.

    Attributes:
        axis: The axis of the steps, counted from the first axis.
        first: The step that the first iteration takes.
        backward: Whether the next iteration takes an earlier step.
        stride: Steps between the steps of consecutive iterations, at least 1.
    """

    source: fx.Node | IterationResult | CollectedResults
    axis: int
    first: sympy.Expr
    backward: bool
    stride: int = 1


@dataclass(frozen=True)
class PreallocatedOutput:
    """A tensor made before a loop, of which each iteration writes one step: `out[:, t] = h`.

    Attributes:
        carried: Its index among the carried values.
        axis, first, backward: As those of a `StepInput`.
        keeps_axis: Whether what is written has the axis of the steps: `out[:, t : t + 1] = h`.
    """

    carried: int
    axis: int
    first: sympy.Expr
    backward: bool
    keeps_axis: bool


@dataclass(frozen=True)
class LoopBody:
    """One iteration of a loop as a graph, for any size.

    Attributes:
        graph: Takes a step of each of `sequences`, the `states` and the `constants`; returns the
            next states and what is collected.
        sequences: What each iteration takes one step of; at least one, if only to count them.
        states: The states by index among the carried values.
        constants: Tensors that are the same in all iterations.
        preallocated: Index of the operator that writes it → a tensor that is written step by step.
        collected: The operators, by index, whose results are collected; of one that writes into a
            preallocated tensor, what it writes.
    """

    graph: fx.Graph
    sequences: tuple[StepInput | InductionVariable, ...]
    states: tuple[int, ...]
    constants: tuple[fx.Node | IterationResult, ...]
    preallocated: dict[int, PreallocatedOutput]
    collected: tuple[int, ...]
