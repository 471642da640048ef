"""The graph of a TorchScript archive's forward, looked through before anything runs it."""

from __future__ import annotations

from typing import Any

from edgernn.errors import SourceError
from edgernn.export.source.allowed_operators import acts, computes
from edgernn.export.source.torchscript_operators import PYTHON_FUNCTIONS, SCALAR_FUNCTIONS

__all__ = ["check_graph"]

# Calls of code that is not in the graph itself.
_CALLS = frozenset(
    ["prim::CallFunction", "prim::CallMethod", "prim::Closure", "prim::PythonOp", "prim::fork"]
)


def check_graph(graph: Any, subject: str) -> None:
    """Check that each node of `graph`, reached or not, does nothing but compute.

    Raises:
        SourceError: One may do more; it is named with its place.
    """
    blocks = [graph]
    while blocks:
        for node in blocks.pop().nodes():
            kind = node.kind()
            known = (
                kind in PYTHON_FUNCTIONS
                or kind in SCALAR_FUNCTIONS
                or not kind.startswith("aten::")
            )
            if kind in _CALLS or acts(kind) or not (known or computes(kind)):
                raise SourceError(
                    f"{subject} is a TorchScript archive whose forward has the operator `{kind}`, "
                    "which may do more than compute. Running it could touch files or the process, "
                    "so it is not done unasked. If you trust its origin, repeat with --trust; or "
                    "export the model from its code."
                )
            blocks.extend(node.blocks())
