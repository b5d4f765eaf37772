"""docs/claims.md and the README's headline."""

from __future__ import annotations

import pytest

from recsim_drpo.benchmarks.reproduce.framework.verdicts import VERDICTS
from recsim_drpo.benchmarks.reproduce.publishing.claims import (
    PLACES,
    claims_page,
    with_headline,
    with_rules,
    with_table,
)
from recsim_drpo.benchmarks.reproduce.runner import EXPERIMENTS
from tests.benchmarks.reproduce.published import README, ROOT, result


def test_claims_page_has_every_claim_in_a_row():
    page = claims_page(
        [{**result(name), "pictures": [f"{name}.png"]} for name in ("theory", "table1")]
    )
    rows = [line for line in page.splitlines() if "claim " in line and "reproduce" in line]
    assert len(rows) == 2 * len(VERDICTS)
    for row, kind in zip(rows, VERDICTS * 2, strict=True):
        assert row.replace("\\|", "").count("|") == 8
        assert f"**{kind}**" in row
        assert "P(a\\|b) \\<p is large." in row
    assert "2 seeds (full setting: 20), 50,000 to 200,000 rounds logged, 5,000 steps" in page
    assert "[table1](#table1)" in page
    assert page.count("<details>") == page.count("</details>") == 2
    assert "**Table 1, extreme**" in page
    assert "1 thread" in page
    assert "`abc1234`" in page
    assert "![theory](images/reproduce/theory.png)" in page


def test_headline_needs_its_place():
    table1 = result("table1") | {"pictures": []}
    with pytest.raises(ValueError, match="no <!-- headline:begin -->"):
        with_headline("# A project\n", [table1])
    written = with_headline(README, [table1])
    assert "5 claims were tested" in written
    assert "5,000 steps; revision `abc1234`." in written
    assert with_headline(written, [table1]) == written
    assert with_headline(README, []) == README


def test_the_guide_has_table_1():
    table1 = result("table1") | {"pictures": ["table1.png", "table1.svg"]}
    written = with_table(README, [result("theory"), table1])
    assert "| bc    | 1.5 [1.4, 1.6] medium | " in written
    assert (
        "[![eCPM of all agents in both scenarios, with 95 % intervals]"
        "(images/reproduce/table1.png)](images/reproduce/table1.svg)"
    ) in written
    assert with_table(written, [table1]) == written
    assert "| agent" not in with_table(README, [result("theory")])


def test_every_experiment_has_its_place_in_the_paper():
    assert set(EXPERIMENTS) <= set(PLACES)


def test_pages_have_a_place_for_what_is_published():
    table1 = result("table1") | {"pictures": []}
    assert "claims were tested" in with_headline((ROOT / "README.md").read_text(), [table1])
    guide = with_table((ROOT / "docs/reproduction.md").read_text(), [table1])
    assert "(claims.md)" in guide
    assert "1.5 [1.4, 1.6]" in guide
    page = (ROOT / "docs/when_to_filter.md").read_text()
    assert with_rules(page, [table1]) == page


def test_the_headline_says_what_wins_from_the_records():
    best = {
        "title": "The best of each kind",
        "header": ["log", "best of all", "value"],
        "rows": [["medium", "two-tower: 1.81 [1.80, 1.82]", "-"], ["extreme", "drpo: 1.7", "-"]],
        "note": "",
    }
    table1 = result("table1") | {"pictures": []}
    written = with_headline(README, [{**table1, "tables": [*table1["tables"], best]}])
    assert (
        "Best of those compared, chosen for each seed by the other seeds: in medium two-tower, "
        "1.81 [1.80, 1.82]; in extreme drpo, 1.7. "
    ) in written
    assert "Best of those" not in with_headline(README, [table1])
    paired = {
        "title": "Paired differences in eCPM",
        "header": ["agent", "DRPO minus it, medium", "p", "DRPO minus it, extreme", "p"],
        "rows": [["bc", "+1", "0.1", "+2", "0.1"], ["two-tower", "-0.08", "0.1", "-0.07", "0.1"]],
        "note": "",
    }
    written = with_headline(README, [{**table1, "tables": [*table1["tables"], best, paired]}])
    assert (
        "in medium two-tower, 1.81 [1.80, 1.82] (DRPO minus it -0.08); in extreme drpo, 1.7. "
    ) in written
