"""A choice of forms, written into the folder of an artifact.

Files of new forms come first, then contract.json in one operation, then files that it no longer
names are removed: whoever opens the folder meanwhile finds what it held before, or all of the new.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from edgernn.artifact import CONTRACT_FILE, Artifact
from edgernn.errors import ContractError, InputError
from edgernn.forms import FORMS_FOLDER, is_form_file
from edgernn.tuned import Tuned, Tuning

__all__ = ["form_file", "remove_tuning", "write_tuning"]

_PARTIAL = ".partial"


def form_file(artifact: Artifact, name: str, content: bytes) -> str:
    """Return the file of a new form in an artifact: no other form with another content has it.

    Args:
        artifact: The artifact.
        name: The name of the form, such as `step-operator`.
        content: What the file holds.
    """
    digest, file, number = hashlib.sha256(content).hexdigest(), f"{FORMS_FOLDER}/{name}.onnx", 1
    while artifact.digests.get(file, digest) != digest:
        number += 1
        file = f"{FORMS_FOLDER}/{name}-{number}.onnx"
    return file


def write_tuning(artifact: Artifact, tuning: Tuning, files: Mapping[str, Path]) -> Artifact:
    """Write a choice into an artifact, in place of an earlier one for the same provider.

    Args:
        artifact: The artifact.
        tuning: What was measured and chosen.
        files: Name of a file of a form → where it is now.

    Returns:
        The artifact as it is now.

    Raises:
        ContractError: The folder was exported again meanwhile.
        InputError: It cannot be written, or its forms are in a folder elsewhere.
    """
    before = artifact.tuned or Tuned(artifact.forms, ())
    others = [one for one in before.tunings if one.provider != tuning.provider]
    return _write(artifact, Tuned(before.rules, (*others, tuning)), files)


def remove_tuning(artifact: Artifact) -> Artifact:
    """Return an artifact to the forms that its export wrote.

    Raises:
        ContractError: The folder was exported again meanwhile.
        InputError: It cannot be written, or its forms are in a folder elsewhere.
    """
    return artifact if artifact.tuned is None else _write(artifact, None, {})


def _write(artifact: Artifact, tuned: Tuned | None, files: Mapping[str, Path]) -> Artifact:
    folder = artifact.path / FORMS_FOLDER
    if folder.is_symlink():  # files that it leads to may be anyone's
        raise InputError(
            f"`{folder}` is a link; forms are written and removed only in a folder of the "
            "artifact itself. Put the folder there that the link leads to."
        )
    if Artifact.open(artifact.path).to_json() != artifact.to_json():
        raise ContractError(f"`{artifact.path}` was changed while it was tuned. Tune it again.")
    rules = artifact.tuned.rules if artifact.tuned else artifact.forms
    forms = rules if tuned is None else tuned.forms
    used = {form.file for form in forms if is_form_file(form.file)}
    digests = {
        name: digest
        for name, digest in artifact.digests.items()
        if not is_form_file(name) or name in used
    }
    try:
        for name in sorted(used - digests.keys()):
            content = files[name].read_bytes()
            digests[name] = hashlib.sha256(content).hexdigest()
            _replace(artifact.path / name, content)
        new = replace(artifact, forms=forms, tuned=tuned, digests=digests)
        text = json.dumps(new.to_json(), indent=2, ensure_ascii=False)
        _replace(artifact.path / CONTRACT_FILE, f"{text}\n".encode())
    except OSError as error:
        _remove_unused(artifact.path, {*artifact.digests})
        raise InputError(
            f"`{artifact.path}` cannot be written: {error.strerror or error}."
        ) from error
    _remove_unused(artifact.path, used)
    return Artifact.open(artifact.path)


def _replace(file: Path, content: bytes) -> None:
    """Write a file so that at every moment it is whole, as it was or as it will be."""
    file.parent.mkdir(exist_ok=True)
    partial = file.with_name(f".{file.name}-{secrets.token_hex(4)}{_PARTIAL}")
    try:
        with partial.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def _remove_unused(path: Path, used: set[str]) -> None:
    """Remove the files of forms that are no longer used, and what a killed process left."""
    folder = path / FORMS_FOLDER
    with contextlib.suppress(OSError):
        for file in list(path.glob(f".{CONTRACT_FILE}-*{_PARTIAL}")):
            file.unlink()
        for file in list(folder.iterdir()):
            if f"{FORMS_FOLDER}/{file.name}" not in used:
                file.unlink()
        folder.rmdir()
