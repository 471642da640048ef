"""Models as people write them: each exports, and its artifact gives what torch gives."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from pkgutil import iter_modules

import pytest

import edgernn
from tests import models
from tests.models.case import Case
from tests.models.proof import check_against_torch, signature

CASES = [
    pytest.param(case, id=f"{name}: {case.name}")
    for name in sorted(module.name for module in iter_modules(models.__path__))
    if not name.startswith(("test_", "conftest"))
    for case in getattr(import_module(f"tests.models.{name}"), "CASES", ())
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
