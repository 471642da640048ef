"""The sizes at which forms are faster, as they were measured."""

from __future__ import annotations

import pytest

from edgernn.export.forms.measured_rules import least_of_scan, most_batch_of_step


@pytest.mark.parametrize(
    ("operator", "hidden", "embedded", "batch"),
    [
        ("LSTM", 32, False, 32),
        ("LSTM", 33, False, 64),
        ("LSTM", 513, False, 0),
        ("GRU", 256, False, 4),
        ("RNN", 65, False, 0),
        ("LSTM", 64, True, 64),
        ("LSTM", 65, True, 0),
        ("Scan", 8, False, 0),
    ],
)
def test_the_largest_batch_depends_on_the_layer(operator, hidden, embedded, batch):
    """A large layer, one behind an embedding, or an operator without a row has no form."""
    assert most_batch_of_step(operator, hidden, embedded) == batch


def test_an_rnn_is_faster_as_a_scan():
    """From a few steps on; a small one only in a batch."""
    assert least_of_scan("RNN", 32) == {"batch": 1, "sequence": 8}
    assert least_of_scan("RNN", 31) == {"batch": 2, "sequence": 8}
    assert least_of_scan("LSTM", 32) is None
