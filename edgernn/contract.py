"""What an exported graph promises: its ports, its axes and its states.

The export writes a `Contract` into every graph's metadata and into `contract.json`; the runtime and
every host read it from there. Neither half of edgernn knows anything else of the other.
`docs/contract.md` describes the same in words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.contract_json import fields_in_json, json_of
from edgernn.contract_metadata import fields_in_metadata, metadata_of
from edgernn.contract_rules import check_graph, violations
from edgernn.errors import ContractError
from edgernn.facts import Facts, ShownAsFacts, contract_facts
from edgernn.json_field import JsonField, unreadable_contract
from edgernn.metadata_fields import MetadataFields
from edgernn.ports import BATCH, SEQUENCE, Graph, Port, State
from edgernn.streaming_rules import check_streaming, name_hop_axes, steps_per_hop
from edgernn.untrusted_text import quote
from edgernn.vocabulary import Vocabulary

__all__ = ["BATCH", "SEQUENCE", "VERSION", "Contract", "Graph", "Port", "State"]

VERSION = "1"

_PREFIX = "edgernn."


@dataclass(frozen=True, repr=False)
class Contract(ShownAsFacts):
    """What the graphs of one artifact promise, or one graph alone.

    Attributes:
        family: A hash that the graphs of one artifact share.
        source: What the model was, in one line.
        states: The states in a fixed order: by layer, h before c.
        carry: Whether a state taken from one chunk may be fed to the next.
        divisible: Whether any division of a sequence into chunks gives the same numbers. Where not,
            a chunk is a call of the model, which keeps memory from call to call.
        graphs: `sequence`, `step` or both.
        vocabulary: The symbols of ids and scores, or None.
        parity: The result of the parity check in one line.
        notes: What a user should know: axes that are constant, what was converted, …
        lengths: Inputs of the sequence graph that hold the length of each sequence.
        full_lengths: Those of `lengths` whose longest must be the number of steps.
        most: Name of a dynamic axis → the largest size at which the sequence graph is right.
        least: Name of a dynamic axis → the smallest, where it is more than 1.
        no_step: Why there is no step graph; empty where there is one, or none was requested.
        hop: The steps of the input that one call of the step graph takes. Chunks are whole hops.
        delays: Name of an output → how many of its first steps in a new stream are not defined,
            in steps of that output.
        tails: Name of an output → how many of the last steps that the model gives come only from
            padding after the end, in steps of that output.
        padding: Name of an input → the value which, fed after the end, gives the tails exactly;
            for every input with an axis of steps, or empty where that is not exact.
        sample_rate: The steps of the input in a second, or None where that is not known.
    """

    family: str
    source: str
    states: tuple[State, ...]
    carry: bool
    graphs: Mapping[str, Graph]
    vocabulary: Vocabulary | None = None
    parity: str = ""
    notes: tuple[str, ...] = ()
    lengths: tuple[str, ...] = ()
    full_lengths: tuple[str, ...] = ()
    most: Mapping[str, int] = field(default_factory=dict)
    least: Mapping[str, int] = field(default_factory=dict)
    no_step: str = ""
    divisible: bool = True
    hop: int = 1
    delays: Mapping[str, int] = field(default_factory=dict)
    tails: Mapping[str, int] = field(default_factory=dict)
    padding: Mapping[str, float] = field(default_factory=dict)
    sample_rate: float | None = None

    def __post_init__(self) -> None:
        for kind, graph in self.graphs.items():
            check_graph(kind, graph, self.states)
        if self.in_hops:
            object.__setattr__(self, "graphs", name_hop_axes(self.graphs))
        check_streaming(self)
        if self.no_step and "step" in self.graphs:
            raise ContractError("It has a step graph, and says why there is none.")
        for name in self.full_lengths:
            if name not in self.lengths:
                raise ContractError(
                    f"It has full lengths in {quote(name)}, which is not an input of lengths."
                )
        for axis, size in (*self.most.items(), *self.least.items()):
            if not 1 <= self.least.get(axis, 1) <= size <= self.most.get(axis, size):
                raise ContractError(
                    f"`{axis}` is at least {self.least.get(axis, 1)} and at most "
                    f"{self.most.get(axis, size)}; bounds are at least 1, the lower first."
                )

    def _facts(self) -> tuple[str, Facts]:
        proven = [("parity", self.parity)] if self.parity else []
        return f"Contract of {self.source}", [*contract_facts(self), *proven]

    @property
    def sequence(self) -> Graph | None:
        """The ports of the sequence graph, if there is one."""
        return self.graphs.get("sequence")

    @property
    def step(self) -> Graph | None:
        """The ports of the step graph, if there is one."""
        return self.graphs.get("step")

    @cached_property
    def constants(self) -> Mapping[str, int]:
        """The sizes of the axes `batch` and `sequence` where they are numbers."""
        return {
            name: size
            for graph in self.graphs.values()
            for port in (*graph.inputs, *graph.outputs)
            for name, size in zip(port.axes, port.shape, strict=True)
            if name in (BATCH, SEQUENCE) and isinstance(size, int)
        }

    @cached_property
    def state_ports(self) -> Mapping[str, Port]:
        """Name of a state → its input port, the same in both graphs."""
        graph = next(iter(self.graphs.values()))
        return {state.name: graph.input(state.input) for state in self.states}

    def data_inputs(self, kind: str) -> tuple[Port, ...]:
        """Return the inputs of graph `kind`, `sequence` or `step`, that are not states."""
        return self._data_ports[kind].inputs

    def data_outputs(self, kind: str) -> tuple[Port, ...]:
        """Return the outputs of graph `kind`, `sequence` or `step`, that are not states."""
        return self._data_ports[kind].outputs

    @cached_property
    def _data_ports(self) -> Mapping[str, Graph]:
        """Kind of a graph → its ports that are not states."""
        states = {end for state in self.states for end in (state.input, state.output)}
        return {
            kind: Graph(
                tuple(port for port in graph.inputs if port.name not in states),
                tuple(port for port in graph.outputs if port.name not in states),
            )
            for kind, graph in self.graphs.items()
        }

    def initial(self, state: State, batch: int = 1) -> NDArray[Any]:
        """Return the initial value of `state` for `batch` sequences, in the port's full shape."""
        port = self.state_ports[state.name]
        shape = tuple(batch if size == BATCH else int(size) for size in port.shape)
        if state.initial is None:
            return np.zeros(shape, port.dtype)
        return np.array(np.broadcast_to(state.initial, shape), port.dtype, order="C")

    def bounds(self, kind: str) -> dict[str, dict[str, int]]:
        """Return `most` and `least` of the axes that inputs of graph `kind` have.

        A step graph has no `sequence`, and no bound of it.
        """
        inputs = self.graphs[kind].inputs
        names = {name for port in inputs for axis in port.axes for name in _names(axis)}
        return {
            role: {axis: size for axis, size in sizes.items() if axis in names}
            for role, sizes in (("most", self.most), ("least", self.least))
        }

    def within(self, axis: str, size: int) -> int:
        """Return the size within the bounds of a dynamic axis that is nearest to `size`."""
        least = max(size, self.least.get(axis, size))
        return min(least, self.most.get(axis, least))

    @cached_property
    def in_hops(self) -> bool:
        """Whether a call takes whole hops of several steps, or an output is delayed or has a tail.

        Then not every step that goes in gives a step that comes out.
        """
        return bool(self.hop > 1 or self.delays or self.tails)

    @cached_property
    def limited_states(self) -> Mapping[str, int]:
        """Name of a state that counts the hops of a sequence → the most hops that it may count."""
        ports = self.state_ports
        return {name: port.limit for name, port in ports.items() if port.limit is not None}

    def steps_per_hop(self, output: str) -> int:
        """Return how many of its own steps a data output has for each hop of the input."""
        graph = self.graphs["sequence" if self.sequence else "step"]
        return steps_per_hop(graph.output(output), self.hop) or 1

    def seconds(self, steps: int, output: str | None = None) -> float | None:
        """Return how long some steps last, or None where the sample rate is not known.

        Args:
            steps: A number of steps.
            output: The data output whose steps they are; None for steps of the input.
        """
        if self.sample_rate is None:
            return None
        scale = self.hop / self.steps_per_hop(output) if output else 1
        return steps * scale / self.sample_rate

    @property
    def missing(self) -> dict[str, int]:
        """Name of an output → the last steps that the model gives and a stream cannot.

        They come from padding after the end that is not the same as padding at the input.
        """
        return {} if self.padding else dict(self.tails)

    def only(self, kind: str) -> Contract:
        """Return the same contract with graph `kind` alone."""
        return replace(self, graphs={kind: self.graphs[kind]})

    def metadata(self, kind: str) -> dict[str, str]:
        """Return the metadata_props of graph `kind`."""
        texts = {"contract": VERSION, **metadata_of(self, kind)}
        return {_PREFIX + key: text for key, text in texts.items()}

    @classmethod
    def from_metadata(
        cls,
        metadata: Mapping[str, str],
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        subject: str = "The graph",
    ) -> Contract:
        """Read the contract of one graph from its metadata_props and its ports.

        Args:
            metadata: The graph's metadata_props.
            inputs: Its inputs as the ONNX file declares them.
            outputs: Its outputs as the ONNX file declares them.
            subject: What to call the graph in messages.

        Raises:
            ContractError: The metadata is missing, of another version, or does not fit the ports.
        """
        texts = MetadataFields(
            subject,
            {
                key.removeprefix(_PREFIX): text
                for key, text in metadata.items()
                if key.startswith(_PREFIX)
            },
        )
        _check_version(texts.get("contract"), subject)
        return _read(subject, **fields_in_metadata(texts, inputs, outputs))

    def to_json(self) -> dict[str, Any]:
        """Return the contract as a JSON object."""
        return {"contract": VERSION, **json_of(self)}

    @classmethod
    def from_json(cls, data: Any, subject: str = "The artifact") -> Contract:
        """Read what `to_json` returned.

        Raises:
            ContractError: It is of another version or not a contract.
        """
        _check_version(data.get("contract") if isinstance(data, dict) else None, subject)
        return _read(subject, **fields_in_json(JsonField(subject, "", data)))


def _read(subject: str, **fields: Any) -> Contract:
    """Build a contract from its fields, and check all rules."""
    try:
        contract = Contract(**fields)
    except ContractError as error:
        reason = str(error).rstrip(".")
        raise unreadable_contract(subject, reason[0].lower() + reason[1:]) from error
    for violation in violations(
        contract.graphs, contract.states, contract.lengths, contract.vocabulary
    ):
        raise unreadable_contract(subject, violation)
    return contract


def _check_version(version: object, subject: str) -> None:
    if version is None:
        raise ContractError(
            f"{subject} carries no edgernn contract. Export the model with `edgernn export`."
        )
    if version != VERSION:
        raise ContractError(
            f"{subject} is of contract version {version}; this edgernn reads version {VERSION}. "
            "Export the model again, or install the edgernn that wrote it."
        )


def _names(axis: str | None) -> list[str]:
    """Return the names of the dynamic axes in the size of an axis."""
    return re.findall(r"[A-Za-z_]\w*", axis or "")
