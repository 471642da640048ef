"""Export recurrent PyTorch networks to ONNX with their state, and run them anywhere.

`export_model` turns a torch module or file into an artifact and needs the extra `export`; `load`
runs an artifact and needs the extra `cpu` or `gpu`. Importing this package loads neither torch nor
onnxruntime.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgernn.artifact import Artifact
    from edgernn.contract import Contract
    from edgernn.errors import (
        ContractError,
        EdgernnError,
        InputError,
        MissingExtraError,
        OutputExistsError,
        ParityError,
        ProviderError,
        SourceError,
        StateError,
        UnsupportedModelError,
    )
    from edgernn.export import export_model
    from edgernn.runtime import Model, Stream, load
    from edgernn.vocabulary import Vocabulary

__all__ = [
    # the two halves
    "export_model",
    "load",
    # what passes between them
    "Artifact",
    "Contract",
    "Vocabulary",
    # what load returns
    "Model",
    "Stream",
    # errors
    "ContractError",
    "EdgernnError",
    "InputError",
    "MissingExtraError",
    "OutputExistsError",
    "ParityError",
    "ProviderError",
    "SourceError",
    "StateError",
    "UnsupportedModelError",
]

__version__ = "0.1.0"

_HOMES = {
    "export_model": "edgernn.export",
    "load": "edgernn.runtime",
    "Model": "edgernn.runtime",
    "Stream": "edgernn.runtime",
    "Artifact": "edgernn.artifact",
    "Contract": "edgernn.contract",
    "Vocabulary": "edgernn.vocabulary",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'edgernn' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "edgernn.errors")), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
