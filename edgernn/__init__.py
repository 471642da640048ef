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
    from edgernn.contract import Contract, Port, State
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
    from edgernn.export import export_model, verify_artifact
    from edgernn.report import ParityReport
    from edgernn.runtime import Model, PoolStream, Result, Stream, StreamPool, generate, load
    from edgernn.vocabulary import Vocabulary

__all__ = [
    # from a model to an artifact, and from an artifact to a running model
    "export_model",
    "verify_artifact",
    "load",
    "generate",
    # what an artifact holds
    "Artifact",
    "Contract",
    "Port",
    "State",
    "ParityReport",
    "Vocabulary",
    # what load returns, and what a run of it returns
    "Model",
    "Result",
    "Stream",
    "StreamPool",
    "PoolStream",
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

_MODULES = {
    "export_model": "edgernn.export",
    "verify_artifact": "edgernn.export",
    "load": "edgernn.runtime",
    "generate": "edgernn.runtime",
    "Model": "edgernn.runtime",
    "Result": "edgernn.runtime",
    "Stream": "edgernn.runtime",
    "StreamPool": "edgernn.runtime",
    "PoolStream": "edgernn.runtime",
    "Artifact": "edgernn.artifact",
    "Contract": "edgernn.contract",
    "Port": "edgernn.contract",
    "State": "edgernn.contract",
    "ParityReport": "edgernn.report",
    "Vocabulary": "edgernn.vocabulary",
}
"""Public name → the module it comes from, where that is not `edgernn.errors`."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'edgernn' has no attribute {name!r}")
    return getattr(import_module(_MODULES.get(name, "edgernn.errors")), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
