"""Models as people write them: each exports, and its artifact gives what torch gives."""

from __future__ import annotations

from functools import partial

import pytest

import edgernn
from tests.models import (
    cell_loops,
    checkpoints,
    crops,
    detectors,
    forecasters,
    hand_loops,
    initial_states,
    loop_forms,
    memories,
    own_cells,
    packed_forms,
    policies,
    seq2seq,
    state_forms,
    taggers,
    text,
    tutorials,
    weights,
)
from tests.models.case import Case
from tests.models.proof import check_against_torch, signature

CASES = [
    pytest.param(case, id=f"{module.__name__.rpartition('.')[2]}: {case.name}")
    for module in (
        cell_loops,
        checkpoints,
        crops,
        detectors,
        forecasters,
        hand_loops,
        initial_states,
        loop_forms,
        memories,
        own_cells,
        packed_forms,
        policies,
        seq2seq,
        state_forms,
        taggers,
        text,
        tutorials,
        weights,
    )
    for case in module.CASES
]


@pytest.mark.parametrize("case", CASES)
def test_a_model_exports_with_its_ports_and_gives_what_torch_gives(case: Case, tmp_path):
    """Whole, in chunks and by steps; the rule of each case stands beside its model."""
    model = case.model()
    modes = {name: part.training for name, part in model.named_modules()}

    artifact = edgernn.export_model(
        model, tmp_path / "m.edgernn", inputs=case.inputs(), **case.options
    )

    assert {name: part.training for name, part in model.named_modules()} == modes
    assert signature(artifact) == case.ports
    assert case.notes in (None, artifact.contract.notes)
    reference = model.eval()
    call = reference if case.call is None else partial(case.call, reference)
    check_against_torch(artifact, case.draw, call, case.sizes)
