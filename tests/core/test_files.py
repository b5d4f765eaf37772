"""Files and folders appear whole or not at all."""

from __future__ import annotations

import pytest

from recsim_drpo.core.files import atomic_dir, atomic_file, check_new_folder, write_atomically


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
