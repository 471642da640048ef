"""Every module of `export/` with logic has a test of its own, or a reason why another shows it."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
EXPORT = TESTS.parents[1] / "export"

SHOWN_BY: Mapping[str, tuple[str, ...]] = {
    # What is searched shows in the refusals.
    "analysis/test_runtime_refusals": ("analysis/graph_patterns",),
    "artifact_files/test_model_card": (
        "artifact_files/command_examples",
        "artifact_files/example_ports",
        "artifact_files/usage_examples",
    ),
    # Which axes vary is one search in several steps.
    "call/test_dynamic_axes": (
        "call/axis_probe",
        "call/constant_axis_reasons",
    ),
    # Lengths in every form, of forward's own and added ones.
    "capture/test_packed_sequences": ("call/added_lengths", "capture/length_values"),
    "chunk_form/test_chunk_form": (
        "chunk_form/all_rules",
        "chunk_form/chunk_ports",
        "chunk_form/chunk_writer",
        "chunk_form/static",
        "chunk_graph/chunk_builder",
        "chunk_graph/form",
        "chunk_graph/size_builder",
        "chunk_graph/time_axis",
    ),
    "chunk_form/test_recurrence": ("chunk_form/merged_batch",),
    "chunk_form/test_attention": ("chunk_form/masks", "chunk_graph/attention_band"),
    # The stages of a file show in its graphs; each needs the session of the file.
    "foreign/test_onnx_file": ("foreign/build_graphs", "foreign/file_reference"),
    "foreign/test_example_inputs": ("foreign/constant_inputs", "foreign/fitted_shapes"),
    # Calls of onnxscript.
    "trace/test_trace": ("ir/fold_constants",),
    "lift/test_lift_over_time": ("lift/sequence_graph",),
    # The checks are steps of one report.
    "proof/test_calls_in_row": ("proof/module_calls",),
    "proof/test_continued_runs": ("proof/stream_end",),
    "proof/test_parity": (
        "proof/graph_comparisons",
        "proof/differing_layer",
        "proof/graph_function",
        "proof/measured_bounds",
        "proof/reference",
    ),
    "lower/test_projection": ("lower/layer_scan",),
    "quantize/test_int4": ("quantize/block_nodes",),
    "quantize/test_int8": (
        "quantize/constant_products",
        "quantize/int8_products",
        "quantize/weight_records",
    ),
    "reroll/test_reroll": (
        "reroll/loop_structure",
        "reroll/normalize",
    ),
    # The readers of archives are tested with whole archives, hostile ones in `tests/security`.
    "source/test_read_exported": ("source/check_exported_archive",),
    "source/test_read_torchscript": (
        "source/check_torchscript",
        "source/torchscript_operators",
        "source/torchscript_program",
    ),
    "source/test_load_source": ("source/read_checkpoint",),
    "states/test_folded_batch": ("states/find_folded_batches",),
    "states/test_find_states": ("states/next_values",),
    "step/test_unit_axes": ("step/unit_axis_moves",),
    # Finding memory is one search in several steps.
    "streaming/test_find_memory": (
        "streaming/layer_memory",
        "streaming/live_leaves",
        "streaming/memory_axes",
        "streaming/memory_probe",
        "streaming/refused_memory",
    ),
    "lower/test_loops": ("trace/trace_loops",),
    "trace/test_complex_operators": ("trace/pairs",),
}
"""Test file → the modules that have no test of their own because it shows what they do."""

MODULES = sorted(
    str(path.relative_to(EXPORT).with_suffix(""))
    for path in EXPORT.glob("*/*.py")
    if path.stem != "__init__"
)


def has_logic(module: str) -> bool:
    """Return whether a module has functions, not constants alone."""
    tree = ast.parse((EXPORT / f"{module}.py").read_text("utf-8"))
    return any(isinstance(node, ast.FunctionDef) for node in ast.walk(tree))


def own_test(module: str) -> Path:
    """Return the test file of a module."""
    room, name = module.split("/")
    return TESTS / room / f"test_{name}.py"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_its_test(module: str) -> None:
    """`tests/export/ROOM/test_MODULE.py`, or a place in `SHOWN_BY`."""
    elsewhere = {one for shown in SHOWN_BY.values() for one in shown}
    assert own_test(module).exists() or module in elsewhere or not has_logic(module)


def test_exceptions_are_such() -> None:
    """What is named exists, and has no test of its own."""
    shown = [module for modules in SHOWN_BY.values() for module in modules]
    assert sorted(set(shown) - set(MODULES)) == []
    assert [module for module in shown if own_test(module).exists()] == []
    assert [file for file in SHOWN_BY if not (TESTS / f"{file}.py").exists()] == []
