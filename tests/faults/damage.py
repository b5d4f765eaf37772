"""Damage done at random to valid files: bytes, JSON, NumPy's headers, and what HDF5 holds."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np

VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 7, 2**31, 2**63, 10**12, 10**30, 10**400, -(10**12), 0.5, -0.5,
    1e300, -1e300, float("nan"), float("inf"), "", "1", "x", "x" * 5000, "a\nb", "\ud800", "é",
    [], {}, [[]], [None], ["a", 1], {"a": 1}, {"": None}, [1, 2], [0.0, 1.0], [1.0, 0.0],
    [1e308, -1e308], {"numbers": 3}, "float16", "bc", "../..", "/", "os:system", "recsim/none-v0",
)  # fmt: skip


def damage_bytes(path: Path, random: Random) -> str:
    """Flip, cut off, remove, double or overwrite bytes of a file; says what was done."""
    data = bytearray(path.read_bytes())
    kind = random.choice(("flip", "flip", "flip", "cut", "cut", "remove", "double", "overwrite"))
    at = random.randrange(max(1, len(data)))
    if kind == "flip":
        # The beginning of most formats says what the rest is.
        for _ in range(random.choice((1, 1, 2, 8))):
            where = random.randrange(min(len(data), random.choice((64, 512, 4096, len(data)))) or 1)
            if data:
                data[where] ^= 1 << random.randrange(8)
    elif kind == "cut":
        del data[at:]
    elif kind == "remove":
        del data[at : at + random.choice((1, 4, 64))]
    elif kind == "double":
        data[at:at] = data[at : at + random.choice((1, 8, 64))]
    else:
        data[at : at + 8] = random.choice((b"\xff" * 8, b"\0" * 8, random.randbytes(8)))
    path.write_bytes(data)
    return f"{path.name}: {kind} at {at}"


def damage_json(path: Path, random: Random) -> str:
    """Replace, delete, rename or add a value at a random place of a JSON file."""
    values = json.loads(path.read_text(encoding="utf-8"))
    what = _damage_value(values, random)
    path.write_text(json.dumps(values), encoding="utf-8")
    return f"{path.name}: {what}"


def _damage_value(values: Any, random: Random) -> str:
    places: list[tuple[Any, Any]] = []

    def visit(value: Any) -> None:
        keys = value.keys() if isinstance(value, dict) else range(len(value))
        for key in keys:
            places.append((value, key))
            if isinstance(value[key], dict | list):
                visit(value[key])

    visit(values)
    holder, key = random.choice(places)
    former = holder[key]
    if isinstance(former, str) and former.startswith("{") and random.random() < 0.7:
        inner = json.loads(former)  # of an environment, of a space, of a state
        what = _damage_value(inner, random)
        holder[key] = json.dumps(inner)
        return f"{key} within: {what}"
    kind = random.choice(("replace", "replace", "replace", "delete", "rename", "deep"))
    if kind == "replace":
        holder[key] = random.choice(VALUES)
        return f"{key!r} = {str(holder[key])[:40]!r}"
    if kind == "delete":
        del holder[key]
    elif kind == "rename" and isinstance(holder, dict):
        holder[random.choice(("other", "", key + "_", "device", "dtype"))] = holder.pop(key)
    else:
        deep: Any = former
        for _ in range(random.choice((1, 5, 900))):
            deep = [deep] if random.random() < 0.5 else {"a": deep}
        holder[key] = deep
    return f"{kind} {key!r}"


def damage_npy(data: bytes, random: Random) -> tuple[bytes, str]:
    """Another header, or other bytes, of a .npy file."""
    array = np.load(io.BytesIO(data))
    shape = array.shape
    descriptions = (
        "|O", "<f4", "<f8", "<c16", "|S8", "<U4", "|V8", "<i8", "|b1", ">f4", "<M8[s]", "<f2",
        "|V2000000000", [("a", "<f4")], "nonsense", 7, None,
    )  # fmt: skip
    shapes = (
        (10**12,), (10**12, 4), (2**62, 2**62), (-1, 4), (), (0, 4), (4, 0), shape[::-1], shape,
        (len(array) + 1, *shape[1:]), (len(array) - 1, *shape[1:]), "x", (1.5,), None, [4], (True,),
    )  # fmt: skip
    kind = random.choice(("descr", "shape", "order", "text", "length", "version"))
    header: dict[str, Any] = {"descr": array.dtype.str, "fortran_order": False, "shape": shape}
    if kind == "descr":
        header["descr"] = random.choice(descriptions)
    elif kind == "shape":
        header["shape"] = random.choice(shapes)
    elif kind == "order":
        header["fortran_order"] = random.choice((True, 1, "yes", None))
    text = repr(header) + "\n"
    if kind == "text":
        text = random.choice(
            (text[: random.randrange(len(text))], text.replace("'", '"""', 1), "(" * 500 + text,
             text.replace("shape", "shapes"), "__import__('os').getcwd()\n", "\0" * 20, "{1: 2}\n",
             text + "\n" + text, "[" * 2000, text.replace(":", "\\", 1), "'''\n", "{'a': 1e}")
        )  # fmt: skip
    length = random.choice((0, 1, 65535, 10)) if kind == "length" else len(text.encode())
    version = random.choice((0, 2, 3, 4, 9, 255)) if kind == "version" else 1
    start = b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", length)
    return start + text.encode() + array.tobytes(), kind


def damage_npz(path: Path, random: Random) -> str:
    """Damage a member of an archive: its .npy, its name, its place among the others."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = random.choice(list(members))
    kind = random.choice(("npy", "npy", "npy", "name", "twice", "bomb", "gone", "bytes"))
    if kind == "npy":
        members[name], what = damage_npy(members[name], random)
        kind = f"{kind} {what}"
    elif kind == "name":
        members[random.choice(("a.npy", "x.txt", "../x.npy", "item_ids", "y.npy"))] = members.pop(
            name
        )
    elif kind == "bomb":
        array = np.lib.format.header_data_from_array_1_0(np.zeros((2, 4), np.float32))
        stream = io.BytesIO()
        np.lib.format.write_array_header_1_0(stream, {**array, "shape": (2**24, 5)})
        members[name] = stream.getvalue() + bytes(4 * 2**24 * 5)
    elif kind == "gone":
        del members[name]
    elif kind == "bytes":
        data = bytearray(members[name])
        data[random.randrange(len(data))] ^= 255
        members[name] = bytes(data)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
        if kind == "twice":
            archive.writestr(f"_{name}", members[name])
    return f"{path.name}: {kind}"


def damage_safetensors(path: Path, random: Random) -> str:
    """Another header of a safetensors file."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    if random.random() < 0.2:
        length = random.choice((0, 1, length - 1, length + 1, 2**40, 2**63))
        path.write_bytes(struct.pack("<Q", length) + data[8:])
        return f"{path.name}: header of {length} bytes"
    what = "dtype"
    names = [name for name in header if name != "__metadata__"]
    name = random.choice(names)
    tensor = header[name]
    kind = random.random()
    if kind < 0.3:
        types = {"I32": 32, "F32": 32, "F64": 64, "BOOL": 8, "F16": 16, "BF16": 16, "U8": 8}
        types |= {"F8_E4M3": 8, "C64": 64, "X": 8, "I64": 64}
        tensor["dtype"] = random.choice([*types])
        size = 8 * (tensor["data_offsets"][1] - tensor["data_offsets"][0])
        tensor["shape"] = [size // types[tensor["dtype"]]]
    elif kind < 0.5:
        what, tensor["shape"] = (
            "shape",
            random.choice(
                (
                    [],
                    [0],
                    tensor["shape"][::-1],
                    [*tensor["shape"], 1],
                    [1, *tensor["shape"]],
                    [2**62, 4],
                )
            ),
        )
    elif kind < 0.6:
        what, header[name + "_"] = "name", header.pop(name)
    elif kind < 0.7:
        what, header[random.choice(names)] = "swap", dict(tensor)
    else:
        what = _damage_value(header, random)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    return f"{path.name}: {what} of {name}"


def damage_hdf5(path: Path, random: Random) -> str:
    """Delete, rename, retype, resize or replace a group, a column or an attribute."""
    with h5py.File(path, "r+") as file:
        places: list[str] = []
        file.visit(places.append)
        place = random.choice(places)
        kind = random.choice(
            ("delete", "rename", "retype", "resize", "replace", "attribute", "link")
        )
        holder, _, name = place.rpartition("/")
        group = file[holder] if holder else file
        member = group[name]
        if kind == "delete":
            del group[name]
        elif kind == "rename":
            group.move(name, random.choice((name + "_", "x", "episode_7", "rewards", "ä")) + "2")
        elif kind == "attribute":
            owner = random.choice((member, file))
            owner.attrs[random.choice(("total_steps", "id", "seed", "x"))] = random.choice(
                (2**40, -1, "x", 1.5, np.zeros(3))
            )
        elif kind == "link":
            del group[name]
            group[name] = random.choice(
                (h5py.SoftLink("/nowhere"), h5py.SoftLink("/"), h5py.SoftLink(f"/{place}"),
                 h5py.ExternalLink("other.hdf5", "/x"), h5py.ExternalLink("/etc/passwd", "/"))
            )  # fmt: skip
        elif kind == "replace" or isinstance(member, h5py.Group):
            _replace(group, name, random)
            kind = "replace"
        elif kind == "retype":
            values = member[()]
            del group[name]
            kinds = (np.float64, "S8", np.complex128, h5py.string_dtype(), "V4")
            dtype = random.choice(kinds)
            if dtype == "V4":
                group[name] = np.zeros(len(values), dtype="V4")
            elif dtype in (np.float64, np.complex128) and values.dtype.kind in "biuf":
                group[name] = values.astype(dtype)
            else:
                flat = [str(value) for value in np.asarray(values).reshape(len(values), -1)[:, 0]]
                group.create_dataset(
                    name, data=np.array(flat, dtype="S8") if dtype == "S8" else flat
                )
            kind = f"retype {dtype}"
        else:
            rows = len(member)
            to = random.choice((0, 1, rows - 1, rows + 1, 10**7, 10**12))
            member.resize(max(0, to), axis=0)
            kind = f"resize {to}"
    return f"{path.name}: {kind} {place}"


def _replace(group: Any, name: str, random: Random) -> None:
    del group[name]
    kind = random.choice(("group", "scalar", "text", "empty", "huge", "type", "cycle", "matrix"))
    if kind == "group":
        group.create_group(name)
    elif kind == "scalar":
        group[name] = 7
    elif kind == "text":
        group[name] = "text"
    elif kind == "empty":
        group[name] = h5py.Empty("f4")
    elif kind == "huge":
        group.create_dataset(
            name, shape=(10**9, 10), dtype="f4", chunks=(2**16, 10), compression="gzip"
        )
    elif kind == "type":
        group[name] = np.dtype("f4")
    elif kind == "cycle":
        group[name] = group
    else:
        group[name] = np.zeros((3, 2, 2), dtype=np.float32)
