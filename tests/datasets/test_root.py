from __future__ import annotations

import pytest

from recsim_drpo.datasets.load import open_dataset
from recsim_drpo.datasets.root import dataset_folder
from recsim_drpo.datasets.staging import check_id


def test_the_folder_is_made_where_it_can_be(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "a" / "b"))
    assert dataset_folder("x/y-v0") == tmp_path / "a" / "b" / "x/y-v0"
    assert dataset_folder() == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("value", ["file", "file/below", "x" * 300])
@pytest.mark.parametrize("use", [open_dataset, check_id, dataset_folder])
def test_a_root_that_is_no_folder_is_named_with_its_variable(tmp_path, monkeypatch, value, use):
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", value)
    with pytest.raises(OSError, match=r"MINARI_DATASETS_PATH='.* is no folder for datasets \("):
        use("x-v0")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
