"""Models whose forward draws random numbers."""

from __future__ import annotations

import torch

from edgernn.errors import UnsupportedModelError
from edgernn.export.example.call import Example, Run, Watchable

__all__ = ["refuse_random"]


def refuse_random(reference: Watchable, example: Example, run: Run) -> None:
    """Raise UnsupportedModelError where the same call gives something else the second time.

    A state that is drawn anew at every call is refused by its name, once that is known.
    """
    again = reference(example)
    for one, two in zip(run.calls, again.calls, strict=False):
        if torch.equal(one.x, two.x) and not all(map(torch.equal, one.states, two.states)):
            return
    for path, tensor in run.results.items():
        other = again.results[path]
        if tensor.shape != other.shape or not torch.equal(tensor.nan_to_num(), other.nan_to_num()):
            raise UnsupportedModelError(
                f"`{reference.name}` does not give the same twice: `{path or 'its result'}` is "
                "another at every call, so no graph can be proven. Return what is not drawn by "
                "chance (a mean), take noise as an argument, and tie dropout to self.training."
            )
