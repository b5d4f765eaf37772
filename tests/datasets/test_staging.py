from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections import namedtuple
from contextlib import suppress

import minari
import minari.namespace
import numpy as np
import pytest
from minari.storage.datasets_root_dir import get_dataset_path

from recsim_drpo import generate_dataset, load_transitions
from recsim_drpo.datasets import staging
from recsim_drpo.datasets.generation.statistics import LogStatistics


def test_an_existing_dataset_is_kept(generate, arrays, small_kwargs):
    before = arrays(generate("kept-v0", small_kwargs))
    with pytest.raises(ValueError, match="There is a dataset 'kept-v0' already"):
        generate("kept-v0", small_kwargs, seed=9)
    with pytest.raises(ValueError, match="lies inside the dataset"):
        generate("kept-v0/inner-v0", small_kwargs)
    after = arrays(minari.load_dataset("kept-v0"))
    np.testing.assert_array_equal(before["rewards"], after["rewards"])


def test_a_full_disk_is_seen_before_any_work(nothing_is_left, generate, small_kwargs, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 10**6))
    with pytest.raises(OSError, match=r"rounds need about .* GB and 0\.00 GB are free") as caught:
        generate("full-v0", small_kwargs)
    assert caught.value.errno == errno.ENOSPC
    assert nothing_is_left()


def test_a_disk_that_fills_up_leaves_nothing(nothing_is_left, generate, small_kwargs, monkeypatch):
    add, calls = LogStatistics.add, []

    def fill_up(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        add(self, *arguments)

    monkeypatch.setattr(LogStatistics, "add", fill_up)
    with pytest.raises(OSError, match=r"No space left on device\. Nothing was left behind"):
        generate("ns/full-v0", small_kwargs, num_rounds=30_000)
    assert nothing_is_left()
    monkeypatch.setattr(LogStatistics, "add", add)
    assert generate("ns/full-v0", small_kwargs).total_steps == 500


def test_a_folder_that_cannot_be_written(generate, tmp_path, small_kwargs, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(blocked))
    with pytest.raises(OSError, match="file"):
        generate("a-v0", small_kwargs)
    assert blocked.read_text() == ""


@pytest.mark.parametrize("moment", ["late", pytest.param("data", marks=pytest.mark.slow)])
def test_killed_at_any_moment_nothing_is_listed_and_a_rerun_works(
    generate, minari_root, small_kwargs, moment
):
    script = f"""
import recsim_drpo
recsim_drpo.generate_dataset("ns/killed-v0", env_kwargs={dict(small_kwargs)!r},
    num_rounds=3_000_000, progress=False, card=False)
"""
    process = subprocess.Popen([sys.executable, "-c", script], env=dict(os.environ))
    staged = minari_root / ".recsim-drpo" / "ns__killed-v0.partial" / "data" / "main_data.hdf5"
    least = 1 if moment == "data" else 2_000_000
    deadline = time.monotonic() + 120
    while not (staged.exists() and staged.stat().st_size >= least):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert minari.list_local_datasets() == {}
    with pytest.raises(RuntimeError, match="Another process is generating 'ns/killed-v0'"):
        generate("ns/killed-v0", small_kwargs)
    assert generate("ns/other-v0", small_kwargs).total_steps == 500
    assert staged.exists()  # a living process's is left alone
    minari.delete_dataset("ns/other-v0")
    process.send_signal(signal.SIGKILL)
    process.wait()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert minari.list_local_datasets() == {}
    if moment == "late":  # a dataset of another id takes away what is dead
        generate("ns/other-v0", small_kwargs)
        minari.delete_dataset("ns/other-v0")
        assert not staged.parent.parent.exists()
    assert generate("ns/killed-v0", small_kwargs).total_steps == 500
    assert list(minari.list_local_datasets()) == ["ns/killed-v0"]
    assert not (minari_root / ".recsim-drpo").exists()


@pytest.mark.parametrize("before", [None, "elsewhere"])
def test_minaris_folder_is_put_back(tmp_path, monkeypatch, before):
    if before is None:
        monkeypatch.delenv("MINARI_DATASETS_PATH", raising=False)
    else:
        monkeypatch.setenv("MINARI_DATASETS_PATH", before)
    with staging.minari_root(tmp_path / "here"):
        assert get_dataset_path() == tmp_path / "here"
    assert os.environ.get("MINARI_DATASETS_PATH") == before
    with suppress(KeyboardInterrupt), staging.minari_root(tmp_path / "here"):
        raise KeyboardInterrupt
    assert os.environ.get("MINARI_DATASETS_PATH") == before


@pytest.mark.parametrize(
    "root", ["with space", "ünïcödé-数据", "rela/tive", "./dot", "link", "link/../over", "slash/"]
)
@pytest.mark.parametrize("absolute", [False, True])
def test_minaris_folder_may_have_any_name(
    generate, shop, tmp_path, monkeypatch, small_kwargs, root, absolute
):
    here = tmp_path / "here"
    (here / "real").mkdir(parents=True)
    (here / "link").symlink_to("real")
    monkeypatch.chdir(here)
    monkeypatch.setenv("MINARI_DATASETS_PATH", os.path.join(here, root) if absolute else root)  # noqa: PTH118
    generate("ns/log-v0", small_kwargs, num_rounds=50)
    shop.load(shop.write(tmp_path / "log.csv", shop.GOOD))
    assert sorted(minari.list_local_datasets()) == ["ns/log-v0", "own/log-v0"]
    assert len(load_transitions("ns/log-v0").rewards) == 50
    assert (here / root / "ns/log-v0/data").is_dir()
    minari.delete_dataset("ns/log-v0")
    assert generate("ns/log-v0", small_kwargs, num_rounds=50).total_steps == 50


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("~/minari", "would be a folder named '~' here"),
        ("a\udcffb", "no printable character"),
        ("", "is empty; unset it"),
        (" ", "empty"),
    ],
)
def test_a_folder_of_minari_that_nobody_means_is_refused(
    generate, tmp_path, monkeypatch, small_kwargs, root, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", root)
    for attempt in (lambda: generate("a-v0", small_kwargs), lambda: load_transitions("a-v0")):
        with pytest.raises(ValueError, match=message):
            attempt()
    assert list(tmp_path.iterdir()) == []


def _generate_at_once(barrier, results, dataset_id, seed, kwargs):
    barrier.wait()
    try:
        generate_dataset(
            dataset_id, env_kwargs=kwargs, seed=seed, num_rounds=500, card=False, progress=False
        )
    except (ValueError, RuntimeError) as error:
        results.put((seed, str(error)))
    else:
        results.put((seed, ""))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes that start at one moment are forked")
@pytest.mark.parametrize("ids", [("ns/one-v0",) * 4, ("ns/a-v0", "ns/b-v0", "ns/c-v0", "ns/d-v0")])
def test_processes_that_make_datasets_at_one_moment(minari_root, arrays, small_kwargs, ids):
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(len(ids)), context.Queue()
    processes = [
        context.Process(
            target=_generate_at_once, args=(barrier, results, one, seed, dict(small_kwargs))
        )
        for seed, one in enumerate(ids)
    ]
    for process in processes:
        process.start()
    told = dict(results.get(timeout=120) for _ in processes)
    for process in processes:
        process.join()
    winners = [seed for seed, error in told.items() if not error]
    assert len(winners) == len(set(ids))
    for seed, error in told.items():
        if seed not in winners:
            assert "Another process is generating" in error or "There is a dataset" in error
    assert sorted(minari.list_local_datasets()) == sorted(set(ids))
    for seed in winners:
        alone = generate_dataset(
            f"alone/{seed}-v0",
            env_kwargs=dict(small_kwargs),
            seed=seed,
            num_rounds=500,
            card=False,
            progress=False,
        )
        expected, found = arrays(alone), arrays(minari.load_dataset(ids[seed]))
        for name, column in expected.items():
            np.testing.assert_array_equal(found[name], column)


def test_a_namespace_that_another_process_made_meanwhile(generate, small_kwargs, monkeypatch):
    def made_twice(name):
        minari.namespace.create_namespace(name)
        minari.namespace.create_namespace(name)

    monkeypatch.setattr(staging, "create_namespace", made_twice)
    assert generate("ns/log-v0", small_kwargs).total_steps == 500
