"""Every error that edgernn raises on purpose.

    EdgernnError
    ├── SourceError             the model file cannot be read as a model
    ├── UnsupportedModelError   the model cannot be written as the graph that was asked for
    ├── ParityError             an exported graph does not agree with its reference
    ├── ContractError           a graph or artifact breaks the contract, or is not one
    ├── OutputExistsError       the output exists already
    ├── ProviderError           the execution provider asked for does not run here
    ├── MissingExtraError       an optional dependency is not installed
    ├── InputError              data or options handed in do not fit the model
    └── StateError              a recurrent state handed in does not fit the model

Each message names its subject in backticks, says what was expected and what was given, and ends
with the remedy. The command line prints it and exits with 1.
"""

from __future__ import annotations

__all__ = [
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


class EdgernnError(Exception):
    """Base class of every error in this module."""


class SourceError(EdgernnError):
    """When a file is not a model, or not one that may or can be rebuilt."""


class UnsupportedModelError(EdgernnError):
    """When a model, or a part of it, cannot be exported as asked."""


class ParityError(EdgernnError):
    """When an exported graph and its reference differ by more than the tolerance."""


class ContractError(EdgernnError):
    """When a graph or an artifact on disk is not what its contract promises."""


class OutputExistsError(EdgernnError):
    """When the output folder exists and may not be replaced."""


class ProviderError(EdgernnError):
    """When an execution provider does not exist here or does not run the graph's nodes."""


class MissingExtraError(EdgernnError, ImportError):
    """When a feature needs packages of an extra that is not installed."""


class InputError(EdgernnError, ValueError):
    """When an input has the wrong name, dtype, shape or values."""


class StateError(EdgernnError, ValueError):
    """When a state has the wrong name, dtype, shape or values."""
