"""Models of the corpus that no graph can be: each is refused before anything is written."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from edgernn import export_model
from edgernn.errors import InputError, UnsupportedModelError
from tests.export.expected_refusal import at
from tests.models.hand_loops import AttendsToItself, Frames
from tests.models.initial_states import RandomStart
from tests.models.own_cells import NormedLSTM
from tests.models.packed_forms import EXAMPLE, Ids, LastOneByOne
from tests.models.tutorials import ConvCell


def refusal(folder, model, inputs=None, kind=UnsupportedModelError):
    """Return the message that an export is refused with; nothing may be left in `folder`."""
    with pytest.raises(kind) as caught:
        export_model(model, folder / "m.edgernn", inputs=inputs)
    assert not list(folder.iterdir())
    return str(caught.value)


def test_states_of_one_shape_are_not_told_apart(tmp_path):
    """The refusal says which option names them."""
    example = (torch.randn(2, 3), torch.zeros(2, 6), torch.zeros(2, 6))
    assert refusal(tmp_path, NormedLSTM(), example) == (
        "forward makes no recurrent call (nn.LSTM, nn.GRU, nn.RNN or their cells). It may be one "
        "step of a recurrence of its own, but which result goes back into which argument the "
        "shapes do not tell: `h:float32[batch,6]`, `c:float32[batch,6]` may each be the state that "
        'comes back as `0`, `1`. Name every state. By the names it is states={"h": 0, "c": 1}. '
        'All pairs that fit: states={"h": 0}, states={"h": 1}, states={"c": 0}, states={"c": 1}.'
    )


def test_a_loop_that_reads_more_at_every_step(tmp_path, monkeypatch):
    """No iteration is like the one before."""
    monkeypatch.chdir(tmp_path)
    loop = at(AttendsToItself, "for t in range(x.shape[1]):")
    line = at(
        AttendsToItself, "states.append(self.cell(x[:, t], torch.stack(states).mean(0)))"
    ).replace(" at ", " takes 2 tensors at ")
    assert refusal(tmp_path, AttendsToItself(), (torch.randn(2, 5, 3),)).startswith(
        f"`AttendsToItself.forward` loops over `sequence`{loop}, and a graph runs the same in "
        f"every iteration: iteration 2{line}, iteration 1 1 tensor. Carry what"
    )


def test_a_loop_that_carries_nothing(tmp_path):
    """Such a model needs no state."""
    message = refusal(tmp_path, Frames(), (torch.randn(2, 5, 3),))
    assert "carries anything from step to step" in message


def test_a_random_initial_state(tmp_path, monkeypatch):
    """No graph can agree with a start that torch draws anew at every call."""
    monkeypatch.chdir(tmp_path)
    place = at(RandomStart, "h0 = torch.randn(1, x.size(0), 5)")
    assert refusal(tmp_path, RandomStart()) == (
        f"`RandomStart.forward` starts from a random state, drawn anew at every call{place}, so no "
        "two runs agree. Start from zeros or from a parameter, or take the state as an argument."
    )


def test_lengths_that_pick_one_step_after_another(tmp_path):
    """A graph has no such loop over the batch; the message has the operator that does it."""
    assert refusal(tmp_path, LastOneByOne(), EXAMPLE) == (
        "forward takes the lengths one by one in Python, which a graph for any batch cannot. Take "
        "the last step of each sequence as y[torch.arange(len(lengths)), lengths - 1], and "
        "compare with torch.arange(steps) for a mask."
    )


def test_a_packed_argument(tmp_path):
    """Its rows are sorted by step, which no port of a graph is."""
    packed = pack_padded_sequence(*EXAMPLE, batch_first=True, enforce_sorted=False)
    assert refusal(tmp_path, Ids(), {"x": packed}, InputError) == (
        "`x` is a PackedSequence, whose rows are sorted by step. Let forward take the padded "
        "sequences and their lengths, and pack them itself."
    )


def test_a_state_that_grows_with_the_image(tmp_path):
    """Of a state's axes only the batch is dynamic; the others are named."""
    size = "height,width"
    specs = [
        f"image:float32[batch,2,{size}]",
        *(f"state[{n}]:float32[batch,3,{size}]" for n in (0, 1)),
    ]
    assert refusal(tmp_path, ConvCell(), specs) == (
        "State `state_0_in` grows with `height` and `width`; of its axes only the batch "
        "may be dynamic. Give the others as numbers, such as "
        'inputs=["x:float32[batch,3,64,64]"].'
    )
