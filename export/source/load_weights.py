"""The tensors of a checkpoint: which they are, and how they come into the module they belong to."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from edgernn.errors import SourceError
from edgernn.export.source.refusals import quantized_weights
from edgernn.option_names import option

__all__ = ["MOST_REPEATED", "check_weights", "listed", "load_weights", "without_prefixes"]

# What wrappers put before every key: data parallelism, torch.compile, Lightning and its like.
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
_WRAPPERS = re.compile(f"({'|'.join(map(re.escape, _PREFIXES))})+")
_DEEPEST = 100

# A whole second copy of a module's keys (a running mean of the weights, a teacher) is left; fewer
# keys could be a part that the module lacks.
_LEAST_OF_A_COPY = 4

# What wrappers of a part put into its keys.
_SEGMENTS = ("_orig_mod", "module")

MOST_REPEATED = 1 << 20
"""The most numbers of a tensor that repeats those which are stored: a copy of it costs memory."""

_LONGEST = 1000


def check_weights(weights: Mapping[str, torch.Tensor], subject: str) -> None:
    """Check that every tensor holds numbers that a module can take.

    Raises:
        UnsupportedModelError: One is quantized.
        SourceError: One is sparse, on no device, empty of numbers or larger than what is stored.
    """
    for key, tensor in weights.items():
        if len(key) > _LONGEST:
            raise SourceError(
                f"{subject} holds no model: `{key[:40]}…` is a key of {len(key)} characters. Save "
                "the state_dict of a model."
            )
        if not is_lazy(tensor) and tensor.is_quantized:
            raise quantized_weights(subject, f"such as `{key}`")
        if fault := _fault(tensor):
            raise SourceError(
                f"{subject} holds no model: `{key}` {fault}. Save the state_dict of a model whose "
                "weights are numbers in memory."
            )


def _fault(tensor: torch.Tensor) -> str:
    if is_lazy(tensor):
        return "is lazy and has no shape yet"
    if tensor.is_meta:
        return "is on the meta device and has no values"
    if tensor.layout is not torch.strided or tensor.is_nested:
        return f"is {str(tensor.layout).removeprefix('torch.')}, not dense"
    stored = tensor.untyped_storage().nbytes()
    if tensor.numel() > MOST_REPEATED and tensor.numel() * tensor.element_size() > stored:
        return f"claims {tensor.numel()} numbers and stores {stored} bytes"
    return ""


def load_weights(
    model: nn.Module, weights: dict[str, torch.Tensor], subject: str
) -> tuple[str, ...]:
    """Load `weights` into `model`, each key and shape exactly.

    Prefixes that wrappers put before the keys are removed, keys without the prefix are left out,
    and a weight that the module uses twice may be stored once.

    Returns:
        Notes: what was left.

    Raises:
        SourceError: Keys are missing or left over, or shapes or kinds of numbers differ.
    """
    wanted = model.state_dict()
    own, left = _without_prefix(weights, wanted, subject)
    found, ambiguous = _with_tied(own, model)
    faults = {
        "the file lacks": [f"`{key}`" for key in wanted if key not in found],
        "the module lacks": [f"`{key}`" for key in found if key not in wanted],
        "shapes differ for": [
            f"`{key}` {list(tensor.shape)} in the module, {list(found[key].shape)} in the file"
            for key, tensor in wanted.items()
            if key in found and tensor.shape != found[key].shape
        ],
        "kinds of numbers differ for": [
            f"`{key}` {_dtype(tensor)} in the module, {_dtype(found[key])} in the file"
            for key, tensor in wanted.items()
            if key in found and _kind(tensor) != _kind(found[key])
        ],
        "the module has one weight for": ambiguous,
    }
    reason = "; ".join(f"{what} {listed(keys)}" for what, keys in faults.items() if keys)
    cause: Exception | None = None
    if not reason:
        try:
            model.load_state_dict(found)
        except (RuntimeError, TypeError, ValueError, AttributeError, LookupError) as error:
            cause, reason = error, " ".join(str(error).split()).rstrip(".") or type(error).__name__
    if reason:
        raise SourceError(
            f"{subject} does not fit `{type(model).__name__}`: {reason}. Give {option('module')} "
            "the code that the weights were trained with."
        ) from cause
    keys = listed([f"`{key}`" for key in left])
    note = f"Left out of the file, which the module has no place for: {keys}."
    return (note,) if left else ()


def without_prefixes(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return `weights` without the prefixes that wrappers of a model put before every key."""
    for prefix in _PREFIXES:
        if weights and all(key.startswith(prefix) and key != prefix for key in weights):
            return without_prefixes({key[len(prefix) :]: weights[key] for key in weights})
    return weights


def listed(entries: list[str], limit: int = 8) -> str:
    """Return `entries` as a list in a sentence, shortened to `limit`."""
    more = f" and {len(entries) - limit} more" if len(entries) > limit else ""
    return ", ".join(entries[:limit]) + more


def _without_prefix(
    weights: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], subject: str
) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Return the weights under the module's names, and the keys without the prefix.

    Of all prefixes under which the file has keys of the module, the one that has most is taken;
    of several, that of a wrapper.

    Raises:
        SourceError: Several have all, and none is that of a wrapper.
    """
    best: dict[str, int] = {"": sum(key in wanted for key in weights)}
    plain: Mapping[str, torch.Tensor] = weights
    for form in _plain_forms(weights, wanted):
        counts = _prefixes(form, wanted)
        if max(counts.values(), default=0) > max(best.values()):
            best, plain = counts, form
    most = max(best.values())
    prefixes = [prefix for prefix, count in best.items() if count == most]
    known = [prefix for prefix in prefixes if not prefix or _WRAPPERS.fullmatch(prefix)]
    if len(prefixes) > 1 and not known and most:
        raise SourceError(
            f"{subject} has weights that fit the module under {len(prefixes)} prefixes: "
            f"{listed([f'`{prefix}`' for prefix in sorted(prefixes)])}. Save the state_dict of the "
            "one that is to be exported."
        )
    prefix = min(known or prefixes, key=len)
    own = {k[len(prefix) :]: v for k, v in plain.items() if k.startswith(prefix)}
    copies = [
        copy + name
        for copy, count in _prefixes(own, wanted).items()
        if copy and count == len(wanted) >= _LEAST_OF_A_COPY
        for name in wanted
    ]
    left = [key for key in plain if not key.startswith(prefix)]
    left += [prefix + key for key in copies if own.pop(key, None) is not None]
    return own, left


def _plain_forms(
    weights: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]
) -> Iterator[Mapping[str, torch.Tensor]]:
    """Yield the weights as they are, and without what wrappers of parts put into their keys."""
    yield weights
    own = {segment for key in wanted for segment in key.split(".")}
    removed = [segment for segment in _SEGMENTS if segment not in own]
    plain: dict[str, torch.Tensor] = {}
    for key, tensor in weights.items():
        short = ".".join(part for part in key.split(".") if part not in removed)
        if short in plain:
            return
        plain[short] = tensor
    yield plain


def _prefixes(
    weights: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]
) -> dict[str, int]:
    """Return how many keys of the module come after each prefix in those of the file."""
    return Counter(
        "".join(f"{part}." for part in parts[:place])
        for parts in (key.split(".") for key in weights)
        for place in range(min(len(parts), _DEEPEST))
        if ".".join(parts[place:]) in wanted
    )


def _with_tied(
    weights: Mapping[str, torch.Tensor], model: nn.Module
) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Give every name of a parameter that the module has under several the weight stored once.

    Returns:
        The weights, and the names under which the file has two where the module has one.
    """
    names: defaultdict[int, list[str]] = defaultdict(list)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names[id(parameter)].append(name)
    found = dict(weights)
    ambiguous: list[str] = []
    for tied in names.values():
        for stored in [name for name in tied if name in weights][:1]:
            for name in tied:
                if not _same(found.setdefault(name, weights[stored]), weights[stored]):
                    ambiguous += [f"`{stored}`", f"`{name}`"]
    return found, ambiguous


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors have the same bytes, NaN and all."""
    if one is other:
        return True
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    first, second = (t.resolve_conj().resolve_neg().reshape(-1) for t in (one, other))
    return torch.equal(first.view(torch.uint8), second.view(torch.uint8))


def _kind(tensor: torch.Tensor) -> str:
    if tensor.is_floating_point():
        return "floating" if tensor.element_size() > 1 else "scaled"
    if tensor.is_complex():
        return "complex"
    return "bool" if tensor.dtype is torch.bool else "integer"


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
