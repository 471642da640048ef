"""Rebuild a model from the key names and shapes of its state_dict, where they determine it.

They do for an LSTM or GRU alone. For one after an Embedding, before a Linear head, or both, they
determine the layers, but not what comes between them (activations, the step that is read): that is
taken to be nothing only where the user says so, as is the tanh of an nn.RNN.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgernn.errors import SourceError
from edgernn.export.ir.recurrent_operators import OPERATORS
from edgernn.export.source.find_code import UNKNOWN_CODE, code_of_weights
from edgernn.export.source.load_weights import listed, without_prefixes
from edgernn.export.source.prepare_module import CONVERTED_DTYPES, make_submodule
from edgernn.option_names import option, repeat_with

__all__ = ["FeatureModel", "TokenModel", "rebuild_module"]

Shapes = Mapping[str, tuple[int, ...]]

# Rows of weight_ih per row of the hidden state → the layer.
_LAYERS: Mapping[int, type[nn.LSTM] | type[nn.GRU] | type[nn.RNN]] = {
    len(kind.torch_gates): getattr(nn, kind.operator) for kind in OPERATORS.values()
}

_FIRST = "weight_ih_l0"
_LAYER_KEY = re.compile(r"(weight|bias)_(ih|hh|hr)_l(\d{1,4})(_reverse)?", re.ASCII)


class FeatureModel(nn.Module):
    """Parts under their dotted paths: a recurrent layer, with a Linear head or without."""

    def __init__(self, parts: Mapping[str, nn.Module], layer: str, head: str | None) -> None:
        super().__init__()
        self._layer, self._head = layer, head
        for path, part in parts.items():
            owner, _, name = path.rpartition(".")
            make_submodule(self, owner).add_module(name, part)

    def forward(self, x: torch.Tensor, hx: Any = None) -> tuple[torch.Tensor, Any]:
        """Run the layer from state `hx` on `x`, (batch, sequence, input_size) float32.

        Returns:
            The output, (batch, sequence, size), and the final state in torch's layout.
        """
        y, hx = self.get_submodule(self._layer)(x, hx)
        return (y if self._head is None else self.get_submodule(self._head)(y)), hx


class TokenModel(FeatureModel):
    """The same after an Embedding."""

    def __init__(
        self, parts: Mapping[str, nn.Module], layer: str, head: str | None, embedding: str
    ) -> None:
        super().__init__(parts, layer, head)
        self._embedding = embedding

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, tokens: torch.Tensor, hx: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Run the model from state `hx` on `tokens`, (batch, sequence) int64."""
        return super().forward(self.get_submodule(self._embedding)(tokens), hx)


def rebuild_module(
    weights: dict[str, torch.Tensor],
    subject: str,
    assume_plain: bool = False,
    path: str | Path = "",
) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the model of the state_dict `weights`, in its dtype, and notes on what was taken.

    With `assume_plain` nothing comes between or after the layers, and an nn.RNN has tanh. `path`
    is the file, beside which a message finds the model's code.

    Raises:
        SourceError: The keys and shapes leave something open; it is named.
    """
    plain = without_prefixes(weights)
    try:
        return _rebuild(plain, assume_plain)
    except _Undetermined as error:
        code = code_of_weights(plain, Path(path))
        other = error.alternative if code == UNKNOWN_CODE else ""
        remedy = f"{repeat_with(module=code.module)}{code.where}{other}. {code.warning}"
        raise SourceError(
            f"{subject} is a state_dict that does not determine the model: {error.reason}. Give "
            f"the model's code: {remedy}".rstrip()
        ) from error.__cause__


class _Undetermined(Exception):
    """Why keys and shapes do not determine a model, and what else than its code would help."""

    def __init__(self, reason: str, alternative: str = "") -> None:
        super().__init__(reason)
        self.reason, self.alternative = reason, alternative


def _rebuild(
    weights: dict[str, torch.Tensor], assume_plain: bool
) -> tuple[nn.Module, tuple[str, ...]]:
    _check_numbers(weights)
    shapes = {key: tuple(tensor.shape) for key, tensor in weights.items()}
    prefix = _layer_prefix(shapes)
    layer, keys = _layer(shapes, prefix)
    name = prefix.removesuffix(".") or type(layer).__name__.lower()
    rest = {key: shape for key, shape in shapes.items() if key not in keys}
    order = list(shapes)
    before = None if order == sorted(order) else {*order[: order.index(prefix + _FIRST)]}
    embedding, head = _roles(rest, layer, name, before)
    if not assume_plain:
        _refuse_guess(layer, [path for path in (embedding, name, head) if path])
    parts: dict[str, nn.Module] = {name: layer}
    if embedding:
        rows, columns = rest[f"{embedding}.weight"]
        parts[embedding] = nn.Embedding(rows, columns)
    if head:
        rows, columns = rest[f"{head}.weight"]
        parts[head] = nn.Linear(columns, rows, bias=f"{head}.bias" in rest)
    if not prefix:
        weights = {f"{name}.{key}": tensor for key, tensor in weights.items()}
    try:
        model = (
            TokenModel(parts, name, head, embedding)
            if embedding
            else FeatureModel(parts, name, head)
        )
        model.to(weights[f"{name}.{_FIRST}"].dtype).load_state_dict(weights)
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise _Undetermined("its keys cannot name the parts of a module") from error
    return model, _notes(parts, name, head)


def _roles(
    shapes: Shapes, layer: nn.LSTM | nn.GRU | nn.RNN, layer_name: str, before: set[str] | None
) -> tuple[str | None, str | None]:
    """Return the paths of the Embedding and the Linear head.

    `before` are the keys defined before the layer; None where they are sorted and so say nothing.
    """
    width = (layer.proj_size or layer.hidden_size) * (1 + layer.bidirectional)
    found: dict[str, str] = {}
    unclear: list[str] = []
    for key, shape in shapes.items():
        path, _, name = key.rpartition(".")
        if name == "bias" and f"{path}.weight" in shapes:
            continue
        role = _role(key, shapes, layer.input_size, width, before)
        if role is None or found.setdefault(role, path) != path:
            unclear.append(_key_and_shape(key, shape))
    if unclear:
        raise _Undetermined(
            f"`{layer_name}` takes {layer.input_size} and gives {width} features; an Embedding "
            "before it and one Linear layer after it would be determined, but not "
            f"{listed(unclear)}"
        )
    return found.get("embedding"), found.get("head")


def _role(
    key: str, shapes: Shapes, input_size: int, output_size: int, before: set[str] | None
) -> str | None:
    path, _, name = key.rpartition(".")
    shape = shapes[key]
    if not path or name != "weight" or len(shape) != 2:
        return None
    bias = shapes.get(f"{path}.bias")
    called_embedding = "emb" in path.lower()
    embedding = shape[1] == input_size and bias is None and (before is None or key in before)
    head = (
        shape[1] == output_size
        and bias in (None, shape[:1])
        and not (bias is None and called_embedding)
        and (before is None or key not in before)
    )
    # a square matrix before the layer may be a Linear without bias
    if embedding == head or (embedding and shape[0] == shape[1] and not called_embedding):
        return None
    return "embedding" if embedding else "head"


def _layer_prefix(shapes: Shapes) -> str:
    prefixes = [key.removesuffix(_FIRST) for key in shapes if key.rpartition(".")[2] == _FIRST]
    if not prefixes:
        raise _Undetermined(
            "no key ends in `weight_ih_l0`, so there is no recurrent layer of torch's among "
            f"{listed([_key_and_shape(*item) for item in shapes.items()])}"
        )
    if len(prefixes) > 1:
        layers = [f"`{prefix.removesuffix('.')}`" for prefix in prefixes]
        raise _Undetermined(
            f"it has {len(prefixes)} recurrent layers, {listed(layers)}, and nothing says which "
            "are used and in which order"
        )
    return prefixes[0]


def _layer(shapes: Shapes, prefix: str) -> tuple[nn.LSTM | nn.GRU | nn.RNN, set[str]]:
    """Return the layer whose keys have `prefix`, without its weights, and these keys."""
    matches = {
        key: match
        for key in shapes
        if key.startswith(prefix) and (match := _LAYER_KEY.fullmatch(key.removeprefix(prefix)))
    }
    own = {key: shapes[key] for key in matches}
    name = prefix.removesuffix(".") or "the layer"
    first, hidden = own[prefix + _FIRST], own.get(f"{prefix}weight_hh_l0", ())
    projection = own.get(f"{prefix}weight_hr_l0")
    if len(first) != 2 or len(hidden) != 2 or (projection and len(projection) != 2):
        raise _Undetermined(f"`{name}` has no two-dimensional `weight_ih_l0` and `weight_hh_l0`")
    size = projection[1] if projection else hidden[1]
    gates, left = divmod(first[0], size)
    if left or gates not in _LAYERS or (projection and _LAYERS[gates] is not nn.LSTM):
        raise _Undetermined(
            f"`{name}` has {first[0]} rows in `weight_ih_l0` for {size} hidden units; expected "
            f"were {', '.join(f'{n * size} (nn.{kind.__name__})' for n, kind in _LAYERS.items())}"
        )
    places = {int(match[3]) for match in matches.values()}
    if places != set(range(len(places))):
        raise _Undetermined(
            f"`{name}` has weights of its layer {max(places)}, but not of all before it"
        )
    layer = _LAYERS[gates](
        first[1],
        size,
        num_layers=len(places),
        bias=f"{prefix}bias_ih_l0" in own,
        batch_first=True,
        bidirectional=f"{prefix}{_FIRST}_reverse" in own,
        device="meta",
        **({"proj_size": projection[0]} if projection else {}),
    )
    wanted = {prefix + key: tuple(tensor.shape) for key, tensor in layer.state_dict().items()}
    faults = [_key_and_shape(key, shape) for key, shape in own.items() if wanted.get(key) != shape]
    faults += [f"no `{key}`" for key in wanted if key not in own]
    if faults:
        raise _Undetermined(
            f"`{name}` would be {layer}, which does not agree with {listed(faults)}"
        )
    return layer.to_empty(device="cpu"), set(own)


def _check_numbers(weights: Mapping[str, torch.Tensor]) -> None:
    for key, tensor in weights.items():
        if tensor.dtype not in (torch.float32, *CONVERTED_DTYPES) or not tensor.numel():
            kind = f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
            raise _Undetermined(f"`{key}` is {kind}, which cannot be a weight of a layer")


def _refuse_guess(layer: nn.Module, paths: list[str]) -> None:
    """Refuse to guess what changes numbers and the keys do not determine."""
    unknown: list[str] = []
    if isinstance(layer, nn.RNN):
        unknown.append("whether its nn.RNN has tanh or relu")
    if len(paths) > 1:
        listing = ", ".join(f"`{path}`" for path in paths[:-1]) + f" and `{paths[-1]}`"
        unknown.append(
            f"what comes between and after {listing} (activations, the step that is read)"
        )
    if unknown:
        raise _Undetermined(
            f"{' and '.join(unknown)} leaves no trace in it",
            "; or, if every step's output goes on as it is and an nn.RNN has tanh, "
            f"repeat with {option('assume_plain', True)}",
        )


def _notes(parts: Mapping[str, nn.Module], layer: str, head: str | None) -> tuple[str, ...]:
    listing = ", ".join(f"`{path}` {part}" for path, part in sorted(parts.items()))
    after = f"`{layer}` or `{head}`" if head else f"`{layer}`"
    plain = f"no activation after {after}, every step's output"
    if isinstance(parts[layer], nn.RNN):
        plain = f"tanh in `{layer}`, {plain}"
    return (
        "Warning: the model was rebuilt from the state_dict's keys; forward was not seen. It is "
        f"taken to be {listing}, with {plain}. Give its code with "
        f"{option('module', 'FILE.py:FACTORY')} to prove the graphs against the model itself.",
        "batch_first leaves no trace in a state_dict: True is taken.",
    )


def _key_and_shape(key: str, shape: tuple[int, ...]) -> str:
    return f"`{key}` {list(shape)}"
