"""An ONNX file read as a graph: within limits, and only if it is complete and consistent."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import onnx
import onnx_ir as ir
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from edgernn.errors import EdgernnError, SourceError
from edgernn.regular_files import read_bytes, regular_file_size
from edgernn.untrusted_text import quote

__all__ = ["decode", "readable"]

_MAX_BYTES = 2**31 - 1  # the limit of protobuf
_MAX_INLINED_NODES = 1_000_000
_MAX_DIGITS = 18

_Proto = Any  # a message of ONNX, whose classes are made at run time


class _BrokenError(Exception):
    """When a graph is not consistent; the message says where."""


def decode(path: Path) -> ir.Model:
    """Return the graph in the ONNX file `path`, its nodes in topological order.

    Weights in a file of their own are not read until they are used.

    Raises:
        SourceError: There is no such file, it is not an ONNX graph, not a whole one, or its
            weights are missing or not where they may be.
    """
    subject = f"`{path}`"
    data = read_bytes(path, subject, SourceError, _MAX_BYTES)
    try:
        proto = onnx.ModelProto.FromString(data)
        for tensor in [one for one in _messages(proto) if isinstance(one, onnx.TensorProto)]:
            _check_tensor(tensor, path)
        _check_functions(proto)
        model = ir.serde.deserialize_model(proto)
        ir.external_data.set_base_dir(model.graph, path.absolute().parent)
        model.graph.sort()
        _check_inputs(model)
        if not model.graph.outputs:
            raise _BrokenError("it has no output")
    except SourceError:
        raise
    except _BrokenError as error:
        raise SourceError(
            f"{subject} is not a whole ONNX graph: {error}. Save or download it again."
        ) from error
    except Exception as error:  # protobuf and onnx-ir have no common base class
        raise SourceError(
            f"{subject} is not an ONNX graph: it cannot be decoded as one. Save or download it "
            "again."
        ) from error
    return model


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raise for a failure inside that the graph in `path` cannot be read.

    A graph may be complete and have a node with too few inputs, or an attribute of another type.

    Raises:
        SourceError: Something but an error of edgernn's own was raised.
    """
    try:
        yield
    except (EdgernnError, ImportError):
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise SourceError(
            f"`{path}` is an ONNX graph that cannot be read: {reason[:300]}. Export the "
            "model again."
        ) from error


def _messages(message: _Proto) -> Iterator[_Proto]:
    """Yield a message and all in it, whose strings are UTF-8: protobuf gives others as bytes."""
    yield message
    for field, value in message.ListFields():
        values = [value] if isinstance(value, (str, bytes, Message)) else value
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for part in values:
                yield from _messages(part)
        elif field.type == FieldDescriptor.TYPE_STRING and any(type(v) is bytes for v in values):
            raise _BrokenError(f"a field `{field.name}` in it is not UTF-8 text")


def _check_tensor(tensor: _Proto, path: Path) -> None:
    """Check that a tensor has as many numbers as its dims say."""
    where = f"the tensor {quote(tensor.name)}"
    try:
        dtype = ir.DataType(tensor.data_type)
    except ValueError:
        raise _BrokenError(f"{where} is of dtype {tensor.data_type}, which ONNX lacks") from None
    if dtype == ir.DataType.UNDEFINED:
        raise _BrokenError(f"{where} has no dtype")
    if any(size < 0 for size in tensor.dims):
        raise _BrokenError(f"{where} has the dims {list(tensor.dims)}")
    count = math.prod(tensor.dims)
    nbytes = 0 if dtype == ir.DataType.STRING else -(-count * dtype.bitwidth // 8)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        _check_external(tensor, nbytes, where, path)
    elif tensor.HasField("raw_data"):
        if len(tensor.raw_data) != nbytes:
            raise _BrokenError(
                f"{where} has {len(tensor.raw_data):,} bytes; its dims {list(tensor.dims)} need "
                f"{nbytes:,}"
            )
    else:
        numbers = len(getattr(tensor, onnx.helper.tensor_dtype_to_field(tensor.data_type)))
        needed = 2 * count if dtype.name.startswith("COMPLEX") else count
        if dtype.bitwidth < 8:
            needed = nbytes
        if numbers != needed:
            raise _BrokenError(
                f"{where} has {numbers:,} numbers; its dims {list(tensor.dims)} need {needed:,}"
            )


def _check_external(tensor: _Proto, nbytes: int, where: str, path: Path) -> None:
    """Check that a tensor in another file is in one beside the graph, and is complete."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    file = _beside(path, location)
    size = regular_file_size(
        file, f"`{path}` keeps its weights in {quote(location)}, which", SourceError
    )
    offset = _number(entries.get("offset", "0"), where)
    length = _number(entries.get("length", str(nbytes)), where)
    if length != nbytes:
        raise _BrokenError(
            f"{where} has {length:,} bytes; its dims {list(tensor.dims)} need {nbytes:,}"
        )
    if offset + length > size:
        raise _BrokenError(
            f"{where} ends at byte {offset + length:,} of {quote(location)}, which has {size:,}"
        )


def _beside(path: Path, location: str) -> Path:
    """Return the file that a graph names, if it is beside the graph."""
    parts = PurePosixPath(location).parts + PureWindowsPath(location).parts
    absolute = PurePosixPath(location).is_absolute() or PureWindowsPath(location).anchor
    if not location or "\0" in location or absolute or ".." in parts:
        raise _BrokenError(f"it names {quote(location)}, which is not a file beside it")
    folder = path.absolute().parent
    file = folder / location
    if not os.path.exists(file):
        raise SourceError(
            f"`{path}` keeps its weights in {quote(Path(location).name)}, which is not beside it. "
            "Put both files into one folder."
        )
    # A link to the graph may be followed to where its weights are.
    homes = (folder.resolve(), path.resolve().parent)
    if not any(file.resolve().is_relative_to(home) for home in homes):
        raise _BrokenError(f"it names {quote(location)}, which is a link to another folder")
    return file


def _number(text: str, where: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS):
        raise _BrokenError(
            f"{where} starts or ends at {quote(text)}, which is not a number of bytes"
        )
    return int(text)


def _check_functions(model: _Proto) -> None:
    """Check that no function calls itself, and that there are not too many nodes once inlined."""
    bodies = {(f.domain, f.name, f.overload): f for f in model.functions}
    sizes: dict[tuple[str, str, str], int] = {}

    def size_of(nodes: Sequence[_Proto], above: tuple[tuple[str, str, str], ...]) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type, node.overload)
            if key in above:
                raise _BrokenError(f"its function {quote(node.op_type)} calls itself")
            if key in bodies and key not in sizes:
                sizes[key] = size_of(bodies[key].node, (*above, key))
            total += sizes.get(key, 1)
            graphs = [a.g for a in node.attribute if a.HasField("g")]
            graphs += [graph for a in node.attribute for graph in a.graphs]
            total += sum(size_of(graph.node, above) for graph in graphs)
            if total > _MAX_INLINED_NODES:
                raise _BrokenError(f"its functions have more than {_MAX_INLINED_NODES:,} nodes")
        return total

    size_of(model.graph.node, ())


def _check_inputs(model: ir.Model) -> None:
    """Check that every value that a node reads is an input, an initializer or computed."""
    for node in model.graph.all_nodes():
        for value in filter(None, node.inputs):
            if not _is_defined(value):
                raise _BrokenError(
                    f"its node {node.op_type} reads {quote(value.name or '')}, which is not defined"
                )
    for value in model.graph.outputs:
        if not _is_defined(value):
            raise _BrokenError(f"its output {quote(value.name or '')} is not defined")


def _is_defined(value: ir.Value) -> bool:
    return value.producer() is not None or value.is_graph_input() or value.is_initializer()
