"""From a torch module or a model file to a proven artifact. Needs the extra `export`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgernn.errors import MissingExtraError
from edgernn.extras import EXTRAS, install_command

if TYPE_CHECKING:
    from edgernn.export.pipeline import export_model
    from edgernn.export.verify import verify_artifact

__all__ = ["export_model", "verify_artifact"]

_MODULES = {"export_model": "pipeline", "verify_artifact": "verify"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'edgernn.export' has no attribute {name!r}")
    try:
        return getattr(import_module(f"edgernn.export.{_MODULES[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRAS:
            raise

        raise MissingExtraError(
            f"Exporting needs `{error.name}`: {install_command('export')}"
        ) from error
