"""The forms of finished graphs, written and proven against the model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

import onnx_ir as ir

from edgernn.artifact import Artifact
from edgernn.contract import Graph
from edgernn.errors import ContractError, ParityError
from edgernn.export.analysis.graph_precision import precision_of
from edgernn.export.artifact_files.artifact_writer import ArtifactWriter
from edgernn.export.forms.make_forms import make_forms, ports_of_form
from edgernn.export.options import ExportOptions
from edgernn.export.proof.form_function import form_function
from edgernn.export.proof.graph_function import graph_function
from edgernn.export.proof.parity import Prover
from edgernn.export.proof.port_adapter import PortAdapter
from edgernn.forms import Form, is_form_file
from edgernn.report import Check, ParityReport
from edgernn.tolerances import LOOSEST

__all__ = ["prove_forms", "verify_forms"]

_LOG = logging.getLogger("edgernn.export")


def prove_forms(
    prover: Prover,
    writer: ArtifactWriter,
    graphs: Mapping[str, ir.Model],
    adapter: PortAdapter,
    options: ExportOptions,
    files: Mapping[str, str],
    report: ParityReport,
) -> tuple[ParityReport, tuple[str, ...]]:
    """Write the forms that agree with the model.

    Args:
        prover: What proved the portable graphs.
        writer: What wrote them.
        graphs: The portable graphs in float32.
        adapter: From the ports of the model to theirs.
        options: Which of them the artifact keeps, and whether it gets all forms.
        files: Their files.
        report: The checks of the portable graphs.

    Returns:
        The report with the checks of the forms, and a note for each form that was left out.
    """
    notes: list[str] = []
    forms = make_forms(graphs, adapter.exported, options.all_forms)
    for built in [] if writer.has_external_weights else forms:
        form = built.form
        if options.graph not in ("both", form.graph):
            continue
        _LOG.info("proving the graphs: %s", form.file)
        file = writer.write_form(built)
        try:
            checks = _checks(prover, form, adapter, built.ports, file, files["sequence"])
        except ParityError as error:
            writer.remove_form(built)
            _LOG.warning("%s was left out: %s", form.file, error)
            notes.append(f"`{form.file}` was left out: {error}")
            continue
        report = replace(report, checks=(*report.checks, *checks))
    return report, tuple(notes)


def verify_forms(
    prover: Prover, artifact: Artifact, adapter: PortAdapter, report: ParityReport
) -> ParityReport:
    """Return a report with the checks of an artifact's forms added.

    Raises:
        ParityError: A form does not agree with the model.
        ContractError: A form has other ports than its graph.
    """
    for form in {form.file: form for form in artifact.forms if is_form_file(form.file)}.values():
        file = str(artifact.checked_form(form))
        sequence = str(artifact.checked("sequence")) if artifact.contract.sequence else None
        graph = ir.load(file)
        ports = ports_of_form(graph, artifact.contract.graphs[form.graph])
        if ports is None:
            raise ContractError(
                f"`{file}` has other ports than `{form.graph}.onnx`. Export the model again."
            )
        loosest = min(artifact.tolerance_of(form), LOOSEST[precision_of([graph])])
        tolerance = max(prover.tolerance, loosest)
        own = prover if tolerance == prover.tolerance else replace(prover, tolerance=tolerance)
        checks = _checks(own, form, adapter, ports, file, sequence)
        if own is not prover:  # chosen by a tuning that takes a lower precision
            checks = tuple(replace(check, tolerance=tolerance) for check in checks)
        report = replace(report, checks=(*report.checks, *checks))
    return report


def _checks(
    prover: Prover, form: Form, adapter: PortAdapter, ports: Graph, file: str, sequence: str | None
) -> tuple[Check, ...]:
    """Run the checks of one form in `file`; `sequence` is the file of the sequence graph."""
    contract = adapter.exported
    run = adapter.adapt(form_function(form.graph, contract, ports, file))
    whole = sequence and adapter.adapt(graph_function("sequence", contract, sequence))
    checks = prover.form_checks(form.name, form.graph, run, whole or None)
    for check in checks:
        _LOG.debug("%s", check)
    return checks
