"""Files and folders appear whole or not at all."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from recsim_drpo.core import files
from recsim_drpo.core.files import (
    STAGING,
    atomic_dir,
    atomic_file,
    check_new_folder,
    claimed,
    is_staged,
    read_text,
    stale,
    sweep,
    write_atomically,
)

HOLD = """
import sys, time
from pathlib import Path
from recsim_drpo.core.files import atomic_dir, claimed
with {context}(Path({path!r})) as partial:
    if partial:
        (partial / "half").write_text("half")
    print("staged", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other_process():
    """Starts a process that is within such a block; the function it gives kills it."""
    processes = []

    def start(path, context="atomic_dir"):
        script = HOLD.format(context=context, path=str(path))
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        processes.append(process)
        assert process.stdout.readline() == b"staged\n"
        return lambda: (process.kill(), process.wait())

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def fill(partial, directory):
    (partial / "a" if directory else partial).write_text("half")


@pytest.mark.parametrize(("context", "directory"), [(atomic_dir, True), (atomic_file, False)])
def test_a_name_is_taken_when_the_block_has_ended(tmp_path, context, directory):
    target = tmp_path / "new" / "target"
    with context(target) as partial:
        fill(partial, directory)
        assert not target.exists()
    assert (target / "a" if directory else target).read_text() == "half"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(("context", "directory"), [(atomic_dir, True), (atomic_file, False)])
@pytest.mark.parametrize("fault", [KeyboardInterrupt, OSError])
def test_a_fault_leaves_nothing(tmp_path, context, directory, fault):
    def interrupted():
        with context(tmp_path / "target") as partial:
            fill(partial, directory)
            raise fault

    with pytest.raises(fault):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_kept(tmp_path):
    path = tmp_path / "target"
    path.write_text("mine")
    for context in (atomic_dir, atomic_file):
        with pytest.raises(FileExistsError, match="is there already"), context(path):
            pass
    with pytest.raises(NotADirectoryError, match="is a file"):
        check_new_folder(path / "below")
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


def test_a_text_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "text"
    for text in ("before\n", "é\n"):
        write_atomically(path, text)
        assert path.read_bytes() == text.encode()
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text(encoding="utf-8") == "é\n"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(
    tmp_path, other_process
):
    kill_one = other_process(tmp_path / "one")
    kill_two = other_process(tmp_path / "two")
    place = tmp_path / STAGING
    assert sweep(tmp_path) == stale(tmp_path) == []
    assert (place / "one.partial" / "half").read_text() == "half"
    kill_one()
    assert stale(tmp_path) == [place / "one.partial"]
    assert (place / "one.partial").exists()  # it was listed only
    write_atomically(tmp_path / "three", "3")
    assert not (place / "one.partial").exists()
    assert (place / "two.partial" / "half").read_text() == "half"
    assert sweep(tmp_path) == []
    kill_two()
    with atomic_dir(tmp_path / "two"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["three", "two"]
    assert list((tmp_path / "two").iterdir()) == []


def test_what_lies_in_a_place_of_what_is_being_written():
    for place in (STAGING, f"{STAGING}-1000"):
        assert is_staged(Path("out") / place / "seed-0.partial")
    for name in (f"{STAGING}-demo", f"{STAGING}-1000x", f"x{STAGING}", f"{STAGING}.txt"):
        assert not is_staged(Path("out") / name / "seed-0")


def test_a_folder_in_which_nothing_else_is_goes_with_what_was_left(tmp_path, other_process):
    other_process(tmp_path / "out" / "seed-0")()
    assert sweep(tmp_path / "out") == [tmp_path / "out" / STAGING / "seed-0.partial"]
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    assert sweep(tmp_path / "mine") == []
    assert (tmp_path / "mine").is_dir()


def test_one_process_at_a_time_makes_a_thing(tmp_path, other_process):
    kill = other_process(tmp_path / "one")
    for context in (atomic_dir, atomic_file):
        with (
            pytest.raises(RuntimeError, match=r"Another process is making '.*one' right now"),
            context(tmp_path / "one"),
        ):
            pass
    kill()
    with atomic_dir(tmp_path / "one") as partial:
        assert list(partial.iterdir()) == []


def test_work_that_takes_long_is_claimed_before_it(tmp_path, other_process):
    kill = other_process(tmp_path / "out" / "seed-1", "claimed")
    seeds = [tmp_path / "out" / f"seed-{seed}" for seed in (0, 1)]
    with (
        pytest.raises(RuntimeError, match=r"Another process is making '.*seed-1'"),
        claimed(*seeds),
    ):
        pass
    with claimed(seeds[0]), atomic_dir(seeds[0]):  # its own claim is in nobody's way
        pass
    kill()
    with claimed(*seeds):
        pass
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["seed-0"]


def test_folders_made_for_what_failed_go_with_it(tmp_path):
    def fail():
        with atomic_dir(tmp_path / "a" / "b" / "c"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_another_users_is_left_to_them(tmp_path, monkeypatch):
    (tmp_path / STAGING).mkdir()
    monkeypatch.setattr(files.os, "access", lambda path, mode: path.name != STAGING)
    monkeypatch.setattr(files, "sweep", lambda folder: [])  # root may all
    with atomic_file(tmp_path / "file") as partial:
        assert partial.parent == tmp_path / f"{STAGING}-{files.os.getuid()}"
        partial.write_text("")
    assert sorted(path.name for path in tmp_path.iterdir()) == [STAGING, "file"]


@pytest.mark.parametrize("name", ["é" * 127, "x" * 255, "a.lock", "a.partial"])
def test_any_name_that_a_folder_can_have(tmp_path, name):
    with atomic_dir(tmp_path / name):
        pass
    write_atomically(tmp_path / name / name, "")
    assert [path.name for path in tmp_path.rglob("*")] == [name, name]


def test_names_that_are_like_our_endings_are_told_apart(tmp_path, other_process):
    kill = other_process(tmp_path / "a.lock")
    other_process(tmp_path / "a")()
    assert stale(tmp_path) == [tmp_path / STAGING / "a.partial"]
    sweep(tmp_path)
    assert (tmp_path / STAGING / "a.lock.partial" / "half").exists()
    kill()
    assert len(sweep(tmp_path)) == 1
    assert not tmp_path.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_a_full_disk_is_named_by_what_was_to_be_made(tmp_path):
    path = tmp_path / "page.html"

    def write():
        with atomic_file(path) as partial:
            partial.symlink_to("/dev/full")
            partial.write_text("too much")

    with pytest.raises(OSError, match="No space left") as caught:
        write()
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_while_it_is_removed_leaves_nothing(tmp_path, monkeypatch):
    rmtree, calls = files.shutil.rmtree, []

    def interrupted(path, **options):
        calls.append(path)
        if len(calls) == 1:
            raise KeyboardInterrupt
        rmtree(path, **options)

    monkeypatch.setattr(files.shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt), files.staged(tmp_path / "a") as partial:
        partial.mkdir()
    assert len(calls) == 2
    assert list(tmp_path.iterdir()) == []


def test_of_a_folder_that_is_removed_no_part_is_seen(tmp_path, monkeypatch):
    folder = tmp_path / "unfinished"
    (folder / "deep").mkdir(parents=True)
    (folder / "training.json").write_text("{}")
    seen = []
    rmtree = files.shutil.rmtree

    def look(path, **options):
        seen.append(sorted(one.name for one in tmp_path.iterdir()))
        rmtree(path, **options)

    monkeypatch.setattr(files.shutil, "rmtree", look)
    files.discard(folder)
    files.discard(folder)  # which is not there
    assert seen == [[STAGING]]
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(OSError, match=path.name):
            read_text(path)
    mem = Path("/proc/self/mem")
    if mem.exists():
        with pytest.raises(OSError, match="mem"):
            read_text(mem)
    (tmp_path / "text").write_text("é", encoding="utf-8")
    assert read_text(tmp_path / "text") == "é"
