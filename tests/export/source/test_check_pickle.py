"""The rules for the pickles of TorchScript archives."""

from __future__ import annotations

import pickle

import pytest

from edgernn.errors import SourceError, UnsupportedModelError
from edgernn.export.source.check_pickle import check_pickle

_STORAGE = (
    b"(X\x07\x00\x00\x00storagectorch\n%bStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK%btQ"
)


def tensor(
    offset: int = 0, size: int = 3, stride: int = 1, numel: int = 3, kind: bytes = b"Float"
) -> bytes:
    """Return the pickle of one tensor of one axis."""
    o, s, t, n = (bytes([value]) for value in (offset, size, stride, numel))
    return (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n("
        + _STORAGE % (kind, n)
        + b"K" + o + b"(K" + s + b"t(K" + t + b"t\x89ccollections\nOrderedDict\n)RtR."
    )  # fmt: skip


def check(content: bytes) -> None:
    check_pickle(content, {"0": 12}.__getitem__, "data.pkl", "`m.pt`")


@pytest.mark.parametrize("content", [tensor(), tensor(2, 1, 9), tensor(9, 0), tensor(0, 2, 2)])
def test_a_tensor_within_its_storage_is_taken(content: bytes) -> None:
    """Offset, sizes and strides that stay within the storage pass."""
    check(content)


FAULTS: dict[str, tuple[bytes, str]] = {
    "offset": (tensor(1), "a tensor of [3] lies outside of its 3 numbers"),
    "stride": (tensor(stride=2), "a tensor of [3] lies outside of its 3 numbers"),
    "repeats": (
        tensor(stride=0).replace(b"(K\x03t", b"(J\x00\x00\x00\x01t"),
        "a tensor of [16777216] repeats its 3 numbers",
    ),
    "storage": (tensor(numel=4), "a storage of 16 bytes is cut short"),
    "dtype": (tensor(kind=b"Double"), "a storage of 24 bytes is cut short"),
    "no entry": (tensor().replace(b"\x000X", b"\x001X"), "'1'"),
    "after the end": (tensor() + b"}.", "it goes on after its end"),
    "opcode": (pickle.dumps([1], 4), "it has the opcode FRAME, which torch does not write"),
    "memo": (
        b"\x80\x02}r\xff\xff\xff\x7f.",
        "its memo has places that nothing is in",
    ),
    "depth": (b"\x80\x02" + b"]" * 200 + b"a" * 199 + b".", "its values are nested too deeply"),
    "cut": (tensor()[:-1], "pickle exhausted before seeing STOP"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_damaged_pickle_is_refused(case: str) -> None:
    """What torch would read past its end, or past its stack, is named."""
    content, fault = FAULTS[case]
    with pytest.raises(SourceError) as info:
        check(content)
    assert str(info.value) == (
        f"`m.pt` is a TorchScript archive that cannot be read: `data.pkl`: {fault}. Save or "
        "download it again."
    )


def test_quantized_weights_are_refused() -> None:
    """Quantized weights are named, with what to export instead."""
    with pytest.raises(UnsupportedModelError) as info:
        check(tensor(kind=b"QInt8"))
    assert str(info.value) == (
        "`m.pt` has quantized weights, `QInt8Storage` in `data.pkl`, which only torch can "
        'unpack. Export the float model; precision="int8" quantizes it.'
    )


def test_an_object_of_other_code_is_refused() -> None:
    """A class that is not the archive's own is named before anything is made of it."""
    with pytest.raises(SourceError) as info:
        check(b"\x80\x02cposix\nsystem\nX\x01\x00\x00\x00x\x85R.")
    assert str(info.value) == (
        "`m.pt` is a TorchScript archive that makes a `posix.system` in `data.pkl`, an object of "
        "code that is not in it. Making it would run that code, so it is not done unasked. If you "
        "trust its origin, repeat with trust=True; or export the model from its code."
    )
