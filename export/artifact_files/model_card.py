"""The model card: README.md of an artifact."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from edgernn.artifact import Artifact
from edgernn.contract import SEQUENCE, Contract, Port, State
from edgernn.export.artifact_files.command_examples import CommandExamples
from edgernn.export.artifact_files.example_ports import ExamplePorts
from edgernn.export.artifact_files.usage_examples import UsageExamples
from edgernn.facts import streaming_facts
from edgernn.hosts import HOSTS
from edgernn.precision_report import COLUMNS, PrecisionReport
from edgernn.report import ParityReport

__all__ = ["model_card"]


def model_card(artifact: Artifact, name: str) -> str:
    """Return the card of an artifact in Markdown; `name` is the final name of its folder."""
    contract = artifact.contract
    sections = [
        f"# {name}\n\n{_one_line(contract.source)}. Exported by edgernn.",
        *(_graph(artifact, kind) for kind in contract.graphs),
        _states(contract),
        _time(contract),
        _usage(artifact, name),
        _next(name),
        _parity(artifact.parity),
        _precision(artifact.precision),
        _cost(artifact),
        _refusals(artifact),
        f"## Notes\n\n{_list(contract.notes)}" if contract.notes else "",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _graph(artifact: Artifact, kind: str) -> str:
    contract = artifact.contract
    graph = contract.graphs[kind]
    states = {port for state in contract.states for port in (state.input, state.output)}
    rows = [
        (f"state {role}" if port.name in states else role, *_cells(port, role))
        for role, ports in (("in", graph.inputs), ("out", graph.outputs))
        for port in ports
    ]
    table = _table(("", "Port", "Dtype", "Shape", "In torch's forward"), rows)
    only = contract.constants.get(SEQUENCE) if kind == "sequence" else None
    runs = (
        _runs(contract, kind) if only is None else f"sequences, or chunks, of exactly {only} steps"
    )
    runs += "".join(
        f", with {word} {size} {'steps' if axis == SEQUENCE else f'along `{axis}`'}"
        for word, sizes in (("at most", "most"), ("at least", "least"))
        for axis, size in contract.bounds(kind)[sizes].items()
    )
    limits = [
        f"`{port.name}` takes ids from 0 to {port.limit - 1:,}."
        for port in contract.data_inputs(kind)
        if port.limit is not None
    ]
    parts = [f"## {kind}.onnx", f"Runs {runs}.", table, " ".join(limits)]
    return "\n\n".join(part for part in parts if part)


def _runs(contract: Contract, kind: str) -> str:
    """Return what a graph runs, where it takes any number of steps."""
    if kind == "sequence":
        length = "length" if contract.hop == 1 else "number of whole hops"
        return f"whole sequences, or chunks of any {length}"
    return "one time step" if contract.hop == 1 else f"one hop of {contract.hop} steps"


def _cells(port: Port, role: str) -> tuple[str, ...]:
    origin = port.origin or ""
    path = origin if role == "in" else f"return{origin}"
    shape = ", ".join(map(str, port.shape))
    return (f"`{port.name}`", port.dtype, f"[{shape}]", f"`{path}`" if origin else "")


def _states(contract: Contract) -> str:
    if not contract.states:
        return ""
    pairs = ", ".join(f"`{state.output}` → `{state.input}`" for state in contract.states)
    rule = (
        f"After every call, feed each state output to its input: {pairs}. The same state fits "
        "every graph of this folder."
        if contract.carry and contract.divisible
        else f"After every call, feed each state output to its input: {pairs}. A call of the graph "
        "is a call of the model, which gives other numbers where a sequence is divided into other "
        "chunks."
        if contract.carry
        else "The state cannot be carried from chunk to chunk: give every sequence whole, and "
        "start it from the initial state."
    )
    graph = next(iter(contract.graphs.values()))
    starts = "\n".join(f"- {_initial(graph.input(s.input), s)}" for s in contract.states)
    return f"## State\n\n{rule}\n\n{starts}"


def _initial(port: Port, state: State) -> str:
    where = f"in `contract.json` and in the metadata `edgernn.initial.{state.name}`"
    start = "zeros" if state.initial is None else f"the values {where}"
    return f"`{port.name}` {port.dtype} [{', '.join(map(str, port.shape))}] starts from {start}."


def _time(contract: Contract) -> str:
    """Return the section on rate, hop, delays and tails; empty where there are none."""
    lines = [f"{name}: {text}" for name, text in streaming_facts(contract)]
    if not lines:
        return ""
    rule = (
        "The first steps of an output that comes later are not defined: drop them, as edgernn "
        "does.\n\n"
        if contract.delays
        else ""
    )
    return f"## Time\n\n{rule}{_list(lines)}"


def _usage(artifact: Artifact, name: str) -> str:
    ports = ExamplePorts(artifact.contract)
    python, commands = UsageExamples(name, ports), CommandExamples(name, ports)
    sections = [
        "## Run it\n\nAll of this runs in the folder that contains "
        f'`{name}`. For edgernn, `pip install ".[cpu]"` in a clone of it; that needs no torch.',
        f"### On the command line\n\n{_block('sh', *commands.run)}",
        f"### In Python\n\nSave as `run.py`:\n\n{_block('python', python.python)}",
        f"### In Python, with ONNX Runtime alone\n\n{_block('python', python.onnxruntime)}",
        f"### In an app\n\n{_projects(name)}",
        f"For example in C:\n\n{_block('sh', commands.app)}\n\n{_of_program(commands)}",
        "In JavaScript, beside the project's `app.mjs`:\n\n" + _block("js", python.javascript),
    ]
    return "\n\n".join(sections)


def _projects(name: str) -> str:
    """Return the command for each host."""
    rows = [
        (host.title, f"`edgernn embed {shlex.quote(name)} --host {host.name}`", host.needs)
        for host in HOSTS.values()
    ]
    return (
        "Each command writes a project with sources, this artifact and ONNX Runtime, and prints "
        "the lines that build and run it:\n\n" + _table(("For", "Command", "Needs"), rows)
    )


def _of_program(commands: CommandExamples) -> str:
    takes, call = commands.takes, "step" if commands.ports.contract.hop == 1 else "hop"
    own = f" `step` reads your own data, a line being one {call}: {takes}." if takes else ""
    return f"The program replays the golden run.{own}"


def _next(name: str) -> str:
    quoted = shlex.quote(name)
    return (
        "## What next\n\n"
        + _block(
            "sh",
            f"edgernn verify {quoted}     # replays the golden run, as a check of this machine",
            f"edgernn inspect {quoted}    # ports, cost, and which runtimes refuse the graphs",
        )
        + "\n\nIn the `docs` of edgernn: `run.md` on all that Python and `edgernn run` take, "
        "`embedding.md` on apps in other languages, `hosts.md` on other runtimes, `contract.md` on "
        "what the graphs promise, `troubleshooting.md` on what may go wrong."
    )


def _block(language: str, *lines: str) -> str:
    return f"```{language}\n" + "\n".join(lines) + "\n```"


def _parity(report: ParityReport | None) -> str:
    if report is None:
        return "## Parity\n\nNot proven: exported without verification."
    groups: dict[tuple[str, str], list[float]] = {}
    for check in report.checks:
        groups.setdefault((check.name, check.graph), []).append(check.difference)
    rows = [
        (name, f"{graph}.onnx", str(len(found)), f"{max(found):.1e}")
        for (name, graph), found in groups.items()
    ]
    table = _table(("Check", "Graph", "Times", "Largest difference"), rows)
    line = f"{_one_line(str(report))}; the tolerance is {report.tolerance:.0e}."
    return f"## Parity\n\n{line[0].upper()}{line[1:]}\n\n{table}"


def _precision(report: PrecisionReport | None) -> str:
    """Return the section on weights and quality, where there is anything to say of them."""
    if report is None:
        return ""
    facts = _list(f"{name}: {text}" for name, text in report.facts)
    if report.precision == "float32":
        return f"## Precision\n\n{facts}"
    shown = COLUMNS if report.has_reasons else COLUMNS[:-1]
    tables = [
        f"### Weights of {kind}.onnx\n\n"
        + _table(shown, ((f"`{one.name}`", *one.row[1 : len(shown)]) for one in weights))
        for kind, weights in report.weights.items()
    ]
    return "\n\n".join(["## Precision", facts, *tables])


def _cost(artifact: Artifact) -> str:
    cost, files = artifact.cost, [f"{kind}.onnx" for kind in artifact.contract.graphs]
    call = "step" if artifact.contract.hop == 1 else "hop"
    rows = [
        ("parameters", f"{cost.parameters:,}"),
        (f"multiply-adds per {call}", f"{cost.multiply_adds:,}"),
        (f"weights read per {call}", f"{cost.weight_bytes:,} bytes"),
        ("state of one sequence", f"{cost.state_bytes:,} bytes"),
        *((file, f"{(artifact.path / file).stat().st_size:,} bytes") for file in files),
    ]
    folds = _list(f"{fold}." for fold in artifact.folds)
    return "\n\n".join(["## Size and cost", _table(("", ""), rows), *([folds] if folds else [])])


def _refusals(artifact: Artifact) -> str:
    if not artifact.refusals:
        return "## Runtimes\n\nNo runtime known to edgernn refuses these graphs."
    lines = _list(f"{runtime}: {reason}" for runtime, reason in artifact.refusals.items())
    return f"## Runtimes\n\nThese do not run them as they are:\n\n{lines}"


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_one_line(line)}" for line in lines)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = ([_one_line(text).replace("|", "\\|") for text in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _one_line(text: str) -> str:
    return " ".join(text.split())
