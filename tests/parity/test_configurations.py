"""The rule for what torch's own test suites try: a sample of it passes, all in one process."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "configurations.py"
SAMPLE = 12


def test_a_sample_of_the_configurations_passes():
    """The benchmark counts as many right as it tried and says so by its exit code."""
    result = subprocess.run(
        [sys.executable, SCRIPT, "--limit", str(SAMPLE), "--failures"],
        capture_output=True,
        text=True,
        cwd=SCRIPT.parents[1],
        env={"PYTHONPATH": str(SCRIPT.parents[1])},
        check=False,
    )
    assert (result.returncode, result.stderr.count("edgernn ")) == (0, 1), result.stderr
    row = next(line for line in result.stdout.splitlines() if "edgernn" in line)
    assert row.split("│")[2:4] == [f" {SAMPLE}     ", f" {SAMPLE} "]
