"""Shards made by tasks are those made here, to the byte; what is not whole is no dataset."""

from __future__ import annotations

import socket

import pytest

from recsim_drpo.datasets import carried
from recsim_drpo.datasets.carried import Arrivals, in_pieces
from recsim_drpo.datasets.generate_shards import generate_shards
from recsim_drpo.datasets.staging import minari_root as datasets_in
from recsim_drpo.datasets.storage import Storage
from tests.datasets.test_storage import content
from tests.training.test_tasks import Elsewhere

IDS = ["ns/log-1-of-3-v0", "ns/log-2-of-3-v0", "ns/log-3-of-3-v0"]
ELSEWHERE = Elsewhere("ray")


@pytest.fixture
def make(minari_root, small_kwargs):
    """Makes three shards of a log; their ids."""

    def shards(*, stop=False, **changes):
        options = {"num_rounds": 30_000, "env_kwargs": dict(small_kwargs), "card": False}
        made = generate_shards("ns/log-v0", 3, **options | {"progress": False, **changes})
        if stop:
            first = next(made)
            made.close()
            return first
        return [each for each, rounds in made if rounds == 10_000]

    return shards


@pytest.fixture(scope="module")
def made_here(tmp_path_factory, small_kwargs):
    """A folder with the shards made here."""
    root = tmp_path_factory.mktemp("here")
    options = {"num_rounds": 30_000, "env_kwargs": dict(small_kwargs), "card": False}
    with datasets_in(root):
        made = list(generate_shards("ns/log-v0", 3, **options, progress=False))
    assert made == [(each, 10_000) for each in IDS]
    return root


@pytest.fixture
def here(made_here):
    """Their bytes, by id."""
    return {each: content(made_here / each) for each in IDS}


def test_shards_made_elsewhere_arrive_as_they_are_made_here(make, here, minari_root, monkeypatch):
    monkeypatch.setattr(carried, "PIECE_BYTES", 2**20)
    assert sorted(make(engine=ELSEWHERE)) == IDS
    assert {each: content(minari_root / each) for each in IDS} == here
    with pytest.raises(ValueError, match="There is a dataset 'ns/log-1-of-3-v0' already"):
        make(engine=ELSEWHERE)


@pytest.mark.parametrize("engine", [None, ELSEWHERE], ids=["here", "elsewhere"])
def test_into_a_storage_they_go_in_place_of_this_machine(make, here, minari_root, tmp_path, engine):
    pytest.importorskip("pyarrow")
    place = f"file://{tmp_path}/storage"
    assert sorted(make(engine=engine, storage=place)) == IDS
    assert not minari_root.exists() or not any(minari_root.rglob("*.hdf5"))
    for each in IDS:
        Storage(place).fetch(each)
    assert {each: content(minari_root / each) for each in IDS} == here
    with pytest.raises(ValueError, match="'ns/log-1-of-3-v0' already in the storage"):
        make(engine=engine, storage=place)


def test_vectors_that_a_worker_does_not_have_are_named_with_it(make, tmp_path, minari_root):
    kwargs = {"embeddings": str(tmp_path / "v.npy")}
    with pytest.raises(FileNotFoundError, match=f"on {socket.gethostname()} has no file .*v.npy"):
        make(engine=ELSEWHERE, env_kwargs=kwargs)
    assert not any(minari_root.rglob("*"))


def test_what_a_killed_worker_left_goes_when_another_comes(make, here, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    left = tmp_path / ".recsim-drpo" / "recsim-drpo.0a.partial" / "ns"
    left.mkdir(parents=True)
    assert sorted(make(engine=ELSEWHERE)) == IDS
    assert not (tmp_path / ".recsim-drpo").exists()


@pytest.mark.parametrize("engine", [None, ELSEWHERE], ids=["here", "elsewhere"])
def test_a_log_that_was_stopped_is_gone_on_with_and_another_is_refused(
    make, here, minari_root, engine
):
    made, _ = make(engine=engine, stop=True)
    (first,) = [each for each in IDS if (minari_root / each / "data").exists()]
    assert made == first
    before = (minari_root / first / "data" / "main_data.hdf5").stat().st_mtime_ns
    for other in ({"seed": 1}, {"scenario": "extreme"}, {"num_rounds": 30_001}):
        with pytest.raises(ValueError, match=f"There is a dataset '{first}' already; choose"):
            make(engine=engine, **other)
    assert sorted(make(engine=engine)) == [each for each in IDS if each != first]
    assert {each: content(minari_root / each) for each in IDS} == here
    assert (minari_root / first / "data" / "main_data.hdf5").stat().st_mtime_ns == before


def test_of_one_that_does_not_come_whole_nothing_is_left(here, made_here, minari_root):
    folder = made_here / IDS[0]
    values = list(in_pieces(folder, IDS[0], "rounds"))
    with Arrivals() as arrivals:
        for value in values[:-1]:
            assert arrivals.take(value) is None
    assert not list(minari_root.rglob("*"))
    spoilt = values[-1]._replace(data=bytes(len(values[-1].data)))
    with Arrivals() as arrivals:
        for value in values[:-1]:
            arrivals.take(value)
        with pytest.raises(ValueError, match=r"did not come from .* as it was"):
            arrivals.take(spoilt)
    assert not list(minari_root.rglob("*"))
    with Arrivals() as arrivals:
        assert [arrivals.take(value) for value in values][-1] == IDS[0]
    assert content(minari_root / IDS[0]) == here[IDS[0]]


def test_a_file_that_would_lie_elsewhere_is_refused(minari_root):
    begun = carried.Begun("ns/log-v0", "1 round", {"../x": (1, "")}, "node")
    with Arrivals() as arrivals, pytest.raises(ValueError, match=r"a file of the name '\.\./x'"):
        arrivals.take(begun)
    assert not minari_root.exists()
