"""The layers of a model, as people name them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edgernn.json_field import JsonField

__all__ = ["Layer"]


@dataclass(frozen=True)
class Layer:
    """One layer with weights.

    Attributes:
        kind: The name of torch's class: `Embedding`, `GRU`, `LSTMCell`, `Linear`, `Conv1d`.
        name: The path of its module, such as `encoder.rnn`; empty where not known.
        input_size: The features of its input; for an embedding, the number of ids.
        output_size: The features of its output, in one direction.
        num_layers: The number of equal recurrent layers that it stacks.
        bidirectional: Whether it runs forward and backward in time.
        kernel_size: The size of a convolution's kernel along each axis; empty for other kinds.
    """

    kind: str
    name: str
    input_size: int
    output_size: int
    num_layers: int = 1
    bidirectional: bool = False
    kernel_size: tuple[int, ...] = ()

    @property
    def sizes(self) -> str:
        """The sizes and what else is known of it, without its kind: `32 → 128, 2 layers`."""
        parts = [f"{self.input_size:,} {self._sign} {self.output_size:,}"]
        if self.kind.endswith("Norm"):
            parts = [f"{self.output_size:,}"]
        if self.kernel_size:
            parts.append(f"kernel {' × '.join(map(str, self.kernel_size))}")
        if self.num_layers > 1:
            parts.append(f"{self.num_layers} layers")
        if self.bidirectional:
            parts.append("bidirectional")
        return ", ".join(parts)

    @property
    def _sign(self) -> str:
        return "×" if self.kind == "Embedding" else "→"

    def __str__(self) -> str:
        return f"{self.kind} {self.sizes}"

    def to_json(self) -> dict[str, Any]:
        """Return the layer as a JSON object."""
        return {**asdict(self), "kernel_size": list(self.kernel_size)}

    @classmethod
    def from_json(cls, data: JsonField) -> Layer:
        """Read what `to_json` returned.

        Raises:
            ContractError: It is not a layer.
        """
        return cls(
            kind=data["kind"].text(),
            name=data["name"].text(),
            input_size=data["input_size"].count(),
            output_size=data["output_size"].count(),
            num_layers=data["num_layers"].count(1),
            bidirectional=data["bidirectional"].flag(),
            kernel_size=tuple(size.count(1) for size in data["kernel_size"].items()),
        )
