"""Ways in which a file is damaged, each by a generator of random numbers."""

from __future__ import annotations

import contextlib
import io
import json
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

__all__ = ["MUTATIONS"]

_NUMBERS = (
    *("0", "-1", "1e999", "NaN", "null", "true", "0x7f", "1.5"),
    *(str(2**31), str(2**63), str(-(2**63)), "9" * 400, "9" * 5000),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**40, 0.5, -1e308),
    *("", "x", "\0", "\ud800", "../../x", "/etc/passwd", "a" * 5000, "a:b,c", "?", "batch*0"),
    *([], {}, [[]], [None], ["batch"], {"a": 1}, [1, "x"], [[1], [2, 3]]),
)
_INTEGERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)


_BRACKETS = (
    *((b"[", b"]"), (b'{"a":', b"}"), (b"(", b")"), (b'"', b'"'), (b"-", b"")),
    *((b"\x3a\x7f", b""), (b"(", b"l")),  # messages in messages; lists in a pickle
)


def _place(data: bytes, random: Random) -> int:
    return random.randrange(len(data) + 1)


def _span(data: bytes, random: Random) -> tuple[int, int]:
    start = _place(data, random)
    return start, min(len(data), start + random.choice((1, 2, 4, 8, 16, 64, 256)))


def flip(data: bytes, random: Random) -> bytes:
    """Turn some bits over."""
    damaged = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        if damaged:
            damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
    return bytes(damaged)


def truncate(data: bytes, random: Random) -> bytes:
    """Cut the end off, or the start."""
    place = _place(data, random)
    return data[:place] if random.random() < 0.8 else data[place:]


def duplicate(data: bytes, random: Random) -> bytes:
    """Let a part stand several times."""
    start, stop = _span(data, random)
    return data[:stop] + data[start:stop] * random.choice((1, 2, 1000)) + data[stop:]


def delete(data: bytes, random: Random) -> bytes:
    """Take a part out."""
    start, stop = _span(data, random)
    return data[:start] + data[stop:]


def swap(data: bytes, random: Random) -> bytes:
    """Let two parts change places."""
    first, second = sorted((_span(data, random), _span(data, random)))
    if first[1] > second[0]:
        return flip(data, random)
    return (
        data[: first[0]]
        + data[slice(*second)]
        + data[first[1] : second[0]]
        + data[slice(*first)]
        + data[second[1] :]
    )


def nul(data: bytes, random: Random) -> bytes:
    """Write NULs over a part, or into it."""
    start, stop = _span(data, random)
    return data[:start] + bytes(stop - start) + data[random.choice((start, stop)) :]


def not_utf_8(data: bytes, random: Random) -> bytes:
    """Write bytes that no UTF-8 has, or half of a character."""
    start, stop = _span(data, random)
    piece = random.choice((b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x1b[2J"))
    return data[:start] + piece + data[random.choice((start, stop)) :]


def huge_digits(data: bytes, random: Random) -> bytes:
    """Write another number where digits stand."""
    numbers = list(re.finditer(rb"-?\d+(\.\d+)?", data[:100_000]))
    if not numbers:
        return huge_integer(data, random)
    number = random.choice(numbers)
    return data[: number.start()] + random.choice(_NUMBERS).encode() + data[number.end() :]


def huge_integer(data: bytes, random: Random) -> bytes:
    """Write an extreme integer, little- or big-endian, over some bytes."""
    width = random.choice((1, 2, 4, 8))
    value = random.choice(_INTEGERS) & ((1 << (8 * width)) - 1)
    place = max(0, _place(data, random) - width)
    piece = struct.pack({1: "B", 2: "H", 4: "I", 8: "Q"}[width], value)[:: random.choice((1, -1))]
    return data[:place] + piece + data[place + width :]


def nest(data: bytes, random: Random) -> bytes:
    """Write many openings of something: brackets, messages in messages, marks of a pickle."""
    place = _place(data, random)
    depth = random.choice((50, 1000, 100_000))
    opening, closing = random.choice(
        (
            (b"[", b"]"),
            (b'{"a":', b"}"),
            (b"(", b")"),
            (b"\x3a\x7f", b""),
            (b"(", b"l"),
            (b"-", b""),
        )
    )
    end = closing * depth if random.random() < 0.5 else b""
    return data[:place] + opening * depth + b"0" + end + data[place:]


def confuse(data: bytes, random: Random) -> bytes:
    """Put a value of another type into a field of JSON, or take one out, or add one."""
    try:
        table = json.loads(data)
    except ValueError:
        return swap(data, random)
    places: list[tuple[Any, Any]] = []
    rest = [table] if isinstance(table, (dict, list)) else []
    while rest:
        holder = rest.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            places.append((holder, key))
            if isinstance(holder[key], (dict, list)):
                rest.append(holder[key])
    if not places:
        return swap(data, random)
    for _ in range(random.choice((1, 1, 1, 3))):
        holder, key = random.choice(places)
        try:
            if random.random() < 0.15:
                del holder[key]
            elif random.random() < 0.15:
                other, place = random.choice(places)
                holder[key], other[place] = other[place], holder[key]
            else:
                holder[key] = random.choice(_VALUES)
        except (KeyError, IndexError):
            continue
    try:
        return json.dumps(table).encode()
    except (ValueError, RecursionError):
        return swap(data, random)


# --- messages of ONNX -----------------------------------------------------------------------------


def restructure(data: bytes, random: Random) -> bytes:
    """Change, take out or repeat fields of an ONNX graph, and keep the bytes a message."""
    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError:
        return confuse(data, random)
    fields = [*_fields(model)]
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        message, field = random.choice(fields)
        alike = [other for other, _ in fields if type(other) is type(getattr(message, field.name))]
        with contextlib.suppress(ValueError):  # an integer that is too large for the field
            _change(message, field, alike, random)
    content: bytes = model.SerializeToString()
    return content


def _change(message: Any, field: Any, alike: list[Any], random: Random) -> None:
    value = getattr(message, field.name)
    if random.random() < 0.2:
        message.ClearField(field.name)
    elif isinstance(value, (int, float, str, bytes)):
        setattr(message, field.name, _other(value, random))
    elif isinstance(value, Message):
        value.CopyFrom(random.choice(alike or [value]))
    elif value:
        _change_list(value, random)


def _fields(message: Any) -> Iterator[tuple[Any, Any]]:
    for field, value in message.ListFields():
        yield message, field
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for part in [value] if isinstance(value, Message) else value:
                yield from _fields(part)


def _other(value: Any, random: Random) -> Any:
    """Return another value of a type that a field of a message has."""
    if isinstance(value, str):
        return random.choice(("", "x", "h_in", "../x", "a" * 1000, "LSTM", value + "x", "\n"))
    if isinstance(value, bytes):
        return random.choice((truncate, duplicate, flip, nul))(value, random)
    if isinstance(value, float):
        return random.choice((0.0, -1.0, float("nan"), float("inf"), 1e38))
    return random.choice((0, 1, 2, 3, 7, 16, 99, -1, 2**31 - 1, -(2**31), value + 1))


def _change_list(values: Any, random: Random) -> None:
    place = random.randrange(len(values))
    if random.random() < 0.4:
        del values[place]
    elif isinstance(values[place], Message):
        values.add().CopyFrom(values[place])
    else:
        values[place] = _other(values[place], random)


# --- archives -------------------------------------------------------------------------------------


def _rezipped(
    data: bytes,
    random: Random,
    change: Callable[[list[tuple[str, bytes]], Random], None],
    otherwise: Callable[[bytes, Random], bytes],
) -> bytes:
    """Return an archive with other entries; what is none is damaged `otherwise`."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    except zipfile.BadZipFile:
        return otherwise(data, random)
    change(entries, random)
    stream = io.BytesIO()
    method = zipfile.ZIP_STORED if random.random() < 0.7 else zipfile.ZIP_DEFLATED
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that stand twice
        with zipfile.ZipFile(stream, "w", method) as archive:
            for name, content in entries:
                archive.writestr(name, content)
    return stream.getvalue()


def zip_rename(data: bytes, random: Random) -> bytes:
    """Give an entry another name."""

    def change(entries: list[tuple[str, bytes]], random: Random) -> None:
        place = random.randrange(len(entries))
        names = ["../../x", "/x", "x", " ", "a" * 5000, "x\\y", random.choice(entries)[0]]
        name, content = entries[place]
        names += [name + "x", name.replace("/", "//"), name.replace("data", "_l99999")]
        entries[place] = (random.choice(names), content)

    return _rezipped(data, random, change, swap)


def zip_remove(data: bytes, random: Random) -> bytes:
    """Take an entry out."""

    def change(entries: list[tuple[str, bytes]], random: Random) -> None:
        del entries[random.randrange(len(entries))]

    return _rezipped(data, random, change, delete)


def zip_duplicate(data: bytes, random: Random) -> bytes:
    """Let an entry stand twice, the second time with the content of another."""

    def change(entries: list[tuple[str, bytes]], random: Random) -> None:
        entries.append((random.choice(entries)[0], random.choice(entries)[1]))

    return _rezipped(data, random, change, duplicate)


def zip_damage(data: bytes, random: Random) -> bytes:
    """Damage the content of an entry, and keep the archive whole around it."""

    def change(entries: list[tuple[str, bytes]], random: Random) -> None:
        place = random.randrange(len(entries))
        name, content = entries[place]
        damage = random.choice((flip, truncate, delete, nul, huge_digits, huge_integer, confuse))
        entries[place] = (name, damage(content, random))

    return _rezipped(data, random, change, flip)


def zip_bomb(data: bytes, random: Random) -> bytes:
    """Let an entry say that it unpacks to gigabytes, or really do so to many megabytes."""
    start = data.find(b"PK\x01\x02")
    if start < 0:
        return nest(data, random)
    if random.random() < 0.5:
        size = struct.pack("<I", random.choice((2**31, 2**32 - 2)))
        return data[: start + 24] + size + data[start + 28 :]

    def change(entries: list[tuple[str, bytes]], random: Random) -> None:
        place = random.randrange(len(entries))
        entries[place] = (entries[place][0], entries[place][1] + bytes(8 * 2**20))

    return _rezipped(data, random, change, nest)


MUTATIONS: dict[str, Callable[[bytes, Random], bytes]] = {
    damage.__name__: damage
    for damage in (
        *(flip, truncate, duplicate, delete, swap, nul, not_utf_8),
        *(huge_digits, huge_integer, nest, confuse, restructure),
        *(zip_rename, zip_remove, zip_duplicate, zip_damage, zip_bomb),
    )
}
"""Name of a kind of damage → the function that does it."""
