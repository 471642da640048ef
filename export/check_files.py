"""What is wrong with files at first sight; found without PyTorch, which takes seconds to load."""

from __future__ import annotations

import os
from pathlib import Path

from edgernn.artifact import CONTRACT_FILE
from edgernn.export.artifact_files.atomic_replace import check_replaceable
from edgernn.export.options import ExportOptions
from edgernn.export.source.file_format import format_of

__all__ = ["check_export", "check_model_file"]


def check_export(model: Path, options: ExportOptions) -> None:
    """Check that a model file is one, and that its artifact may be written.

    Raises:
        SourceError: The file is missing, unreadable or of no known format.
        OutputExistsError: The target exists, and may not be replaced.
    """
    check_model_file(model)
    check_replaceable(options.target(model.stem), options.force)


def check_model_file(model: Path) -> None:
    """Check that a file is a model of a known format, or the folder of an artifact.

    Raises:
        SourceError: It is not.
    """
    if not os.path.isfile(model / CONTRACT_FILE):
        format_of(model)
