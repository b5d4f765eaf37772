"""What is committed of full results, and that the repository says what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsim_drpo.benchmarks.reproduce import publish
from recsim_drpo.benchmarks.reproduce.advice.leads import AXES, PAIRS
from recsim_drpo.benchmarks.reproduce.advice.log_features import FEATURES
from recsim_drpo.benchmarks.reproduce.publishing.claims import (
    BEGIN,
    END,
)
from recsim_drpo.benchmarks.reproduce.runner import load_results
from tests.benchmarks.reproduce.published import README, ROOT, record, result

GUIDE = f"# How\n\n{BEGIN}\n{END}\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "checkout" / "docs").mkdir(parents=True)
    (tmp_path / "checkout" / "README.md").write_text(README)
    (tmp_path / "checkout" / "docs" / "reproduction.md").write_text(GUIDE)
    (tmp_path / "checkout" / "docs" / "when_to_filter.md").write_text(GUIDE)
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
    assert kept["data"] == {"share": 0.1235}
    assert kept["pictures"] == ["table1.png", "table1.svg"]
    assert (checkout / publish.PICTURES / "table1.png").read_bytes() == b"picture"
    readme = (checkout / "README.md").read_text()
    assert "10 claims were tested. Verdicts: holds 2, holds under one reading 2, " in readme
    assert "\nold\n" not in readme
    assert readme.endswith("The rest.\n")
    guide = (checkout / "docs/reproduction.md").read_text()
    assert "[claims.md](claims.md)" in guide
    assert "1.5 [1.4, 1.6] extreme" in guide
    assert "(images/reproduce/table1.png)](images/reproduce/table1.svg)" in guide
    disagreements(checkout)


def test_published_records_are_the_records(tmp_path, checkout):
    publish.publish(left(tmp_path / "reproduction", result("table1")), checkout)
    found = load_results(checkout / publish.RESULTS)[0]["records"]
    assert len(found) == 4
    for ours, given in zip(found, result("table1")["records"], strict=True):
        for key in ("condition", "agent", "variant", "overrides", "seed", "diverged_at", "offline"):
            assert ours[key] == given[key]
        assert ours["validation"] == 0.666667
        assert ours["test"] == pytest.approx(
            {"ecpm": 0.333333, "reward": 0.0666666, "distance": None, "normalized": 0.333333}
        )


def test_experiments_can_be_published_one_at_a_time(tmp_path, checkout):
    publish.publish(left(tmp_path / "one", result("theory")), checkout)
    readme = (checkout / "README.md").read_text()
    assert "5 claims were" in readme  # there is no Table 1 yet
    assert "revision" not in readme
    disagreements(checkout)
    publish.publish(left(tmp_path / "two", result("table1")), checkout)
    claims = (checkout / "docs/claims.md").read_text()
    assert claims.index("## theory") < claims.index("## table1")  # in the paper's order
    assert (checkout / publish.PICTURES / "theory.png").exists()
    before = (checkout / "README.md").read_text()
    assert "10 claims were" in before
    publish.publish(tmp_path / "two", checkout)
    assert (checkout / "README.md").read_text() == before
    disagreements(checkout)


def test_pictures_that_are_drawn_no_more_go(tmp_path, checkout):
    folder = left(tmp_path / "one", result("theory"))
    (folder / "theory" / "old.png").write_bytes(b"old")
    publish.publish(folder, checkout)
    (folder / "theory" / "old.png").unlink()
    publish.publish(folder, checkout)
    names = {path.name for path in (checkout / publish.PICTURES).iterdir()}
    assert names == {"theory.png", "theory.svg"}


def test_large_pictures_are_made_small_or_not_published(tmp_path, checkout, capsys):
    image = pytest.importorskip("PIL.Image")
    folder = left(tmp_path / "one", result("theory"))
    (folder / "theory" / "theory.svg").write_bytes(bytes(publish.MOST_BYTES + 1))
    # Few colours stay what they are; as many as pixels cannot be made small.
    noise = np.random.default_rng(0).integers(256, size=(600, 600, 3), dtype=np.uint8)
    image.fromarray(noise[:, :, :1].repeat(3, axis=2) // 64 * 64).save(
        folder / "theory" / "theory.png", compress_level=0
    )
    publish.publish(folder, checkout)
    assert not (checkout / publish.PICTURES / "theory.svg").exists()
    assert "![theory](images/reproduce/theory.png)" in (checkout / "docs/claims.md").read_text()
    small = checkout / publish.PICTURES / "theory.png"
    assert small.stat().st_size < publish.MOST_BYTES
    shown = np.asarray(image.open(small).convert("L"))
    assert (shown == noise[:, :, 0] // 64 * 64).all()
    image.fromarray(noise).save(folder / "theory" / "theory.png")
    assert publish.main([str(folder), "--root", str(checkout)]) == 2
    assert "even with 256 colours" in capsys.readouterr().err


@pytest.mark.parametrize("page", ["README.md", "docs/reproduction.md"])
def test_nothing_is_written_where_a_page_has_no_place(tmp_path, checkout, page, capsys):
    (checkout / page).write_text("# No markers\n")
    folder = left(tmp_path / "one", result("theory"))
    assert publish.main([str(folder), "--root", str(checkout)]) == 2
    assert "# No markers" in capsys.readouterr().err
    assert not (checkout / publish.PICTURES).exists()
    assert not (checkout / publish.RESULTS).exists()


def test_quick_results_are_refused_before_anything_is_written(tmp_path, checkout, capsys):
    folder = left(tmp_path / "quick", result("table1"), result("table2", quick=True))
    assert publish.main([str(folder), "--root", str(checkout)]) == 2
    message = capsys.readouterr().err
    assert "table2" in message
    assert "without --quick" in message
    assert not (checkout / publish.RESULTS).exists()
    assert publish.main([str(tmp_path / "nowhere"), "--root", str(checkout)]) == 2


def disagreements(root: Path) -> None:
    """Fails where README or docs/claims.md are not what the published results say."""
    published = publish.published(root)
    for path, text in publish.pages(root, published).items():
        assert path.read_text(encoding="utf-8") == text
    for one in published:
        assert not one["quick"]
        assert all((root / publish.PICTURES / name).exists() for name in one["pictures"])
    kept = {name for one in published for name in one["pictures"]}
    assert {path.name for path in (root / publish.PICTURES).iterdir()} == kept


def test_disagreement_is_found(tmp_path, checkout):
    publish.publish(left(tmp_path / "reproduction", result("table1")), checkout)
    path = checkout / "docs/reproduction.md"
    path.write_text(path.read_text().replace("1.69", "1.96"))
    with pytest.raises(AssertionError):
        disagreements(checkout)


def test_repository_says_what_its_results_say():
    if not list((ROOT / publish.RESULTS).glob("*.json")):
        pytest.skip("no results are published yet")
    disagreements(ROOT)


def test_the_rules_of_the_map_are_published(tmp_path, checkout):
    """With the picture that is there, and refused where the page has no place for them."""
    log = dict.fromkeys(FEATURES, 2.0)
    points = [
        dict.fromkeys(AXES, skewness)
        | {"leads": {name: [lead] for name in PAIRS}, "log": log | {"skewness": skewness}}
        | {"label": f"skewness {skewness}", "best_soft": "awr"}
        for lead, skewness in ((0.5, 1.5), (0.25, 1.25), (-0.5, 0.5), (-0.25, 0.75))
    ]
    records = [
        record(point["label"], 0) | {"agent": agent}
        for point in points
        for agent in ("two-tower", "drpo", "drpo-boltzmann")
    ]
    mapped = result("phase-map") | {"data": {"points": points}, "records": records}
    folder = left(tmp_path / "one", mapped)
    picture = "phase-map-soft-noise-share-reward-noise.png"
    (folder / "phase-map" / picture).write_bytes(b"map")
    publish.publish(folder, checkout)
    page = (checkout / "docs/when_to_filter.md").read_text()
    assert "**DRPO where skewness > 1**" in page
    assert "**By the log alone: two-tower regression where skewness > 1**" in page
    assert f"(images/reproduce/{picture})" in page
    disagreements(checkout)
    (checkout / "docs/when_to_filter.md").write_text("# No markers\n")
    with pytest.raises(ValueError, match="No markers"):
        publish.publish(folder, checkout)


def test_published_results_are_judged_anew_without_training(tmp_path, checkout, monkeypatch):
    """Verdicts of other margins are put right by the records; nothing else of them changes."""
    (checkout / publish.RESULTS).mkdir(parents=True)
    source = (ROOT / publish.RESULTS / "table1.json").read_text()
    stale = source.replace("does not hold", "undecided")
    assert stale != source
    path = checkout / publish.RESULTS / "table1.json"
    path.write_text(stale)
    publish.judge_again(checkout)
    before, after = (json.loads(text) for text in (source, path.read_text()))
    assert after["verdicts"] == before["verdicts"]
    assert after["records"] == before["records"]
    assert after["plans"] == before["plans"]
    assert [t["title"] for t in after["tables"]] == [t["title"] for t in before["tables"]]
    assert "judged" in after
    with pytest.raises(ValueError, match="that can be judged anew 'theory'"):
        publish.judge_again(checkout, ["theory"])
    asked = []
    monkeypatch.setattr(publish, "judge_again", lambda *arguments: asked.append(arguments) or [])
    assert publish.main(["--root", str(checkout), "--judge-again", "table1"]) == 0
    assert asked == [(checkout, ["table1"])]
    with pytest.raises(SystemExit):
        publish.main(["--root", str(checkout)])
