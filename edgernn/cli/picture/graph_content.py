"""What a picture of a model says: its name, layers, ports and states, as short texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING

from edgernn.facts import steps_and_ms
from edgernn.layer import Layer
from edgernn.ports import Port, State
from edgernn.streaming_rules import steps_axis

if TYPE_CHECKING:
    from edgernn.artifact import Artifact
    from edgernn.contract import Contract
    from edgernn.export.analysis.file_analysis import FileAnalysis

__all__ = [
    "Content",
    "LayerLine",
    "PortLabel",
    "StateLabel",
    "artifact_content",
    "file_content",
    "layer_lines",
    "shorten",
    "start_of",
]

_LAYERS_SHOWN = 16
_RECURRENT = ("LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell")


@dataclass(frozen=True)
class PortLabel:
    """An input or output: its name, and lines about it: dtype and shape first."""

    name: str
    lines: tuple[str, ...]
    is_state: bool = False


@dataclass(frozen=True)
class StateLabel:
    """A state that is fed back: its name, its ports, its dtype and shape, and how it starts."""

    name: str
    input: str
    output: str
    shape: str
    start: str


@dataclass(frozen=True)
class LayerLine:
    """One or several equal layers: their kind and sizes; without sizes, layers left out."""

    kind: str
    sizes: str
    is_recurrent: bool = False


@dataclass(frozen=True)
class Content:
    """Everything that a picture says.

    Attributes:
        name: The name of the artifact or file.
        files: The files of its graphs, in one line.
        layers: The main layers in order.
        inputs: The inputs that are not fed back.
        outputs: The outputs that are not fed back.
        states: The states that are fed back.
        note: What the states mean for the app, in one sentence.
    """

    name: str
    files: str
    layers: tuple[LayerLine, ...]
    inputs: tuple[PortLabel, ...]
    outputs: tuple[PortLabel, ...]
    states: tuple[StateLabel, ...] = field(default=())
    note: str = ""

    @property
    def description(self) -> str:
        """The same for people who do not see the picture."""
        sentences = [
            _listed("Inputs", [_sentence(port.name, port.lines) for port in self.inputs]),
            _listed("Layers", [f"{layer.kind} {layer.sizes}".strip() for layer in self.layers]),
            _listed("Outputs", [_sentence(port.name, port.lines) for port in self.outputs]),
            _listed(
                "States",
                [
                    f"{s.name} {s.shape}, {s.start}, from {s.output} to {s.input}"
                    for s in self.states
                ],
            ),
            self.note,
        ]
        return " ".join(filter(None, sentences))


def shorten(text: str, longest: int = 35) -> str:
    """Return a text without its middle where it has more than `longest` characters."""
    half = (longest - 1) // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[-half:]}"


def artifact_content(artifact: Artifact) -> Content:
    """Return what a picture of an artifact says."""
    path, contract = artifact.path, artifact.contract
    files = " and ".join(f"{kind}.onnx" for kind in contract.graphs)
    name = path.resolve().name
    return _contract_content(
        name.removesuffix(".edgernn") or name, files, contract, artifact.layers
    )


def file_content(name: str, analysis: FileAnalysis) -> Content:
    """Return what a picture of an ONNX file says, whoever made it.

    Args:
        name: The name of the file.
        analysis: What the file contains.
    """
    if analysis.contract is not None:
        return _contract_content(name, "", analysis.contract, analysis.layers)
    return Content(
        name=name,
        files=f"from {shorten(analysis.producer)}" if analysis.producer else "",
        layers=_cut(layer_lines(analysis.layers)),
        inputs=tuple(PortLabel(port.name, (_shape(port),)) for port in analysis.inputs),
        outputs=tuple(PortLabel(port.name, (_shape(port),)) for port in analysis.outputs),
        note="The file has no contract: it does not say which ports are states.",
    )


def start_of(state: State) -> str:
    """Say how a state starts."""
    return f"starts at {'zero' if state.initial is None else 'a value in the contract'}"


def _contract_content(
    name: str, files: str, contract: Contract, layers: Sequence[Layer] | None
) -> Content:
    kinds = tuple(contract.graphs)
    content = Content(
        name=name,
        files=files,
        layers=_cut(layer_lines(layers or ())),
        inputs=_labels([contract.data_inputs(kind) for kind in kinds], kinds, contract),
        outputs=_labels([contract.data_outputs(kind) for kind in kinds], kinds, contract),
        note="The model has no state.",
    )
    ports = contract.state_ports
    states = tuple(
        StateLabel(
            state.name,
            state.input,
            state.output,
            _shape(ports[state.name]),
            start_of(state),
        )
        for state in contract.states
    )
    if not states:
        return content
    if contract.carry:
        output, input_ = shorten(states[0].output), shorten(states[0].input)
        what = f"{output} back as {input_}"
        if len(states) > 1:
            what = f"each state back: {output} as {input_}, and so on"
        return replace(content, states=states, note=f"After each call, the app passes {what}.")
    return replace(
        content,
        inputs=(*content.inputs, *(PortLabel(s.input, (s.shape, s.start), True) for s in states)),
        outputs=(*content.outputs, *(PortLabel(s.output, (s.shape,), True) for s in states)),
        note="Each call takes whole sequences: the app must not pass its state on to the next one.",
    )


def _labels(
    graphs: Sequence[Sequence[Port]], kinds: Sequence[str], contract: Contract
) -> tuple[PortLabel, ...]:
    """Return a label for each port of one or two graphs, with its shape in either."""
    by_name: dict[str, dict[str, str]] = {}
    for kind, ports in zip(kinds, graphs, strict=True):
        for port in ports:
            by_name.setdefault(port.name, {})[kind] = _shape(port)
    return tuple(
        PortLabel(name, (*_shape_lines(shapes, kinds), *_time_lines(contract, name)))
        for name, shapes in by_name.items()
    )


def _shape_lines(shapes: dict[str, str], kinds: Sequence[str]) -> list[str]:
    first, *more = dict.fromkeys(shapes.values())
    if len(shapes) < len(kinds):
        return [first, f"in {next(iter(shapes))}.onnx only"]
    return [first, *(f"step: {shape}" for shape in more)]


def _time_lines(contract: Contract, name: str) -> Iterator[str]:
    """Yield the hop of an input, the delay and the tail of an output."""
    kind = next(iter(contract.graphs))
    inputs = {port.name: port for port in contract.data_inputs(kind)}
    if name in inputs:
        if contract.hop > 1 and steps_axis(inputs[name]) is not None:
            yield f"hop {steps_and_ms(contract, contract.hop)}"
        return
    for role, counts in (("delay", contract.delays), ("tail", contract.tails)):
        if name in counts:
            yield f"{role} {steps_and_ms(contract, counts[name], name)}"


def _shape(port: Port) -> str:
    return f"{port.dtype}[{', '.join(map(str, port.shape))}]"


def layer_lines(layers: Sequence[Layer]) -> tuple[LayerLine, ...]:
    """Return a line for each run of equal layers, whatever their names."""
    runs = [(layer, len(list(run))) for layer, run in groupby(map(_unnamed, layers))]
    return tuple(
        LayerLine(
            layer.kind if count == 1 else f"{count} × {layer.kind}",
            layer.sizes,
            layer.kind in _RECURRENT,
        )
        for layer, count in runs
    )


def _cut(lines: tuple[LayerLine, ...]) -> tuple[LayerLine, ...]:
    """Return the first and the last ones of many lines."""
    if len(lines) <= _LAYERS_SHOWN:
        return lines
    half = _LAYERS_SHOWN // 2
    left_out = LayerLine(f"… {len(lines) - 2 * half + 1} more …", "")
    return (*lines[:half], left_out, *lines[len(lines) - half + 1 :])


def _unnamed(layer: Layer) -> Layer:
    return replace(layer, name="")


def _sentence(name: str, lines: Sequence[str]) -> str:
    return f"{name} {', '.join(lines)}"


def _listed(heading: str, items: Sequence[str]) -> str:
    return f"{heading}: {'; '.join(items)}." if items else ""
