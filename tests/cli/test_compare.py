"""``recsim-drpo compare`` on imported and on simulated logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsim_drpo.ope.drift_logs import read_compared_log

DOCUMENT = Path(__file__).parents[2] / "docs" / "compare.md"


@pytest.fixture
def imported(run, minari_root, tmp_path):
    """Two logs with known differences: 400 rows of 100 requests, then 600 rows of 300."""
    pytest.importorskip("pyarrow")

    def write(name, ids, mean, clicks, rows, requests, seed):
        generator = np.random.default_rng(seed)
        # As many rows of each request, all of one country and one age.
        numbers = np.repeat(np.arange(requests), rows // requests)
        ages = generator.normal(mean, 1.0, requests)[numbers]
        lines = ["item_id,reward,propensity,age,country,request"]
        lines += [
            f"{generator.choice(ids)},{int(1 <= k <= clicks)},0.5,{ages[k]:.4f},"
            f"{('de', 'fr')[number % 2]},{number}"
            for k, number in enumerate(numbers)
        ]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
        np.savez(tmp_path / f"{name}.npz", embeddings=np.eye(len(ids)), item_ids=np.array(ids))
        command = ["import", f"shop/{name}-v0", tmp_path / f"{name}.csv", "--numbers", "age"]
        command += ["--categories", "country", "--request", "request"]
        assert run(*command, "--items", tmp_path / f"{name}.npz") == 0

    write("may", ["shoe", "hat"], 0.0, 100, 400, 100, seed=0)
    # "hat" is row 0 here, and was row 1: ids are compared, not rows.
    write("june", ["hat", "bag"], 1.0, 300, 600, 300, seed=1)
    return "shop/may-v0", "shop/june-v0"


def test_imported_logs_are_compared_by_their_names(run, imported, tmp_path, capsys):
    a, b = imported
    log = read_compared_log(a)
    assert log.names == ["age", "country=de", "country=fr"]
    assert set(log.items.tolist()) == {"shoe", "hat"}
    assert len(log.first) == 100
    capsys.readouterr()
    assert run("compare", a, b, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert (tmp_path / "out" / "compare.md").read_text(encoding="utf-8") == printed
    told = json.loads((tmp_path / "out" / "compare.json").read_text(encoding="utf-8"))
    assert (told["rows"], told["requests"]) == ([400, 600], [100, 300])
    assert [told["readout"][log][0] for log in "ab"] == [0.25, 0.5]
    assert told["readout"]["difference"][0] == pytest.approx(0.25)
    assert (told["items"]["new"], told["items"]["gone"]) == (["bag"], ["shoe"])
    by_name = {one["column"]: one for one in told["contexts"]}
    assert by_name["age"]["p_value"] < 1e-6
    assert by_name["country=de"]["p_value"] == 1.0
    assert "1 of 3 columns of the context differ (age)" in printed
    assert "A is shop/may-v0, 400 rows of 100 requests; B is shop/june-v0, 600 rows of" in printed

    snippet = DOCUMENT.read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(snippet, names)
    assert names["drift"].drifted == ["age"]
    assert names["drift"].as_dict()["readout"]["difference"][0] == pytest.approx(0.25)

    assert run("compare", a, b, "--out", tmp_path / "out") == 2
    assert "is there already" in capsys.readouterr().err
    assert run("compare", a, "shop/july-v0") == 2
    assert "There is no local dataset 'shop/july-v0'" in capsys.readouterr().err


def test_simulated_logs_are_compared(run, dataset, capsys):
    world = ["--world", "num_items=300", "embedding_dim=16", "num_topics=5"]
    other = ["generate", "cli/other-v0", "--scenario", "medium", "--rounds", 900, "--no-card"]
    assert run(*other, "--seed", 5, *world) == 0
    capsys.readouterr()
    assert run("compare", dataset, dataset) == 0
    same = capsys.readouterr().out
    assert "Mean rewards do not differ for sure: B minus A is +0.0000" in same
    assert "None of 10 columns of the context differs for sure" in same
    assert "Items: total variation 0.000" in same
    assert run("compare", dataset, "cli/other-v0") == 0
    # Loggers of other quality for the same users.
    told = capsys.readouterr().out
    assert "Mean rewards differ: B minus A is +" in told
    assert "propensity" in told


def test_a_session_counts_as_one_request(run, minari_root):
    generate = ["generate", "cli/sessions-v0", "--env", "RecSimZipfSession-v0", "--rounds", 300]
    world = ["--world", "num_items=300", "embedding_dim=16", "num_topics=5"]
    assert run(*generate, "--no-card", *world) == 0
    log = read_compared_log("cli/sessions-v0")
    assert 1 < len(log.first) < len(log.rewards)
