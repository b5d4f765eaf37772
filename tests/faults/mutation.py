"""Damage to valid files, at random and of the kinds that real files have."""

from __future__ import annotations

import random

_TOKENS = (
    b"",
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b'"',
    b'""',
    b'\\"',
    b"'",
    b",",
    b";",
    b"\t",
    b"|",
    b"\n",
    b"\r",
    b"\r\n",
    b"nan",
    b"NaN",
    b"inf",
    b"-Infinity",
    b"1e400",
    b"-1e39",
    b"9" * 30,
    b"9" * 5000,
    b"0x10",
    b"1_000",
    b"true",
    b"null",
    b"{}",
    b"[]",
    b"{",
    b"[",
    b"]",
    b"}",
    b":",
    b'{"a": {"b": [1, {"c": null}]}}',
    b"\\ud800",
    b"\xc3\xa9",
    b"\xf0\x9f\x9a\x80",
    b"\x1a",
    b"\x1a2",
    b"-0",
    b"2020-01-31T12:30:00Z",
    b"9999-99-99 99:99:99",
    b"<script>alert(1)</script>",
    b"=1+1",
    b"x" * 70_000,
    b"x" * 200_000,
    b"[" * 3_000,
    b"[" * 500 + b"]" * 500,
    b"[" * 960 + b"]" * 960,
    b"[" * 100_000,
    b'{"a":' * 100_000,
)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Data with one to four damages."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(_DAMAGES)(data, rng)
    return data


def _flip(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return data
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20))):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _overwrite(data: bytes, rng: random.Random) -> bytes:
    start, end = _range(data, rng)
    return data[:start] + rng.randbytes(end - start) + data[end:]


def _extreme(data: bytes, rng: random.Random) -> bytes:
    """Fewer than nine bytes all zeros or all ones: lengths and offsets that are none."""
    start = rng.randrange(len(data) + 1)
    size = rng.choice((1, 2, 4, 8))
    filler = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80"))
    return data[:start] + filler * size + data[start + size :]


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _head_off(data: bytes, rng: random.Random) -> bytes:
    return data[rng.randrange(len(data) + 1) :]


def _delete(data: bytes, rng: random.Random) -> bytes:
    start, end = _range(data, rng)
    return data[:start] + data[end:]


def _repeat(data: bytes, rng: random.Random) -> bytes:
    start, end = _range(data, rng)
    return data[:end] + data[start:end] * rng.choice((1, 1, 2, 50)) + data[end:]


def _insert(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(_TOKENS) + data[at:]


def _replace_cell(data: bytes, rng: random.Random) -> bytes:
    """What stands between two signs of text, by something else."""
    signs = [i for i, byte in enumerate(data[:20_000]) if byte in b',\n\t:;"{}[] ']
    if len(signs) < 2:
        return _insert(data, rng)
    place = rng.randrange(len(signs) - 1)
    return data[: signs[place] + 1] + rng.choice(_TOKENS) + data[signs[place + 1] :]


def _lines(data: bytes, rng: random.Random) -> bytes:
    lines = data.split(b"\n")
    kind = rng.randrange(4)
    if kind == 0:
        rng.shuffle(lines)
    elif kind == 1:
        del lines[rng.randrange(len(lines))]
    elif kind == 2:
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
    else:
        return rng.choice((b"\r\n", b"\r", b"\n\n", b"\0", b"")).join(lines)
    return b"\n".join(lines)


def _range(data: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice((1, 2, 5, 20, 200)))


_DAMAGES = (
    _flip,
    _overwrite,
    _extreme,
    _cut,
    _head_off,
    _delete,
    _repeat,
    _insert,
    _insert,
    _replace_cell,
    _replace_cell,
    _replace_cell,
    _lines,
)
