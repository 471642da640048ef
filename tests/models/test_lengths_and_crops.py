"""What no case of the corpus can say: lengths below the steps, and a context that is cropped."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgernn import export_model, load
from edgernn.errors import InputError
from tests.models.crops import Window
from tests.models.packed_forms import EXAMPLE, Mean
from tests.models.proof import signature


@pytest.mark.parametrize("full", [True, False], ids=["all steps", "the longest"])
def test_lengths_below_the_steps_are_right_or_refused(full, tmp_path):
    """Where forward pads to the longest length, the runtime takes no other number of steps."""
    module = Mean(full).eval()
    model = load(export_model(module, tmp_path / "m.edgernn", inputs=EXAMPLE, verify=False).path)
    x, lengths = torch.randn(2, 6, 4), torch.tensor([4, 2])
    note = "The longest of `lengths` must be as long as the sequences: forward pads to it."
    assert (note in model.contract.notes, model.contract.full_lengths) == (
        (False, ()) if full else (True, ("lengths",))
    )
    if not full:
        with pytest.raises(InputError) as caught:
            model(x.numpy(), lengths.numpy())
        assert str(caught.value).endswith("would pad. Give the first 4 steps only.")
    taken = x if full else x[:, :4]
    with torch.no_grad():
        expected = module(x, lengths)
    got = model(taken.numpy(), lengths.numpy())
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-5)


def test_a_crop_that_is_never_shorter_keeps_its_size(tmp_path):
    """A context of two frames has two, however few frames come."""
    artifact = export_model(
        Window(),
        tmp_path / "m",
        inputs=["x:float32[batch,4,sequence]", "past:float32[batch,4,2]"],
        states={"past": 1},
        verify=False,
    )
    assert signature(artifact).partition(" -> ")[0] == (
        "x: float32[batch, 4, sequence]; past[batch, 4, 2], h[1, batch, 6]"
    )
