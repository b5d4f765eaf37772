from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from recsim_drpo.cli.arguments import assignments
from recsim_drpo.core.json_text import assigned, json_value

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_a_value_is_what_was_written(value: object) -> None:
    assert json_value(json.dumps(value)) == value
    assert json_value(json.dumps(value).encode()) == value


@given(st.dictionaries(st.from_regex(r"[a-z_]+", fullmatch=True), VALUES))
def test_words_of_values_are_read_as_these_values(values: dict[str, object]) -> None:
    assert assignments(assigned(values)) == values


def test_a_text_is_in_quotes_only_where_it_would_be_something_else() -> None:
    values = {"rate": 0.1, "sigma": "state", "name": "1", "flag": True, "kind": "true"}
    words = ["rate=0.1", "sigma=state", 'name="1"', "flag=true", 'kind="true"']
    assert assigned(values) == words


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[" * 9_999 + "]" * 9_999])
def test_what_is_nested_too_deeply_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        json_value(text)


@pytest.mark.parametrize("text", ["", "{", "x", "[1,]", b"\xff\xfe\x00", "9" * 5_000])
def test_what_is_no_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message is the library's
        json_value(text)
