"""The machine and the versions beside a measurement."""

import os

import numpy as np

from edgernn.runtime.measure.machine import machine_name, versions


def test_the_name_ends_with_the_number_of_cores():
    """The processor has a name on every system, or the kind of machine in its place."""
    name, _, cores = machine_name().rpartition(", ")
    count = os.cpu_count() or 1
    assert cores == f"{count} core{'s' if count > 1 else ''}"
    assert name.strip()


def test_versions_of_what_is_installed():
    """Packages that are not installed are left out."""
    found = versions()
    assert found["numpy"] == np.__version__
    assert {"python", "edgernn", "onnxruntime"} <= found.keys()
