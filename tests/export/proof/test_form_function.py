"""A form as a function of the ports of the portable graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgernn.export.proof.form_function import form_function
from edgernn.export.proof.graph_function import graph_function
from edgernn.forms import with_unit_axes
from edgernn.ports import Graph
from tests.nets.step_forms import Lstm, exported

pytestmark = pytest.mark.forms


def test_a_form_takes_and_gives_what_its_graph_does():
    """Additional axes of size 1 are added to inputs and removed from outputs."""
    artifact = exported(Lstm)
    contract = artifact.contract
    step = contract.graphs["step"]
    shapes = {"x": (1, "batch", 3), "output": (1, 1, "batch", 4)}
    ports: Any = tuple(
        tuple(with_unit_axes(port, shapes.get(port.name, port.shape)) for port in role)
        for role in (step.inputs, step.outputs)
    )
    (form,) = (form for form in artifact.forms if form.graph == "step")
    run = form_function("step", contract, Graph(*ports), str(artifact.checked_form(form)))
    data = {"x": np.ones((2, 3), np.float32)}
    states = {name: np.full((1, 2, 4), 0.5, np.float32) for name in ("h", "c")}
    wanted = graph_function("step", contract, str(artifact.step))(data, states)
    found = run(data, states)
    np.testing.assert_allclose(found.outputs["output"], wanted.outputs["output"], atol=1e-6)
    np.testing.assert_allclose(found.states["c"], wanted.states["c"], atol=1e-6)
