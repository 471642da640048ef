"""Compare a step with contexts that edgernn found to the same step written by hand.

    python benchmarks/contexts.py
    python benchmarks/contexts.py --check

Each model is exported twice: as it is trained, over whole sequences; and as people write its
streaming twin, one step that takes and returns its contexts. Both step graphs run with the same
weights in one process, one thread, in interleaved rounds, through I/O bindings with two buffers in
turn and without any check. The median round counts, in CPU time.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime
import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional as F

import edgernn

_MOST = 1.3  # what edgernn wrote may take this many times what was written by hand


class Detector(nn.Module):
    """A causal convolution, a GRU and a head, over (batch, sequence, 40)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(40, 64, 5)
        self.rnn = nn.GRU(64, 64, batch_first=True)
        self.head = nn.Linear(64, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, sequence, 1)."""
        y = self.conv(F.pad(x.transpose(1, 2), (4, 0))).relu()
        result: torch.Tensor = self.head(self.rnn(y.transpose(1, 2))[0]).sigmoid()
        return result


class DetectorStep(Detector):
    """The same, one step of it: x (batch, 40)."""

    inputs = ("x:float32[batch,40]", "past:float32[batch,40,4]", "h:float32[1,batch,64]")

    def forward(  # type: ignore[override]
        self, x: torch.Tensor, past: torch.Tensor, h: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return (batch, 1), and the next context and state."""
        window = torch.cat((past, x[:, :, None]), 2)
        y = self.conv(window).relu()
        y, h = self.rnn(y.transpose(1, 2), h)
        return self.head(y)[:, 0].sigmoid(), window[:, :, 1:], h


class Dilated(nn.Module):
    """Four causal convolutions with dilations 1, 2, 4 and 8 and residuals, and an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(32, 32, 3, dilation=2**n) for n in range(4))
        self.rnn = nn.LSTM(32, 32, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, sequence, 32)."""
        y = x.transpose(1, 2)
        for conv in self.convs:
            assert isinstance(conv, nn.Conv1d)
            y = y + conv(F.pad(y, (2 * conv.dilation[0], 0))).tanh()
        result: torch.Tensor = self.rnn(y.transpose(1, 2))[0]
        return result


class DilatedStep(Dilated):
    """The same, one step of it: x (batch, 32)."""

    inputs = (
        "x:float32[batch,32]",
        *(f"past{n}:float32[batch,32,{2 ** (n + 1)}]" for n in range(4)),
        "h:float32[1,batch,32]",
        "c:float32[1,batch,32]",
    )

    def forward(  # type: ignore[override]
        self,
        x: torch.Tensor,
        past0: torch.Tensor,
        past1: torch.Tensor,
        past2: torch.Tensor,
        past3: torch.Tensor,
        h: torch.Tensor,
        c: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """Return (batch, 32), and the next contexts and states."""
        y, kept = x[:, :, None], []
        for conv, past in zip(self.convs, (past0, past1, past2, past3), strict=True):
            window = torch.cat((past, y), 2)
            y = y + conv(window).tanh()
            kept.append(window[:, :, 1:])
        out, (h, c) = self.rnn(y.transpose(1, 2), (h, c))
        return (out[:, 0], *kept, h, c)


class Framed(nn.Module):
    """A convolution of 128 samples every 64 and a GRU, over (batch, sequence) samples."""

    def __init__(self) -> None:
        super().__init__()
        self.frames = nn.Conv1d(1, 64, 128, stride=64, bias=False)
        self.rnn = nn.GRU(64, 96, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, frames, 96)."""
        y = self.frames(F.pad(x[:, None], (64, 0))).abs()
        result: torch.Tensor = self.rnn(y.transpose(1, 2))[0]
        return result


class FramedStep(Framed):
    """The same, one hop of it: x (batch, 64)."""

    inputs = ("x:float32[batch,64]", "past:float32[batch,64]", "h:float32[1,batch,96]")

    def forward(  # type: ignore[override]
        self, x: torch.Tensor, past: torch.Tensor, h: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return (batch, 96), and the next context and state."""
        window = torch.cat((past, x), 1)
        y = self.frames(window[:, None]).abs()
        y, h = self.rnn(y.transpose(1, 2), h)
        return y[:, 0], window[:, 64:], h


MODELS: Sequence[tuple[str, type[nn.Module], str, Any, dict[str, str]]] = (
    (
        "convolution, GRU",
        Detector,
        "x:float32[batch,sequence,40]",
        DetectorStep,
        {"past": "[1]", "h": "[2]"},
    ),
    (
        "4 dilated convolutions, LSTM",
        Dilated,
        "x:float32[batch,sequence,32]",
        DilatedStep,
        {**{f"past{n}": f"[{n + 1}]" for n in range(4)}, "h": "[5]", "c": "[6]"},
    ),
    (
        "framing, GRU",
        Framed,
        "x:float32[batch,sequence]",
        FramedStep,
        {"past": "[1]", "h": "[2]"},
    ),
)


def step_loop(artifact: edgernn.Artifact) -> Callable[[int], None]:
    """Return a loop over two I/O bindings of the step graph in turn, without any check."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        artifact.step, options, providers=["CPUExecutionProvider"]
    )
    contract = artifact.contract
    entry, result = contract.data_inputs("step")[0], contract.data_outputs("step")[0]
    shape = [1 if isinstance(size, str) else size for size in entry.shape]
    data = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    sides = [[contract.initial(state) for state in contract.states] for _ in range(2)]

    def bound(before: list[Any], after: list[Any]) -> Any:
        binding = session.io_binding()
        binding.bind_cpu_input(entry.name, data)
        binding.bind_output(result.name, "cpu")
        for state, given, taken in zip(contract.states, before, after, strict=True):
            binding.bind_cpu_input(state.input, given)
            binding.bind_output(state.output, "cpu", 0, taken.dtype, taken.shape, taken.ctypes.data)
        return binding

    bindings = bound(*sides), bound(*sides[::-1])

    def loop(steps: int, _memory: object = (sides, data)) -> None:  # bindings do not own it
        for step in range(steps):
            session.run_with_iobinding(bindings[step & 1])

    return loop


def ratio_of(loops: Sequence[Callable[[int], None]], steps: int, rounds: int) -> list[float]:
    """Return the median µs per step of each loop, in interleaved rounds."""
    times: list[list[float]] = [[] for _ in loops]
    for _ in range(rounds):
        for loop, found in zip(loops, times, strict=True):
            start = time.process_time()
            loop(steps)
            found.append((time.process_time() - start) / steps * 1e6)
    return [statistics.median(one) for one in times]


@click.command()
@click.option("--steps", default=2000, show_default=True, help="Steps of a round.")
@click.option("--rounds", default=15, show_default=True, help="Rounds.")
@click.option("--check", is_flag=True, help=f"Exit with 1 above {_MOST} ×.")
def main(steps: int, rounds: int, check: bool) -> None:
    """Print a table of times per step."""
    table = Table(title="µs per step, batch 1")
    for column in ("model", "by edgernn", "by hand", "edgernn : hand"):
        table.add_column(column, justify="left" if column == "model" else "right")
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name, trained, spec, by_hand, states in MODELS:
            torch.manual_seed(0)
            module = trained().eval()
            twin = by_hand().eval()
            twin.load_state_dict(module.state_dict())
            found = edgernn.export_model(
                module, Path(folder) / f"{trained.__name__}.edgernn", inputs=[spec]
            )
            hand = edgernn.export_model(
                twin,
                Path(folder) / f"{by_hand.__name__}.edgernn",
                inputs=list(by_hand.inputs),
                states=states,
            )
            ours, theirs = ratio_of([step_loop(found), step_loop(hand)], steps, rounds)
            worst = max(worst, ours / theirs)
            table.add_row(name, f"{ours:.1f}", f"{theirs:.1f}", f"{ours / theirs:.2f}")
    Console().print(table)
    if check and worst > _MOST:
        sys.exit(1)


if __name__ == "__main__":
    main()
