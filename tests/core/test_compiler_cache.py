from __future__ import annotations

import pytest

from recsim_drpo.core.compiler_cache import cache_folder, no_empty_cache


def test_the_folder_is_torchs(monkeypatch, tmp_path):
    cache_dir_utils = pytest.importorskip("torch._inductor.runtime.cache_dir_utils")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    for name in ("alice", "a/b:c|d"):
        monkeypatch.setattr("getpass.getuser", lambda name=name: name)
        assert str(cache_folder()) == cache_dir_utils.default_cache_dir()

    def nobody():
        raise OSError("no user")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert str(cache_folder()) == cache_dir_utils.default_cache_dir()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    assert cache_folder() == tmp_path


def test_a_folder_goes_if_it_was_made_and_is_empty(monkeypatch, tmp_path):
    folder = tmp_path / "cache"
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder))
    with no_empty_cache():
        pass
    assert not folder.exists()

    def interrupted():
        with no_empty_cache():
            folder.mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not folder.exists()
    with no_empty_cache():
        folder.mkdir()
        (folder / "kernel").touch()
    assert (folder / "kernel").exists()
    (folder / "kernel").unlink()
    with no_empty_cache():  # somebody else's
        pass
    assert folder.exists()
