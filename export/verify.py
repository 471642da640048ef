"""An artifact, proven again against the model that it was made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir
from torch import nn

from edgernn.artifact import Artifact
from edgernn.declared_options import accept_old_names
from edgernn.export.analysis.graph_precision import precision_of
from edgernn.export.build_model import build_model, open_model
from edgernn.export.call.added_lengths import LENGTHS
from edgernn.export.library_errors import stage
from edgernn.export.make_contract import calls_in_row, known_contract, sampler_of
from edgernn.export.options import SourceOptions, SupportsArray
from edgernn.export.proof.eager_reference import eager_on_one_thread
from edgernn.export.proof.parity import Prover
from edgernn.export.proof.port_adapter import PortAdapter
from edgernn.export.prove_forms import verify_forms
from edgernn.export.quantize.unit_range import largest_state
from edgernn.report import ParityReport
from edgernn.tolerances import LOOSEST

__all__ = ["verify_artifact"]


@accept_old_names(SourceOptions)
def verify_artifact(
    artifact: Artifact,
    model: nn.Module | str | Path,
    *,
    inputs: Sequence[Any] | Mapping[str, Any] | SupportsArray | None = None,
    states: Mapping[str, str | int] | None = None,
    module: str | Callable[[], object] | None = None,
    assume_plain: bool = False,
    trust: bool = False,
) -> ParityReport:
    """Prove an artifact against the model that it was made from, in full.

    Args:
        artifact: What `export_model` returned, or `Artifact.open(path)`.
        model: An `nn.Module` or a file, as for `export_model`.
        inputs: forward's arguments, as for `export_model`.
        states: States that cannot be recognised, as for `export_model`.
        module: The code of a state_dict, as for `export_model`.
        assume_plain: Whether to assume that nothing lies between the layers of a bare state_dict.
        trust: Whether opening the file may run code of its author.

    Returns:
        All comparisons that were made.

    Raises:
        ParityError: A graph does not agree with the model.
        ContractError: The model has other ports than the artifact.
    """
    options = SourceOptions(
        inputs=inputs, states=states, module=module, assume_plain=assume_plain, trust=trust
    )
    source, theirs = open_model(model, options), artifact.contract
    with eager_on_one_thread(), stage("proving the graphs", source.name):
        built, reference = build_model(source, options, LENGTHS in theirs.lengths)
        known = known_contract(built, source.description, theirs.vocabulary)
        contract = known(
            carry=theirs.carry, divisible=theirs.divisible, most=theirs.most, least=theirs.least
        )
        paths = {kind: str(artifact.checked(kind)) for kind in theirs.graphs}
        models = [ir.load(path) for path in paths.values()]
        sampler = sampler_of(built, reference, contract)
        sampler = replace(sampler, largest_state=largest_state(models))
        precision = precision_of(models)
        prover = Prover(
            sampler=sampler,
            tolerance=min(artifact.tolerance, LOOSEST[precision]),
            constants=theirs.constants,
            extra_sizes=built.bounds.unproven,
            in_row=calls_in_row(built, sampler),
        )
        adapter = PortAdapter(contract, theirs)
        return verify_forms(prover, artifact, adapter, prover.report(paths, adapter))
