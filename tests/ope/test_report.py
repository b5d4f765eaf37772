from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from recsim_drpo.cli.app import main
from recsim_drpo.ope import ESTIMATORS, OffPolicyEstimate, OffPolicyEvaluation
from recsim_drpo.ope.report import as_text, save
from recsim_drpo.reporting.statistics import Estimate
from recsim_drpo.runs import folder as runs

KWARGS = {"num_items": 60, "embedding_dim": 8, "num_topics": 4}


@pytest.fixture
def results() -> dict[str, OffPolicyEvaluation]:
    """Two policies; both are refused by one estimator, one shows no item now and then."""
    estimates = (
        OffPolicyEstimate("ips", None, 20.0, 1_234.5, "too few rounds", 2, 1_255),
        OffPolicyEstimate("snips", None, 20.0, 1_234.5, "too few rounds"),
        OffPolicyEstimate("dm", Estimate(0.25, 0.2, 0.3), 1_000.0, None),
    )
    logged = Estimate(0.5, 0.4, 0.6)
    return {
        "a": OffPolicyEvaluation(estimates, logged, 1_000, 0, 0.0, 0.0, 0.2, 430),
        "b": OffPolicyEvaluation(estimates[2:], logged, 1_000, 0, 0.0, 0.25, 0.2, 430),
    }


def test_a_report_has_a_row_for_each_estimate_and_a_line_for_each_reason(results):
    text = as_text(results)
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    assert rows[2:] == [
        ["who logged", "mean", "0.5000", "0.4000 to 0.6000", "430 of 1,000", "1,000", "1"],
        ["a", "ips", "refused", "", "2 of 1,255", "20", "1,234"],
        ["a", "snips", "refused", "", "", "20", "1,234"],
        ["a", "dm", "0.2500", "0.2000 to 0.3000", "", "1,000", ""],
        ["b", "dm", "0.2500", "0.2000 to 0.3000", "", "1,000", ""],
    ]
    assert "whose R² is 0.200 on rounds" in text
    assert text.endswith(
        "- a, refused: ips, snips: too few rounds.\n- b shows no item in 25.0% of contexts."
    )


def test_a_report_is_kept_without_a_picture_where_none_can_be_drawn(results, tmp_path, monkeypatch):
    assert save(tmp_path / "whole", results) is None
    assert json.loads((tmp_path / "whole" / "ope.json").read_text())["b"]["nothing_shown"] == 0.25
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "recsim-drpo[plots]" in save(tmp_path / "plain", results)
    assert {file.name for file in (tmp_path / "plain").iterdir()} == {"ope.json", "ope.md"}


def test_the_command(minari_root, tmp_path, capsys, monkeypatch):
    world = ["--world", *(f"{name}={value}" for name, value in KWARGS.items())]
    logs = ["--weights", "expert=0.5", "random=0.5", "--no-card", *world]

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    for seed in (0, 1):
        assert run("generate", f"ope/log-v{seed}", "--rounds", 3_000, "--seed", seed, *logs)[0] == 0
    quick = ["--steps", 60, "--log-every", 30, "--evaluate-every", 30]
    trained = tmp_path / "bc"
    train = ["train", "--dataset", "ope/log-v0", "--agent", "bc", "--out", trained, *quick]
    assert run(*train)[0] == 0
    out = tmp_path / "ope"
    status, text, _ = run("ope", trained, "--dataset", "ope/log-v1", "--out", out)
    assert status == 0
    assert text.startswith("| policy")
    assert "learnt from this very log" not in text
    assert {file.name for file in out.iterdir()} == {"ope.json", "ope.md", "ope.png"}
    (plain,) = json.loads((out / "ope.json").read_text()).values()
    assert [one["estimator"] for one in plain["estimates"]] == list(ESTIMATORS)
    for one in plain["estimates"]:
        assert (one["value"] is None) == (one["refusal"] is not None)
        assert (one["rewarded"] is None) == (one["estimator"] == "dm")
        assert one["refusal"] is None or text.count(f": {one['refusal']}.") == 1
    assert plain["num_rounds"] == 3_000

    status, text, _ = run("ope", trained, "--dataset", "ope/log-v0", "--samples", 2)
    assert status == 0
    assert "learnt from this very log" in text
    with monkeypatch.context() as patched:
        patched.setattr(runs, "load_agent", lambda *_, **__: SimpleNamespace(act=None))
        status, _, error = run("ope", trained, "--dataset", "ope/log-v1", "--samples", 2)
        assert (status, "has no method 'sample' to draw by; leave out" in error) == (2, True)
    status, _, error = run("ope", trained, "--dataset", "ope/log-v1", "--out", out)
    assert (status, "is there already" in error) == (2, True)
    assert run("generate", "ope/other-v0", "--rounds", 100, "--no-card")[0] == 0
    status, _, error = run("ope", trained, "--dataset", "ope/other-v0")
    assert status == 2
    assert "acts from 10 to 8 dimensions" in error
    assert error.count("\n") == 1
