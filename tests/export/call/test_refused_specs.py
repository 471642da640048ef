"""Input specs that are refused: the whole message is right, and nothing is left on disk."""

from __future__ import annotations

import pytest

import edgernn
from edgernn.errors import InputError
from tests.export.expected_refusal import refusal
from tests.nets.tagger import StatefulTagger

FORM = (
    "is not an input spec. Expected NAME:DTYPE[DIMS], such as tokens:int64[batch,sequence] or "
    "x:float32[1,sequence,40], with a dtype of float32, float16, float64, int64, int32, bool."
)
SPECS = {
    "tokens": f"`tokens` {FORM}",
    "tokens:int64": f"`tokens:int64` {FORM}",
    "tokens:int63[batch,sequence]": f"`tokens:int63[batch,sequence]` {FORM}",
    "tokens:int64[batch,0]": f"`tokens:int64[batch,0]` {FORM}",
    "tokens:int64[batch,-1]": f"`tokens:int64[batch,-1]` {FORM}",
    "tokens:int64[batch sequence]": f"`tokens:int64[batch sequence]` {FORM}",
    "tokens:int64[batch,sequence": f"`tokens:int64[batch,sequence` {FORM}",
    ":int64[batch,sequence]": f"`:int64[batch,sequence]` {FORM}",
    "words:int64[batch,sequence]": (
        "`words` is not an argument of `StatefulTagger.forward`, which takes `tokens`, `hx`."
    ),
    "tokens:int64[sequence,batch]": (
        "Axis 1 of `tokens` is named `batch`, but along it the recurrent layers get more steps. "
        "Name it `sequence`."
    ),
    "tokens:int64[batch,time]": (
        "Axis 1 of `tokens` is named `time`, but along it the recurrent layers get more steps. "
        "Name it `sequence`."
    ),
    "tokens:int64[streams,sequence]": (
        "Axis 0 of `tokens` is named `streams`, but along it the recurrent layers get more "
        "sequences. Name it `batch`."
    ),
    "tokens:int64[batch,sequence,3]": (
        "`StatefulTagger.forward` fails on tokens:int64[batch,sequence,3]: ValueError: LSTM: "
        "Expected input to be 2D or 3D, got 4D instead"
    ),
    "hx[0]:float32[1,batch,3]": (
        "`StatefulTagger.forward` also needs `tokens`, which has no default. Give an example "
        'tensor or a spec for each: inputs=["tokens:int64[batch,sequence]"].'
    ),
}


@pytest.mark.parametrize("spec", SPECS)
def test_a_wrong_input_spec_is_refused(target, spec):
    """An input spec is refused for its form, its name, its axes, or what forward says to it."""
    message = refusal(
        InputError, lambda: edgernn.export_model(StatefulTagger(), target, inputs=[spec])
    )
    assert message == SPECS[spec]


def test_an_input_given_twice_is_refused(target):
    """Two specs of one input contradict each other."""
    specs = ["tokens:int64[batch,sequence]", "tokens:int64[1,sequence]"]
    assert refusal(
        InputError, lambda: edgernn.export_model(StatefulTagger(), target, inputs=specs)
    ) == ("`tokens` is given twice. Give one spec for each input.")
