"""Constant folding, by onnxscript's optimizer."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

import onnx_ir as ir
from onnxscript import optimizer

__all__ = ["OPSET", "fold_constants", "silence_exporters"]

OPSET = 18
"""The operator set that graphs are written in."""

# It warns of each weight that is an output, which is neither wrong nor of use.
logging.getLogger("onnx_ir.passes.common.initializer_deduplication").setLevel(logging.ERROR)


def fold_constants(model: ir.Model) -> None:
    """Compute what is constant, remove what nothing reads, infer shapes; in place."""
    no_limit = 1 << 40
    with silence_exporters():
        optimizer.optimize_ir(model, 2, input_size_limit=no_limit, output_size_limit=no_limit)


@contextlib.contextmanager
def silence_exporters() -> Iterator[None]:
    """Silence the warnings and logs of torch's exporter and onnxscript."""
    loggers = [logging.getLogger(name) for name in ("torch", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
