"""Graphs that take chunks, written by hand, against eager torch, which takes whole sequences.

Right ones pass; each way to forget something is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import edgernn
from edgernn.artifact import Artifact
from edgernn.errors import ContractError, InputError, ParityError
from edgernn.export import build_model, verify_artifact
from edgernn.export.states.hop_and_delay import Streaming
from tests.nets.streams import STREAMS, TABLE, Net, Stream

Change = Callable[[str], str]
Export = Callable[..., Artifact]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def build_from(monkeypatch: pytest.MonkeyPatch, stream: Stream, **changes: Change) -> None:
    """Have the texts of a stream be what is built from a model."""

    def build(module: Any, example: Any, states: Any) -> Any:
        return stream.build(module, example, **changes)

    monkeypatch.setattr(build_model, "build_torch", build)


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Export:
    """Return what exports a stream by its name, or as it is given, and its module if given."""

    def exported(
        which: str | Stream, module: torch.nn.Module | None = None, **options: Any
    ) -> Artifact:
        stream = STREAMS[which] if isinstance(which, str) else which
        build_from(
            monkeypatch,
            stream,
            **{kind: options.pop(kind) for kind in ("step", "sequence") if kind in options},
        )
        module = module or stream.module()
        return edgernn.export_model(
            module.eval(), tmp_path / "m.edgernn", inputs=stream.inputs, **options
        )

    return exported


def swap(old: str, new: str) -> Change:
    """Return what replaces a part of a text, which is there."""

    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return change


# --- graphs that are right ------------------------------------------------------------------------


@pytest.mark.parametrize("name", STREAMS)
def test_a_right_graph_passes(export, name):
    """Whole, by chunks and by steps; from the start, from reached states, and over 1,000 hops."""
    artifact = export(name)
    assert artifact.parity is not None
    assert max(check.difference for check in artifact.parity.checks) < 1e-5
    hop = artifact.contract.hop
    kinds = {(c.name, c.graph, c.initial) for c in artifact.parity.checks}
    assert {("chunks", "sequence", "reached"), ("steps", "step", "reached")} < kinds
    assert {("golden", "sequence", "random"), ("golden", "step", "random")} < kinds
    drift = [check.sequence for check in artifact.parity.checks if check.name == "drift"]
    longest = 30 if name == "positions" else 1000 * hop  # its table ends at 40
    assert len(drift) == 2
    assert min(drift) >= longest
    assert all(check.sequence % hop == 0 for check in artifact.parity.checks)


def test_the_end_of_a_stream_is_proven_where_padding_gives_it(export):
    """All frames of the model are compared then, the tail too."""
    artifact = export("padded_at_both_ends")
    ends = [check for check in artifact.parity.checks if check.name == "end"]
    assert [(c.graph, c.batch, c.sequence) for c in ends] == [
        ("sequence", 1, 2),
        ("sequence", 2, 8),
        ("sequence", 3, 6),
    ]


@pytest.mark.parametrize(
    "options",
    [{"reset": True}, {"steps": 8}, {"batch_size": 3}, {"graph": "step"}],
    ids=lambda options: next(iter(options)),
)
@pytest.mark.parametrize("name", ["without_padding", "frames"])
def test_options_go_with_a_hop_and_a_delay(export, name, options):
    """The states are masked, cut to a constant size, and proven all the same."""
    artifact = export(name, **options)
    assert artifact.parity.passed
    assert artifact.contract.delays == STREAMS[name].streaming.delays


def test_a_constant_number_of_steps_is_whole_hops(export, tmp_path):
    """Any other has no meaning to graphs that take hops; the message gives one that has."""
    with pytest.raises(InputError) as caught:
        export("frames", steps=6)
    assert list(tmp_path.iterdir()) == []
    assert str(caught.value) == (
        "`steps` cannot be 6: a chunk is whole hops of 4 steps. Give a multiple of 4, such as 8."
    )


def test_the_golden_run_has_what_the_graphs_give(export):
    """Eager outputs stand after the delay, without the tail; contexts are from the graph."""
    stream = STREAMS["padded_at_both_ends"]
    module = Net((1, 1))
    artifact = export(stream, module)
    golden = {file.stem: np.load(file) for file in (artifact.path / "golden").iterdir()}
    x, output = golden["x"], golden["output"]
    assert x.shape == (2, 9, 4)
    assert output.shape == (2, 9, 2)
    assert not output[:, :1].any()
    with torch.no_grad():
        padded = torch.nn.functional.pad(torch.from_numpy(x.swapaxes(1, 2)), module.padding)
        y, _ = module.rnn(module.conv(padded).relu().mT, torch.from_numpy(golden["h_in"]))
        expected = module.head(y).numpy()
    assert np.abs(output[:, 1:] - expected[:, :-1]).max() < 1e-6
    assert not golden["context_in"].any()
    assert np.array_equal(golden["context_out"], x[:, -2:])
    assert golden["position_in"].tolist() == [0, 0]
    assert golden["position_out"].tolist() == [9, 9]
    assert np.abs(golden["h_out"][0] - y[:, -2].numpy()).max() < 1e-6


class Noisy(Net):
    """The same, with an attribute that every call changes and no call reads."""

    def __init__(self):
        super().__init__((0, 0))
        self.last = torch.zeros(1)

    def forward(self, x, h=None):
        y = super().forward(x, h)
        self.last = y.sum()
        return y


def test_calls_of_a_module_that_changes_but_does_not_remember(export):
    """A call of it is a whole sequence, of the sequence graph alone; contexts start anew."""
    artifact = export("without_padding", Noisy())
    calls = [check for check in artifact.parity.checks if check.name == "calls"]
    assert [check.graph for check in calls] == ["sequence"] * 3
    assert artifact.parity.passed


@pytest.mark.parametrize("name", ["without_padding", "frames"])
def test_an_artifact_is_proven_against_its_model(export, name, monkeypatch):
    """`verify_artifact` makes the same checks; a model with another delay is another model."""
    stream = STREAMS[name]
    module = stream.module()
    artifact = export(stream, module)
    report = verify_artifact(artifact, module, inputs=stream.inputs)
    assert report.passed
    assert [(c.name, c.graph) for c in report.checks] == [
        (c.name, c.graph) for c in artifact.parity.checks
    ]
    other = replace(stream, streaming=replace(stream.streaming, tails={"output": 1}))
    build_from(monkeypatch, other)
    with pytest.raises(ContractError) as caught:
        verify_artifact(artifact, module, inputs=stream.inputs)
    hop, delay = artifact.contract.hop, artifact.contract.delays["output"]
    assert str(caught.value) == (
        f"The sequence graph has hop {hop}, delay {delay} of `output`; the model would give hop "
        f"{hop}, delay {delay} of `output`, tail 1 of `output`. It is not the model that the graph "
        "was made from."
    )


def test_a_table_of_positions_bounds_the_hops_of_a_stream(tmp_path):
    """Also of one in many chunks: hosts check the state that counts."""
    module, spec = STREAMS["positions"].module(), STREAMS["positions"].inputs
    artifact = edgernn.export_model(module, tmp_path / "m.edgernn", inputs=spec)
    assert artifact.contract.most == {"sequence": TABLE}
    for graph in artifact.contract.graphs.values():
        assert graph.input("position_in").limit == TABLE
    assert artifact.parity is not None
    drift = [check.sequence for check in artifact.parity.checks if check.name == "drift"]
    assert drift == [TABLE, TABLE]


def test_steps_that_a_convolution_needs_bound_no_chunk(tmp_path):
    """Eager torch fails on fewer steps than its kernel; a chunk may be a single hop."""
    module, spec = STREAMS["frames_and_back"].module(), STREAMS["frames_and_back"].inputs
    artifact = edgernn.export_model(module, tmp_path / "m.edgernn", inputs=spec)
    assert artifact.contract.hop == 4
    assert artifact.contract.least == {}


# --- graphs that are wrong ------------------------------------------------------------------------

_VALID, _CENTRED = STREAMS["without_padding"], STREAMS["padded_at_both_ends"]
_LOST = swap("{ xs", "{ first = Sub(position_in, position_in) xs")

WRONG = {
    "the step forgets its context": (
        "causal",
        {"step": swap("Identity(context2)", "Identity(context)")},
        "The step graph does not agree with the sequence graph in one call: `context` differs by "
        "N at most 2.0e-05 is allowed) at batch 1, sequence 1, random initial state, run step by "
        "step.",
    ),
    "the step keeps the hop before the last": (
        "frames",
        {"step": swap("context2 = Identity(x)", "context2 = Identity(context)")},
        "The step graph does not agree with the sequence graph in one call: `context` differs by "
        "N at most 2.0e-05 is allowed) at batch 1, sequence 8, random initial state, run step by "
        "step.",
    ),
    "chunks forget their context": (
        "causal",
        {
            "sequence": lambda text: text.replace(
                "{ xs", "{ none = Sub(context_in, context_in) xs"
            ).replace("(context_in, h_in, xs)", "(none, h_in, xs)")
        },
        "The sequence graph does not agree with the sequence graph in one call: `context` differs "
        "by N at most 2.0e-05 is allowed) at batch 2, sequence 7, random initial state, run by "
        "chunks.",
    ),
    "a delay that is too small": (
        replace(_VALID, streaming=Streaming(delays={"output": 1})),
        {},
        "The sequence graph does not agree with eager torch: `output` (delay 1) differs in shape: "
        "(2, 4, 2) where (2, 3, 2) was expected at batch 2, sequence 5, zero initial state, run "
        "whole.",
    ),
    "a delay and a tail that are too large": (
        replace(_CENTRED, streaming=Streaming(delays={"output": 2}, tails={"output": 2})),
        {},
        "The sequence graph does not agree with eager torch: `output` (delay 2, tail 2) differs by "
        "N at most 1.0e-05 is allowed) at batch 2, sequence 5, zero initial state, run whole.",
    ),
    "another padding than the model's": (
        replace(STREAMS["causal_padded_with_a_half"], initial={}),
        {},
        "The sequence graph does not agree with eager torch: `output` differs by N at most 1.0e-05 "
        "is allowed) at batch 2, sequence 5, zero initial state, run whole.",
    ),
    "a tail that other padding gives": (
        replace(_CENTRED, streaming=replace(_CENTRED.streaming, padding={"x": 0.5})),
        {},
        "The sequence graph does not agree with eager torch: `output` (delay 1, tail 1) differs by "
        "N at most 1.0e-05 is allowed) at batch 1, sequence 2, random initial state, run to the "
        "end of the padding.",
    ),
    "undefined frames change the state": (
        replace(_VALID, h2="h1"),
        {},
        "The sequence graph does not agree with eager torch: `output` (delay 2) differs by N at "
        "most 1.0e-05 is allowed) at batch 2, sequence 5, zero initial state, run whole.",
    ),
    "undefined frames change the state of the step": (
        "without_padding",
        {"step": swap("h_out = Identity(h2)", "h_out = Identity(h1)")},
        "The step graph does not agree with eager torch: `h` differs by N at most 1.0e-05 is "
        "allowed) at batch 1, sequence 3, random initial state, run step by step.",
    ),
    "the step loses the position": (
        "without_padding",
        {"step": swap("Identity(position2)", "Identity(position)")},
        "The step graph does not agree with the sequence graph in one call: `position` differs by "
        "N at most 2.0e-05 is allowed) at batch 1, sequence 3, random initial state, run step by "
        "step.",
    ),
    "chunks start at position 0": (
        "positions",
        {
            "sequence": lambda text: _LOST(text).replace(
                "(position_in, h_in, xs)", "(first, h_in, xs)"
            )
        },
        "The sequence graph does not agree with the sequence graph in one call: `position` differs "
        "by N at most 2.0e-05 is allowed) at batch 2, sequence 7, random initial state, run by "
        "chunks.",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_graph_is_refused(export, tmp_path, wrong):
    """The message says which port differs from what; nothing is left on disk."""
    which, changes, message = WRONG[wrong]
    with pytest.raises(ParityError) as info:
        export(which, **changes)
    assert list(tmp_path.iterdir()) == []
    text = str(info.value).removesuffix(" Nothing was written.")
    text = re.sub(r" (The first layer to differ|All recurrent layers agree).*", "", text)
    assert re.sub(r"\d\.\de[-+]\d\d \(", "N ", text) == message
