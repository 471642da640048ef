"""Text that a model writes after prompts, symbol by symbol."""

from __future__ import annotations

from edgernn.runtime.generation.continuation import Continuation
from edgernn.runtime.generation.generate_text import Generation, generate
from edgernn.runtime.generation.sampling import Sampling

__all__ = ["Continuation", "Generation", "Sampling", "generate"]
