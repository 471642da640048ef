"""Artifacts in memory, of the shapes that a picture must cope with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from edgernn.artifact import Artifact
from edgernn.cli.picture.graph_content import Content, LayerLine, PortLabel, StateLabel, shorten
from edgernn.contract import Contract, Graph, Port, State
from edgernn.layer import Layer
from edgernn.report import Cost

LAYERS = (
    Layer("Embedding", "e", 75, 64),
    Layer("LSTM", "rnn", 64, 128),
    Layer("Linear", "o", 128, 75),
)
HOSTILE = '</text><script>alert("1")</script>&amp;]]>\x1b[2J\n"\' onload=x'
LONG = "encoder_" * 12 + "rnn"


def artifact(
    *states: str,
    name: str = "demo.edgernn",
    kinds: Sequence[str] = ("sequence", "step"),
    inputs: Sequence[str] = ("x",),
    outputs: Sequence[str] = ("output",),
    layers: tuple[Layer, ...] | None = LAYERS,
    carry: bool = True,
    learned: bool = False,
    lengths: bool = False,
) -> Artifact:
    """Return an artifact with these ports and states."""
    start = np.ones((1, 1, 128), np.float32) if learned else None
    pairs = tuple(State(state, f"{state}_in", f"{state}_out", start) for state in states)
    graphs = {}
    for kind in kinds:
        axes = ("batch", "sequence") if kind == "sequence" else ("batch",)
        extra = (Port("lengths", "int64", ("batch",)),) if lengths and kind == "sequence" else ()
        graphs[kind] = Graph(
            (
                *(Port(port, "int64", axes) for port in inputs),
                *extra,
                *(Port(pair.input, "float32", (1, "batch", 128)) for pair in pairs),
            ),
            (
                *(Port(port, "float32", (*axes, 75)) for port in outputs),
                *(Port(pair.output, "float32", (1, "batch", 128)) for pair in pairs),
            ),
        )
    contract = Contract(
        "f00d", "demo", pairs, carry, graphs, lengths=("lengths",) if lengths else ()
    )
    return Artifact(Path(name), contract, None, Cost(1, 2, 3, 4), layers=layers)


MODELS: Mapping[str, Artifact] = {
    "one state": artifact("h"),
    "two states": artifact("h", "c", learned=True),
    "12 states": artifact(*(f"blocks_{i}_rnn_h" for i in range(12))),
    "no state": artifact(),
    "no carry": artifact("h", "c", carry=False, kinds=("sequence",)),
    "lengths": artifact("h", lengths=True),
    "sequence only": artifact("h", kinds=("sequence",)),
    "step only": artifact("h", kinds=("step",)),
    "no layers": artifact("h", layers=None),
    "40 layers": artifact(
        "h", layers=tuple(Layer("Linear", "", size, size + 1) for size in range(1, 41))
    ),
    "many ports": artifact(
        "h", inputs=[f"sensor_{i}" for i in range(9)], outputs=[f"head_{i}" for i in range(7)]
    ),
    "long names": artifact(LONG, name=f"{LONG}.edgernn", inputs=[LONG], outputs=[f"{LONG}_2"]),
    "wide names": artifact("状態" * 9, name="模型.edgernn", inputs=["文字" * 9], outputs=["WWW"]),
    "hostile ports": artifact("<h>&", inputs=["<script>&amp;'\"]]>"], outputs=["<!--"]),
    "hostile layers": artifact("h", layers=(Layer(HOSTILE, HOSTILE, 1, 2),), name=HOSTILE),
}
"""Every shape by name."""


@st.composite
def _contents(draw: st.DrawFn) -> Content:
    text = st.text(max_size=60)
    lines = st.lists(text, min_size=1, max_size=3).map(tuple)
    ports = st.lists(st.builds(PortLabel, text, lines, st.booleans()), max_size=5).map(tuple)
    layers = st.lists(st.builds(LayerLine, text, text, st.booleans()), max_size=9).map(tuple)
    states = st.lists(st.builds(StateLabel, *[text] * 4, st.just("starts at zero")), max_size=5)
    files = draw(text.map(shorten))
    return Content(
        draw(text), files, draw(layers), draw(ports), draw(ports), tuple(draw(states)), draw(text)
    )


contents = _contents()
"""What a picture may have to say, with any texts."""
