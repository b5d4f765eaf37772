from __future__ import annotations

import json
from types import SimpleNamespace

from recsim_drpo.cli.app import main
from recsim_drpo.ope.estimators import ESTIMATORS
from recsim_drpo.runs import folder as runs

KWARGS = {"num_items": 60, "embedding_dim": 8, "num_topics": 4}


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
