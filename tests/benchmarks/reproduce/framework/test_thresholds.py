"""Thresholds of verdicts: one file, with a date and a reason for each."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from recsim_drpo.benchmarks.reproduce import framework
from recsim_drpo.benchmarks.reproduce.framework import agent_suite
from recsim_drpo.benchmarks.reproduce.framework.thresholds import threshold, thresholds

FOLDER = Path(framework.__file__).parents[1]


def test_every_threshold_has_a_date_and_a_reason_and_is_read_once():
    known = thresholds()
    sources = "\n".join(
        path.read_text(encoding="utf-8")
        for path in FOLDER.rglob("*.py")
        if path.name != "thresholds.py"
    )
    read = re.findall(r'threshold\("(\w+)"\)', sources)
    assert sorted(read) == sorted(known)
    for entry in known.values():
        assert date(2026, 11, 22) < entry.since <= date(2026, 11, 30)
        assert len(entry.reason) > 20


def test_words_mean_what_the_file_says():
    assert agent_suite.COLLAPSED_ECPM == threshold("collapsed_ecpm") == 0.5
    assert agent_suite.NECESSARY_SHARE == threshold("necessary_share") == 0.75
    with pytest.raises(ValueError, match="Unknown threshold 'large'"):
        threshold("large")


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*_claims.py")), ids=lambda path: path.name)
def test_claims_have_no_margins_of_their_own(path):
    """A share or an eCPM in the code that judges is one that nobody gave a date and a reason."""
    margins = re.findall(r"^_?[A-Z_]+ = \d*\.\d+", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert not margins
