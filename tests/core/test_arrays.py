from __future__ import annotations

import io
import json
import struct
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

from recsim_drpo.core import arrays
from recsim_drpo.core.arrays import read_npy, read_npz, read_safetensors
from recsim_drpo.simulator.embeddings import load_embeddings, load_item_ids

VECTORS = np.eye(4, dtype=np.float32)


def npy(header: str, data: bytes = VECTORS.tobytes(), version: int = 1) -> bytes:
    text = header.encode()
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(text)) + text + data


def described(shape: object = (4, 4), descr: object = "<f4") -> str:
    return repr({"descr": descr, "fortran_order": False, "shape": shape}) + "\n"


def test_arrays_are_read_as_they_were_written(tmp_path):
    np.save(tmp_path / "a.npy", VECTORS)
    read = read_npy(tmp_path / "a.npy")
    assert isinstance(read, np.memmap)
    np.testing.assert_array_equal(read, VECTORS)
    names = np.array(["x", "yy"])
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "a.npz", a=VECTORS, item_ids=names)
        found = read_npz(tmp_path / "a.npz")
        np.testing.assert_array_equal(found["a"], VECTORS)
        assert found["item_ids"].tolist() == ["x", "yy"]
    save_file({"a": VECTORS}, tmp_path / "a.safetensors")
    np.testing.assert_array_equal(read_safetensors(tmp_path / "a.safetensors")["a"], VECTORS)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", ""),
        (b"\x93NUMPY", ""),
        (npy("{'descr': '<f4', 'shape': (4, 4"), ""),
        (npy("'''\n"), ""),
        (npy("{" + "(" * 2000 + "\n"), ""),
        (npy("__import__('os').getcwd()\n"), ""),
        (npy(described(), version=9), ""),
        (npy(described(descr="nonsense")), ""),
        (npy(described((10**12, 4))), "declares (1000000000000, 4) of float32"),
        (npy(described((2**62, 2**62))), "declares"),
        (npy(described((-1, 4))), "(-1, 4)"),
        (npy(described((5, 4))), "80 bytes, and 64 are there"),
        (npy(described(descr="|O")), "it holds Python objects"),
        (npy(described(descr=[("a", "|O")])), "it holds Python objects"),
        (npy(described(descr="|V2000000000")), "bytes, and 64 are there"),
    ],
)
def test_headers_that_do_not_parse_or_declare_too_much(tmp_path, data, message):
    """Of a file by itself, and in an archive."""
    (tmp_path / "a.npy").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", data)
    reads = [(load_embeddings, "a.npy"), (load_embeddings, "a.npz"), (load_item_ids, "a.npy")]
    for read, name in reads:
        with pytest.raises(
            ValueError, match=rf"'{name}' is not a readable \.np[yz] file \("
        ) as caught:
            read(tmp_path / name)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) <= 400


def test_an_archive_that_would_become_much_larger(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "UNPACKED_FREELY", 10_000)
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.zeros((1000, 4)), b=np.zeros((1000, 4)))
    with pytest.raises(ValueError, match=r"it declares 64,256 bytes in an archive of \d{3}; keep"):
        read_npz(path)
    np.savez(path, a=np.zeros((1000, 4)), b=np.zeros((1000, 4)))
    assert sorted(read_npz(path)) == ["a", "b"]


def test_an_archive_that_lies_about_its_sizes(tmp_path):
    """A member is not read beyond the size that it declares."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", npy(described((2**22, 4)), bytes(2**26)))
    data = bytearray(stream.getvalue())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(signature) + offset
        data[at : at + 4] = struct.pack("<I", 200)
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(ValueError, match=r"Bad CRC-32|are there"):
        read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("names", [["x.txt"], ["a.npy", "../x.exe"]])
def test_an_archive_of_something_else(tmp_path, names):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name in names:
            archive.writestr(name, npy(described()))
    with pytest.raises(ValueError, match=r"in it is no \.npy"):
        read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 64]}},
        {"a": {"dtype": "F32", "shape": [16], "data_offsets": [0, 6400]}},
        {"a": {"dtype": "X", "shape": [16], "data_offsets": [0, 64]}},
        {"a": 7},
        [],
    ],
)
def test_headers_of_safetensors(tmp_path, header):
    text = json.dumps(header).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + VECTORS.tobytes())
    with pytest.raises(ValueError, match=r"'a\.safetensors' is not a readable \.safetensors file"):
        load_embeddings(path)
    path.write_bytes(struct.pack("<Q", 2**62) + text)
    with pytest.raises(ValueError, match="not a readable"):
        read_safetensors(path)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"embeddings": VECTORS.astype(complex)}, "vectors of complex64|vectors of complex128"),
        ({"embeddings": VECTORS.astype("U4")}, "vectors of <U4"),
        ({"embeddings": VECTORS, "item_ids": np.arange(4.0)}, "ids of float64"),
        ({"embeddings": VECTORS, "item_ids": np.zeros(4, "V3")}, r"ids of \|V3"),
    ],
)
def test_arrays_of_other_types(tmp_path, found, message):
    np.savez(tmp_path / "a.npz", **found)
    with pytest.raises(ValueError, match=message):
        load_embeddings(tmp_path / "a.npz")


def test_text_of_what_is_no_character_is_refused(tmp_path):
    ids = np.array(["a", "bc"])
    codes = ids.view(np.uint32).copy()
    codes[1] = 0x110000
    wrong = codes.view(ids.dtype)
    np.save(tmp_path / "ids.npy", wrong)
    np.savez(tmp_path / "items.npz", ids=wrong)
    np.save(tmp_path / "right.npy", ids.astype(ids.dtype.newbyteorder()))
    assert read_npy(tmp_path / "right.npy").tolist() == ["a", "bc"]
    for read, name in ((read_npy, "ids.npy"), (read_npz, "items.npz")):
        with pytest.raises(ValueError, match="has what is no character"):
            read(tmp_path / name)
