"""Results that are read back: right, or refused in one line that names file, key and value."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from recsim_drpo.benchmarks.reproduce.advice import locate
from recsim_drpo.benchmarks.reproduce.advice.leads import AXES, PAIRS
from recsim_drpo.benchmarks.reproduce.advice.log_features import FEATURES
from recsim_drpo.benchmarks.reproduce.framework.compact import compacted
from recsim_drpo.benchmarks.reproduce.publishing import cards, report
from recsim_drpo.benchmarks.reproduce.publishing.claims import (
    claims_page,
    with_headline,
    with_rules,
    with_table,
)
from recsim_drpo.benchmarks.reproduce.results import read_result
from recsim_drpo.benchmarks.reproduce.runner import PANELS, load_results
from tests.anything import refused_in_one_line
from tests.benchmarks.reproduce.published import README, ROOT, result
from tests.benchmarks.reproduce.publishing.example import mapped

PUBLISHED = sorted((ROOT / "benchmarks/results/reproduce").glob("*.json"))
Places = tuple[str | int, ...]


def the_map() -> dict[str, Any]:
    points = [
        dict.fromkeys(AXES, 1.0 + k % 2)
        | {"leads": {name: [k - 1.5, k - 1.0] for name in PAIRS}, "best_soft": "awr"}
        | {
            "log": {name: float(1 + k + place) for place, name in enumerate(FEATURES)},
            "label": f"{k}",
        }
        for k in range(4)
    ]
    return result("phase-map") | {"data": {"points": points}}


def condition() -> dict[str, Any]:
    weights = {"random": 0.9, "popularity": 0.05, "expert": 0.05}
    world = {"num_items": 40, "embedding_dim": 4, "num_topics": 3, "reward_noise": 0.5}
    logging = {"random_exponent": 0.5}
    return {
        "label": "extreme",
        "weights": weights,
        "world": world,
        "logging": logging,
        "num_rounds": 200_000,
    }


def results() -> dict[str, dict[str, Any]]:
    plain = result("table1") | {"pictures": ["table1.png", "table1.svg"]}
    plain["plans"][0]["conditions"] = [condition()]
    compact = copy.deepcopy(plain) | {"records": compacted(plain["records"])}
    return {"plain": plain, "compact": compact, "map": the_map()}


def places(value: Any, before: Places = ()) -> Iterator[Places]:
    """Where something stands in JSON, all of it."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        yield (*before, key)
        yield from places(value[key], (*before, key))


def changed(value: Any, place: Places, other: Any, is_gone: bool) -> Any:
    """A copy in which something else, or nothing, stands there."""
    copied = copy.deepcopy(value)
    parent = copied
    for key in place[:-1]:
        parent = parent[key]
    if is_gone:
        del parent[place[-1]]
    else:
        parent[place[-1]] = other
    return copied


OTHERS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([-1, 0, 10**6, 2**63, 10**400]),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["x" * 5_000, "a\nb", "\ud800", "table1"]),
    st.just([]),
    st.just({}),
    st.just([[]]),
    st.just([None]),
    st.just({"a": {"b": [1]}}),
)


def use(folder: Path) -> None:
    """All that is made of results."""
    loaded = load_results(folder)
    panels = [one.get(PANELS, []) for one in loaded]
    report.page(loaded, panels=panels, logs=list(cards.cards(loaded))).encode()
    if any(one["experiment"] == "phase-map" for one in loaded):
        points, elsewhere = locate.points_of(loaded)
        sentence, tables = locate.locate(dict.fromkeys(FEATURES, 1.0), points, elsewhere)
        assert sentence
        assert all(table.markdown() for table in tables)
    with_rules(README, loaded)
    with_headline(README, loaded)
    with_table(README, loaded)
    claims_page(loaded)


@pytest.fixture(autouse=True)
def small_logs(monkeypatch):
    monkeypatch.setattr(cards, "NUM_ROUNDS", 50)


@pytest.mark.parametrize("kind", results())
def test_a_result_as_it_should_be_is_used(tmp_path, kind):
    (tmp_path / "one.json").write_text(json.dumps(results()[kind]), encoding="utf-8")
    use(tmp_path)


@pytest.mark.parametrize("kind", results())
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), other=OTHERS, is_gone=st.booleans())
def test_whatever_stands_in_a_result_it_is_used_or_refused(tmp_path, kind, data, other, is_gone):
    whole = results()[kind]
    place = data.draw(st.sampled_from(list(places(whole))))
    folder = tmp_path / "results"
    folder.mkdir(exist_ok=True)
    text = json.dumps(changed(whole, place, other, is_gone))
    (folder / "one.json").write_text(text, encoding="utf-8")
    refused_in_one_line(lambda: use(folder))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), other=OTHERS, is_gone=st.booleans())
def test_whatever_stands_in_panels_it_is_drawn_or_refused(tmp_path, data, other, is_gone):
    folder = tmp_path / "results" / "phase-map"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps(the_map()), encoding="utf-8")
    panels = mapped()[PANELS]
    place = data.draw(st.sampled_from(list(places(panels))))
    text = json.dumps(changed(panels, place, other, is_gone))
    (folder / f"{PANELS}.json").write_text(text, encoding="utf-8")
    refused_in_one_line(lambda: use(folder.parent))


@pytest.mark.parametrize(
    ("place", "other", "message"),
    [
        (("quick",), "no", "quick: input should be a valid boolean (found 'no')."),
        (("plans", 0, "seeds", 1), "1", "plans[0].seeds[1]: input should be a valid integer"),
        (("verdicts", 0, "verdict"), "hold", "Did you mean 'holds'?"),
        (("tables", 0, "rows", 1), ["a"], "tables[0]: row 1 has 1 cells, not 4"),
        (("plans", 0, "conditions", 0, "world"), {"dleta": 1}, "plans[0].conditions[0]: "),
        (("records", 0, "test"), [], "records[0].test: input should be a valid dict"),
        (("wall_time_s",), -1, "wall_time_s: input should be greater than or equal to 0"),
    ],
)
def test_the_error_names_file_key_and_value(tmp_path, place, other, message):
    path = tmp_path / "table1.json"
    path.write_text(json.dumps(changed(results()["plain"], place, other, False)))
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        read_result(path)
    assert "table1.json' is no result of recsim-drpo reproduce: " in str(refused.value)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (lambda row: [*row, 1], "rows[0] has"),
        (lambda row: [99, *row[1:]], "rows[0] names place 99 of 2"),
        (lambda row: [*row[:3], [1.0], *row[4:]], "other numbers of values than of seeds"),
        (lambda row: [*row[:3], ["a", "b"], *row[4:]], "rows[0]: [0]: input should be"),
    ],
)
def test_compact_records_that_do_not_unfold_are_refused(tmp_path, row, message):
    whole = results()["compact"]
    whole["records"]["rows"][0] = row(whole["records"]["rows"][0])
    path = tmp_path / "table1.json"
    path.write_text(json.dumps(whole))
    with pytest.raises(ValueError, match="records") as refused:
        read_result(path)
    assert message in str(refused.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"a": 1' + "0" * 5_000])
def test_what_is_no_result_is_refused(tmp_path, text):
    path = tmp_path / "result.json"
    path.write_text(text)
    assert refused_in_one_line(lambda: read_result(path))
    path.write_bytes(b"\xff")
    assert refused_in_one_line(lambda: read_result(path))


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_what_is_published_is_read(path):
    """With what others may have added, too."""
    assert read_result(path)["experiment"] == path.stem
