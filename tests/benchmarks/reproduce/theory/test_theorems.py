from __future__ import annotations

import json

import pytest

from recsim_drpo.benchmarks.reproduce.framework.evidence import Evidence
from recsim_drpo.benchmarks.reproduce.framework.settings import Settings
from recsim_drpo.benchmarks.reproduce.framework.verdicts import Verdict
from recsim_drpo.benchmarks.reproduce.theory import theorems
from recsim_drpo.reporting import plots

VERDICTS = {
    "Proposition 3.1, score (Eq. 3)": "holds",
    "Proposition 3.1, Hessian": "holds under a condition",
    "Theorem 3.2, case 1 (Â < 0)": "holds under a condition",
    "Theorem 3.2, sign alone": "does not hold",
    "Theorem 3.2, case 2 (Â > 0)": "holds under a condition",
    "Corollary 3.3, rate": "holds under a condition",
    "Section 5.2, force on μ": "does not hold",
    "Corollary 3.3, overflow": "does not hold",
    "Theorem 3.4, limit (Eq. 5)": "holds",
    "Theorem 3.4, contraction (Appendix C)": "holds under a condition",
    "Corollary 3.5, attraction": "does not hold",
    "Corollary 3.5, ratio (Eq. 6)": "holds under a condition",
    "Proposition 3.6 (Eq. 7)": "holds",
    "Proposition 3.6, stability": "holds under a condition",
    "Theorem 4.1": "holds under a condition",
    "Appendix F.2, strong duality (Eq. 38)": "holds",
    "Appendix F.2, minimiser (Eq. 12)": "holds under a condition",
    "Appendix F.3 (Eq. 42 to 45)": "does not hold",
}


def test_every_claim_has_a_verdict_and_the_evidence_is_plain_json(theory_result):
    verdicts = theory_result["verdicts"]
    assert json.loads(json.dumps(theory_result, allow_nan=False)) == theory_result
    assert {verdict["claim"]: verdict["verdict"] for verdict in verdicts} == VERDICTS
    assert {verdict["command"] for verdict in verdicts} == {"recsim-drpo reproduce theory"}
    assert theory_result["quick"] is True
    assert set(theory_result["data"]) == set(theorems.EXPERIMENTS)


def test_each_experiment_has_a_picture(theory_result):
    pytest.importorskip("matplotlib")
    assert set(theorems.PICTURES) == set(theorems.EXPERIMENTS)
    for name, picture in theorems.PICTURES.items():
        _, axes = plots.new_figure()
        picture(axes, theory_result["data"][name])
        assert axes.lines or axes.collections
        assert axes.get_title()
        assert axes.get_legend_handles_labels()[1]


@pytest.mark.parametrize("finished", [0, 4, 8])
def test_stopped_it_goes_on_where_it_was(theory_result, tmp_path, monkeypatch, finished):
    made = []

    def piece(name):
        def make(num):
            if len(made) == finished and stops:
                raise KeyboardInterrupt
            made.append(name)
            verdicts = [one for one in theory_result["verdicts"] if one["claim"] == claims[name]]
            data = theory_result["data"][name]
            return Evidence(data, [Verdict(**one) for one in verdicts])

        return make

    claims = dict(zip(theorems.EXPERIMENTS, VERDICTS, strict=False))
    monkeypatch.setattr(theorems, "EXPERIMENTS", {name: piece(name) for name in claims})
    settings = Settings(quick=True, folder=tmp_path, progress=False)
    stops = True
    with pytest.raises(KeyboardInterrupt):
        theorems.run(settings)
    stops = False
    result = theorems.run(settings)
    assert result["data"] == theory_result["data"]
    assert [one["claim"] for one in result["verdicts"]] == list(claims.values())
    assert made == list(claims)
    monkeypatch.setattr(theorems, "QUICK_INSTANCES", 100)
    with pytest.raises(ValueError, match="instances: 200, now 100"):
        theorems.run(settings)


def test_a_piece_that_was_kept_is_what_was_made(theory_result, tmp_path):
    """The instances are fixed: made anew, they give every digit that was read from the disk."""
    again = theorems.EXPERIMENTS["appendix-F.2"](theorems.QUICK_INSTANCES)
    assert json.loads(json.dumps(again.data)) == theory_result["data"]["appendix-F.2"]


@pytest.mark.slow
def test_pictures_are_written_in_both_formats(theory_result, tmp_path):
    pytest.importorskip("matplotlib")
    assert set(theorems.draw(theory_result, tmp_path)) == set(theorems.EXPERIMENTS)
    paths = list(tmp_path.iterdir())
    assert {path.stem for path in paths} == set(theorems.EXPERIMENTS)
    assert sorted(path.suffix for path in paths) == [".png"] * 9 + [".svg"] * 9
