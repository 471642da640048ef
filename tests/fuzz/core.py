"""`python -m tests.fuzz.core [CASES]`: open damaged artifacts in the C core and call it at random.

The program `tests/hosts/fuzz_core.c` runs with sanitizers, some hundred cases in a process. Prints
what a process that failed printed; `program ARTIFACT FIRST 1` runs one case again.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import click

import edgernn
from edgernn.runtime.providers import find_library
from tests.hosts.conftest import COMPILER, CORE, SANITIZERS
from tests.hosts.host_artifacts import ARTIFACTS, write_artifact
from tests.nets import framed
from tests.nets.framed import Framed
from tests.nets.hop_models import Positions
from tests.nets.host_lstm import write_lstm

_SOURCE = Path(__file__).parents[1] / "hosts" / "fuzz_core.c"
_CASES_EACH = 400


def artifacts(folder: Path) -> list[Path]:
    """Write the artifacts that are damaged, and return their folders."""
    makers: dict[str, Callable[[Path], object]] = {
        "lstm": lambda path: write_lstm(path / "model.edgernn"),
        "framed": lambda path: framed.write(path / "model.edgernn", Framed(12, 4)),
        "tails": lambda path: framed.write(path / "model.edgernn", Framed(12, 4, 4, 4)),
        "positions": lambda path: edgernn.export_model(
            Positions().eval(), path / "model.edgernn", inputs=["x:float32[batch,sequence,3]"]
        ),
        **{name: partial(write_artifact, name) for name in ARTIFACTS},
    }
    for name, make in makers.items():
        (folder / name).mkdir()
        make(folder / name)
    return [folder / name / "model.edgernn" for name in makers]


@click.command()
@click.argument("cases", type=click.IntRange(min=1), default=100_000)
@click.option("--first", type=click.IntRange(min=0), default=0, help="The number of the first.")
def main(cases: int, first: int) -> None:
    """Open CASES damaged artifacts in the C core and print what is wrong."""
    with tempfile.TemporaryDirectory() as place:
        program = Path(place, "fuzz_core")
        options = ("-std=c11", "-O1", *SANITIZERS.split(), "-I", str(CORE), "-o", str(program))
        sources = (str(_SOURCE), str(CORE / "edgernn.c"))
        subprocess.run([COMPILER, *options, *sources, "-ldl", "-lm"], check=True)
        damaged = artifacts(Path(place))
        variables = {**os.environ, "ONNXRUNTIME_LIBRARY": str(find_library())}

        def run(start: int) -> subprocess.CompletedProcess[str]:
            artifact = damaged[start // _CASES_EACH % len(damaged)]
            count = min(_CASES_EACH, first + cases - start)
            command = [str(program), str(artifact), str(start), str(count)]
            return subprocess.run(
                command, env=variables, capture_output=True, text=True, check=False
            )

        totals: dict[str, int] = {}
        failed = 0
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for done in pool.map(run, range(first, first + cases, _CASES_EACH)):
                if done.returncode:
                    failed += 1
                    click.echo(f"{' '.join(done.args)}\n{done.stderr.strip()}")
                for count, what in re.findall(r"(\d+) (artifacts|opened|sequences)", done.stdout):
                    totals[what] = totals.get(what, 0) + int(count)
    click.echo(", ".join(f"{count:,} {what}" for what, count in totals.items()))
    click.echo(f"{failed} processes failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
