"""Refusals that several kinds of model file share."""

from __future__ import annotations

from edgernn.export.source.refusals import damaged_file, quantized_weights, untrusted_file


def test_a_damaged_file_is_named_with_its_kind_and_the_reason():
    """The remedy is to save it again."""
    assert str(damaged_file("`m.pt`", "torch.save file", "it ends early")) == (
        "`m.pt` is a torch.save file that cannot be read: it ends early. Save or download it again."
    )


def test_a_file_that_may_run_code_needs_trust():
    """The message says what could happen, and what to do instead."""
    assert str(untrusted_file("`m.pt` holds code", "Opening it would run that")) == (
        "`m.pt` holds code. Opening it would run that, so it is not done unasked. If you trust its "
        "origin, repeat with trust=True; or export the model from its code."
    )


def test_quantized_weights_are_named_with_what_to_export():
    """The remedy is the float model."""
    assert str(quantized_weights("`m.pt`", "such as `w`")) == (
        "`m.pt` has quantized weights, such as `w`, which only torch can unpack. Export the float "
        'model; precision="int8" quantizes it.'
    )
