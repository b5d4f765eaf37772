"""Datasets in a place that all machines see: they come back to the byte, or are refused."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from recsim_drpo.datasets import storage as storage_module
from recsim_drpo.datasets.load import load_transitions
from recsim_drpo.datasets.storage import MANIFEST, Storage, fetch_dataset, fetched, put_dataset

pytest.importorskip("pyarrow")
ID = "ns/log-v0"


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def folder(generate, minari_root, small_kwargs):
    """The folder of a local dataset."""
    generate(ID, small_kwargs)
    return minari_root / ID


def memory(name):
    """The URI of a folder in memory, which an fsspec filesystem has."""
    pytest.importorskip("fsspec")
    return f"fsspec+memory://{name}"


@pytest.fixture(params=["path", "uri", "memory"])
def place(request, tmp_path):
    """A storage."""
    folder = tmp_path / "with a blank"
    uri = f"file://{tmp_path}/uri"
    return {"path": str(folder), "uri": uri, "memory": memory(tmp_path.name)}[request.param]


def test_a_dataset_comes_back_to_the_byte(folder, place):
    put_dataset(ID, place)
    before = content(folder)
    assert Storage(place).has(ID)
    shutil.rmtree(folder)
    assert fetch_dataset(ID, place).id == ID
    assert content(folder) == before
    put_dataset(ID, place)  # the same again is no fault


def test_one_that_is_opened_leaves_nothing_here(folder, place, minari_root, tmp_path):
    expected = load_transitions(ID)
    put_dataset(ID, place)
    shutil.rmtree(minari_root)
    with fetched([ID], place) as (dataset,):
        found = load_transitions(dataset)
        where = Path(dataset.spec.data_path)
        assert where.exists()
        assert where.is_relative_to(tmp_path) == ("memory" not in place)  # else it is a copy
    assert where.exists() == ("memory" not in place)
    assert not minari_root.exists()
    assert found.actions.equal(expected.actions)
    assert found.rewards.equal(expected.rewards)


def test_another_of_that_id_is_not_written_over(folder, place, generate, small_kwargs):
    put_dataset(ID, place)
    shutil.rmtree(folder)
    generate(ID, small_kwargs, seed=1)
    with pytest.raises(ValueError, match="There is a dataset 'ns/log-v0' already in the storage"):
        put_dataset(ID, place)
    with pytest.raises(ValueError, match="There is a dataset 'ns/log-v0' already"):
        fetch_dataset(ID, place)


def test_what_was_not_put_there_whole_is_no_dataset(folder, tmp_path, monkeypatch):
    place = str(tmp_path / "s")

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(storage_module, "json", SimpleNamespace(dumps=killed))
        with pytest.raises(KeyboardInterrupt):
            put_dataset(ID, place)
    assert (tmp_path / "s" / ID / "data" / "main_data.hdf5").exists()
    assert not Storage(place).has(ID)
    put_dataset(ID, place)  # over what was left
    assert Storage(place).manifest(ID)["dataset"] == ID


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["files"].update({"../x": [1, "a"]}), r"a file of the name '\.\./x'"),
        (lambda m: m["files"].update({"/etc/x": [1, "a"]}), "a file of the name '/etc/x'"),
        (lambda m: m.update(dataset="ns/other-v0"), "damaged: it is of 'ns/other-v0'"),
        (lambda m: m.pop("files"), "is damaged: .*files"),
        (lambda m: m["files"].update({"no": [1, "a"]}), "cannot be used .*no"),
        (lambda m: m["files"]["data/metadata.json"].__setitem__(1, "a"), "not as it was put there"),
    ],
)
def test_a_damaged_one_is_refused_and_nothing_is_left(folder, tmp_path, change, message):
    place = tmp_path / "s"
    put_dataset(ID, str(place))
    shutil.rmtree(folder)
    path = place / ID / MANIFEST
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=message):
        fetch_dataset(ID, str(place))
    assert not folder.exists()
    assert not (tmp_path / "x").exists()


def test_bytes_that_changed_are_seen(folder, tmp_path):
    place = tmp_path / "s"
    put_dataset(ID, str(place))
    shutil.rmtree(folder)
    file = place / ID / "data" / "main_data.hdf5"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"'data/main_data\.hdf5' is not as it was put there"):
        fetch_dataset(ID, str(place))
    assert not folder.exists()
    file.write_bytes(data[:-1])
    with (
        pytest.raises(ValueError, match=r"'data/main_data\.hdf5' is not as"),
        fetched([ID], str(place)),
    ):
        pass


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("foo://bucket/logs", "is no folder that pyarrow knows .*foo.*name one such as /mnt/logs"),
        ("s3:/bucket", "is no folder that pyarrow knows .*bucket name"),
        (" ", "--storage is empty"),
        ("fsspec+nothing://x", "is no folder that pyarrow knows"),
    ],
)
def test_places_that_are_none(place, message):
    with pytest.raises(ValueError, match=message):
        Storage(place)


def test_what_is_not_there_is_told_with_how_it_comes_there(tmp_path, minari_root):
    with pytest.raises(FileNotFoundError, match=r"'ns/log-v0' in the storage .* --storage"):
        fetch_dataset(ID, str(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises((ValueError, FileNotFoundError)):
        fetch_dataset(ID, str(tmp_path / "file"))


def test_without_pyarrow_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"--storage needs pyarrow: pip install"):
        Storage(str(tmp_path))
