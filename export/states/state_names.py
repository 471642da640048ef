"""The contract's names for states: `h` and `c`, after the name of a layer among several."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgernn.export.ir.recurrent_operators import STATES
from edgernn.export.states.node_states import NodeState

__all__ = ["StateNames"]


class StateNames:
    """Gives the states of a model unique names.

    Args:
        states: The states of its recurrent nodes. Nodes of the same scope are one layer.
    """

    def __init__(self, states: Sequence[NodeState]) -> None:
        self._states = states
        self._several = len({(state.call, state.layer) for state in states}) > 1
        self._used: set[str] = set()

    def of_state(self, state: NodeState) -> str:
        """Return a name for the state of one recurrent node."""
        return self._unique(f"{state.layer}_{state.name}" if self._several else state.name)

    def of_argument(
        self, path: str, result: str, started: Sequence[NodeState], only: NodeState | None
    ) -> str:
        """Return a name for a state that forward takes as an argument.

        It is named after its ports where they are a pair, `NAME_in` and `NAME_out`; else after the
        states that start from it; else after the argument.

        Args:
            path: The path of the argument.
            result: The path of the result that holds its next value.
            started: The states of recurrent nodes that start from it.
            only: The one of these that is the whole of it, if there is one.
        """
        stem = path.removesuffix("_in")
        if stem != path and result == f"{stem}_out":
            return self._unique(stem)
        if only is not None:
            return self.of_state(only)
        scopes = {state.scope for state in started}
        scope = scopes.pop() if len(scopes) == 1 else ""
        stack = [state for state in self._states if state.scope == scope]
        index = started[0].index if started else 0
        if not scope or {state for state in stack if state.index == index} != set(started):
            return self._unique(path)
        name = STATES[index]
        return self._unique(name if len(stack) == len(self._states) else f"{scope}_{name}")

    def _unique(self, name: str) -> str:
        name = re.sub(r"\W+", "_", name).strip("_")
        while name in self._used:
            name += "_"
        self._used.add(name)
        return name
