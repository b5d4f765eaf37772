"""Values and other libraries' errors on one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, strategies as st

from recsim_drpo.core.messages import LINE_WIDTH, one_line, short_line, shown, shown_path


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError


def test_a_short_value_is_its_repr() -> None:
    assert shown("tau") == "'tau'"
    assert shown(0.25) == "0.25"


def test_a_long_value_is_cut_to_80_characters() -> None:
    assert shown("x" * 3000) == "'" + "x" * 78 + "…"
    assert shown(list(range(1000))) == repr(list(range(1000)))[:79] + "…"


def test_a_value_of_several_lines_is_one_line() -> None:
    assert shown(np.zeros((2, 2), dtype=np.float32)) == (
        "array([[0., 0.], [0., 0.]], dtype=float32)"
    )


def test_a_number_of_numpy_is_shown_alike_by_all_its_versions() -> None:
    found = [shown(one) for one in (np.float64(0.5), np.int8(-3), np.bool_(True), np.str_("a"))]
    assert found == ["0.5", "-3", "True", "'a'"]
    assert shown(np.array(2.5)) == "2.5"
    assert shown(np.arange(2)) == "array([0, 1])"


def test_a_value_without_a_repr_is_its_type() -> None:
    assert shown(Unprintable()) == "<Unprintable>"


def test_an_error_is_one_line_and_never_empty() -> None:
    assert one_line(ValueError("a\n  b\n")) == "a b"
    assert one_line(EOFError()) == "EOFError"


@given(st.text())
def test_whatever_is_said_stays_on_one_short_line(text: str) -> None:
    for line, width in ((shown(text), 80), (one_line(OSError(text)), 200)):
        assert len(line) <= width
        assert len(line.splitlines()) == 1


def test_a_path_is_shown_by_its_end():
    assert shown_path(Path("a/b.npy")) == "'a/b.npy'"
    long = shown_path(f"{'x' * 500}/result.json")
    assert long.startswith("'…xxx")
    assert long.endswith("xxx/result.json'")
    assert len(long) == 80
    assert shown_path("a\nb" * 100).count("\n") == 0


def test_a_long_error_keeps_its_beginning_and_its_end() -> None:
    assert short_line("no\n  such\tfile") == "no such file"
    assert short_line("x" * LINE_WIDTH) == "x" * LINE_WIDTH
    line = short_line(f"name={'v' * 3_000} is unknown. Known: a, b.")
    assert len(line) == LINE_WIDTH
    assert line.startswith("name=vvv")
    assert line.endswith("vvv is unknown. Known: a, b.")


@given(st.text(max_size=2_000))
def test_any_text_is_one_line(text: str) -> None:
    line = short_line(text)
    assert len(line) <= LINE_WIDTH
    assert len(line.splitlines()) <= 1
