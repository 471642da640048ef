"""How far the measuring is: drawn between rounds, in notes, or not at all."""

from __future__ import annotations

import io
import sys
import threading

import pytest

from edgernn.cli.speeds.bench_progress import show_progress


class Terminal(io.StringIO):
    """A standard error that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_nothing_draws_while_a_call_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal no thread is started, and the line says what is measured and how far it is."""
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    before = threading.active_count()
    with show_progress(2) as (show, tick):
        show("batch 1, chunk 1")
        show("batch 1, chunk 100")
        tick()
        assert threading.active_count() == before
    text = terminal.getvalue()
    assert "0/2" in text
    assert "1/2" in text
    assert "batch 1, chunk 100" in text


def test_a_pipe_gets_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither control characters nor lines."""
    with show_progress(1) as (show, tick):
        show("batch 1, chunk 1")
        tick()
    assert capsys.readouterr() == ("", "")
