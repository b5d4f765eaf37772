from __future__ import annotations

import json

import pytest

from recsim_drpo.core import schemas
from recsim_drpo.core.schemas import (
    Bounds,
    Described,
    Finite,
    Range,
    check_shape,
    object_of,
    read_json,
)


class Sample(Described):
    count: int
    share: Finite = 0.5
    span: Range | None = None
    ends: Bounds | None = None
    inner: dict[str, Finite] | None = None


@pytest.mark.parametrize(
    "values",
    [
        {"count": 1},
        {"count": 1, "share": 1, "span": [0, 0.5], "other": [{}]},
        {"count": 1, "ends": [float("inf"), float("nan")], "inner": {"a": 1.5}},
    ],
)
def test_what_is_of_the_shape_passes(tmp_path, values):
    check_shape(Sample, values)
    (tmp_path / "a.json").write_text(json.dumps(values))
    assert str(object_of(tmp_path / "a.json", Sample)) == str(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "count: Field required"),
        ({"count": "1"}, "count='1': "),
        ({"count": True}, "count=True: "),
        ({"count": 1.0}, "count=1.0: "),
        ({"count": 1, "share": float("nan")}, "share=nan: "),
        ({"count": 1, "span": [1, 0]}, "the first is larger than the second"),
        ({"count": 1, "span": [1]}, r"span=\[1\]: "),
        ({"count": 1, "ends": "ab"}, "ends='ab': "),
        ({"count": 1, "inner": {"a": []}}, r"inner\.a=\[\]: "),
        ({"count": "x" * 10**6}, "count='xxx"),
        ({"count": 1, "inner": {"y" * 10**6: "a\nb"}}, "inner.yyy"),
        ([], "Input should be a valid dictionary"),
        (None, "Input should be a valid dictionary"),
    ],
)
def test_another_shape_is_told_in_one_line(values, message):
    with pytest.raises(ValueError, match=message) as caught:
        check_shape(Sample, values)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 360


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is not JSON"),
        (b"{", "it is not JSON"),
        (b"\xff", "it is not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * 64 + b"7" + b"]" * 64, "nested too deeply"),
        (b"9" * 10_000, "it is not JSON"),
    ],
)
def test_files_that_are_no_json(tmp_path, data, message):
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        read_json(tmp_path / "a.json")
    assert type(caught.value) is ValueError


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(schemas, "_MOST_BYTES", 10)
    (tmp_path / "a.json").write_text(" " * 11)
    with pytest.raises(ValueError, match="it is 11 bytes long"):
        read_json(tmp_path / "a.json")


def test_what_nests_as_deep_as_may_be_is_read(tmp_path):
    (tmp_path / "a.json").write_text("[" * 63 + "7" + "]" * 63)
    assert "7" in str(read_json(tmp_path / "a.json"))
