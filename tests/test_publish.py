from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recsim_drpo.benchmarks.reproduce import publish
from recsim_drpo.benchmarks.reproduce.claims import BEGIN, END, claims_page, with_headline
from recsim_drpo.benchmarks.reproduce.runner import load_results
from recsim_drpo.benchmarks.reproduce.verdicts import VERDICTS

ROOT = Path(__file__).resolve().parents[1]
README = f"# A project\n\n{BEGIN}\nold\n{END}\n\nThe rest.\n"


def record(condition: str, seed: int) -> dict[str, Any]:
    metrics = dict.fromkeys([*publish.METRICS, "gini"], 1.0 / 3.0)
    return {
        "condition": condition,
        "agent": "bc",
        "variant": 0,
        "overrides": {},
        "seed": seed,
        "diverged_at": None,
        "test": metrics | {"distance": None},
        "validation": 2.0 / 3.0,
        "offline": None,
        "curve": [[0.0, 0.1], [500.0, 0.2]],
    }


def table(scenario: str) -> dict[str, Any]:
    return {
        "title": f"Table 1, {scenario}",
        "header": ["agent", "reward", "eCPM, tuned online", "paper's eCPM"],
        "rows": [["bc", "0.3", f"1.5 [1.4, 1.6] {scenario}", "1.69"], ["apg", "0.0", "0.1", ""]],
        "note": "",
    }


def result(name: str, *, quick: bool = False) -> dict[str, Any]:
    conditions = [{"label": "medium", "num_rounds": n} for n in (200_000, 50_000)]
    return {
        "experiment": name,
        "quick": quick,
        "plans": [
            {
                "name": name,
                "conditions": conditions,
                "seeds": [0, 1],
                "training": {"steps": 5000},
            }
        ],
        "revision": "abc1234",
        "versions": {"torch": "2"},
        "device": "1 thread",
        "wall_time_s": 100.0,
        "verdicts": [
            {
                "claim": f"{name}, claim {number}",
                "statement": "P(a|b)\n<p is large.",
                "paper": "1.5",
                "ours": "1.5 [1.4, 1.6]",
                "verdict": kind,
                "because": "it is",
                "command": f"recsim-drpo reproduce {name}",
            }
            for number, kind in enumerate(VERDICTS)
        ],
        "tables": [table("medium"), table("extreme")],
        "data": {"share": 0.123456789},
        "records": [record(condition, seed) for condition in ("a", "b") for seed in (0, 1)],
    }


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "checkout" / "docs").mkdir(parents=True)
    (tmp_path / "checkout" / "README.md").write_text(README)
    return tmp_path / "checkout"


def left(folder: Path, *results: dict[str, Any]) -> Path:
    for one in results:
        (folder / one["experiment"]).mkdir(parents=True)
        (folder / one["experiment"] / "result.json").write_text(json.dumps(one))
        (folder / one["experiment"] / f"{one['experiment']}.png").write_bytes(b"picture")
        (folder / one["experiment"] / f"{one['experiment']}.svg").write_bytes(b"lines")
    return folder


def test_publish_keeps_what_is_small(tmp_path, checkout, capsys):
    folder = left(tmp_path / "reproduction", result("table1"), result("theory"))
    assert publish.main([str(folder), "--root", str(checkout)]) == 0
    assert "claims.md" in capsys.readouterr().out
    kept = json.loads((checkout / publish.RESULTS / "table1.json").read_text())
    given = result("table1")
    for key in ("plans", "verdicts", "tables", "revision", "versions", "device"):
        assert kept[key] == given[key]
    assert kept["data"] == {"share": 0.12346}
    assert len(kept["records"]) == 4
    first = kept["records"][0]
    assert "curve" not in first
    assert first["test"] == {
        "ecpm": 0.33333,
        "reward": 0.33333,
        "distance": None,
        "normalized": 0.33333,
        "coverage": 0.33333,
    }
    assert (first["condition"], first["agent"], first["seed"]) == ("a", "bc", 0)
    assert (checkout / publish.PICTURES / "table1.png").read_bytes() == b"picture"
    readme = (checkout / "README.md").read_text()
    assert "1.5 [1.4, 1.6] extreme" in readme
    assert "old" not in readme
    assert readme.endswith("The rest.\n")
    disagreements(checkout)


def test_experiments_can_be_published_one_at_a_time(tmp_path, checkout):
    publish.publish(left(tmp_path / "one", result("theory")), checkout)
    assert (checkout / "README.md").read_text() == README  # there is no Table 1 yet
    publish.publish(left(tmp_path / "two", result("table1")), checkout)
    claims = (checkout / "docs/claims.md").read_text()
    assert claims.index("## table1") < claims.index("## theory")
    before = (checkout / "README.md").read_text()
    publish.publish(tmp_path / "two", checkout)
    assert (checkout / "README.md").read_text() == before
    disagreements(checkout)


def test_quick_results_are_refused_before_anything_is_written(tmp_path, checkout, capsys):
    folder = left(tmp_path / "quick", result("table1"), result("table2", quick=True))
    assert publish.main([str(folder), "--root", str(checkout)]) == 2
    message = capsys.readouterr().err
    assert "table2" in message
    assert "without --quick" in message
    assert not (checkout / publish.RESULTS).exists()
    assert publish.main([str(tmp_path / "nowhere"), "--root", str(checkout)]) == 2


def test_claims_page_has_every_claim_in_a_row():
    page = claims_page(
        [{**result(name), "pictures": [f"{name}.png"]} for name in ("table1", "theory")]
    )
    rows = [line for line in page.splitlines() if "claim " in line and "reproduce" in line]
    assert len(rows) == 2 * len(VERDICTS)
    for row, kind in zip(rows, VERDICTS * 2, strict=True):
        assert row.replace("\\|", "").count("|") == 8
        assert f"**{kind}**" in row
        assert "P(a\\|b) \\<p is large." in row
    assert "2 seeds, 50,000 to 200,000 rounds logged, 5,000 steps" in page
    assert "1 thread" in page
    assert "`abc1234`" in page
    assert "![theory](images/reproduce/theory.png)" in page


def test_headline_needs_its_place():
    table1 = result("table1")
    with pytest.raises(ValueError, match="no <!-- headline:begin -->"):
        with_headline("# A project\n", [table1])
    written = with_headline(README, [table1])
    assert "| bc    | 1.5 [1.4, 1.6] medium | " in written
    assert with_headline(written, [table1]) == written
    assert with_headline(README, [result("table2")]) == README


def disagreements(root: Path) -> None:
    """Fails where README or docs/claims.md are not what the published results say."""
    published = load_results(root / publish.RESULTS)
    readme = (root / "README.md").read_text(encoding="utf-8")
    assert with_headline(readme, published) == readme
    assert (root / "docs/claims.md").read_text(encoding="utf-8") == claims_page(published)
    for one in published:
        assert not one["quick"]
        assert all((root / publish.PICTURES / name).exists() for name in one["pictures"])


def test_disagreement_is_found(tmp_path, checkout):
    publish.publish(left(tmp_path / "reproduction", result("table1")), checkout)
    path = checkout / "README.md"
    path.write_text(path.read_text().replace("1.69", "1.96"))
    with pytest.raises(AssertionError):
        disagreements(checkout)


def test_repository_says_what_its_results_say():
    if not list((ROOT / publish.RESULTS).glob("*.json")):
        pytest.skip("no results are published yet")
    disagreements(ROOT)


def test_readme_has_a_place_for_the_headline():
    assert "1.5 [1.4, 1.6]" in with_headline((ROOT / "README.md").read_text(), [result("table1")])
