"""What agents from other libraries have in common."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from recsim_drpo import load_transitions, make_agent
from recsim_drpo.adapters import import_library
from recsim_drpo.cli.app import main
from recsim_drpo.runs.folder import load_agent, load_config

DIMS = {"observation_dim": 3, "action_dim": 2}
WORLD = ["--world", "num_items=300", "embedding_dim=16", "num_topics=5"]


def test_ends_of_episodes(datasets):
    rounds, sessions = (load_transitions(datasets[name]) for name in ("rounds", "sessions"))
    assert rounds.episode_ends.all()
    lengths = [len(episode.rewards) for episode in datasets["sessions"].iterate_episodes()]
    expected = np.zeros(200, dtype=bool)
    expected[np.cumsum(lengths) - 1] = True
    assert sessions.episode_ends.tolist() == expected.tolist()
    cut_off = sessions.episode_ends & ~sessions.terminations
    assert 0 < cut_off.sum() < sessions.episode_ends.sum()


@pytest.mark.parametrize(
    ("agent", "library", "extra"),
    [("d3rlpy:IQL", "d3rlpy", "d3rlpy"), ("sb3:SAC", "stable_baselines3", "sb3")],
)
def test_a_library_that_is_absent_is_named_with_its_extra(monkeypatch, agent, library, extra):
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    if extra == "d3rlpy":
        from recsim_drpo.adapters import d3rlpy as adapter

        adapter.algorithms.cache_clear()
    with pytest.raises(ImportError, match=rf"{library} cannot .*pip install .*\[{extra}\]"):
        make_agent(agent, **DIMS)
    with pytest.raises(ImportError, match=r"\[torchrl\]"):
        import_library("no_such_library", "torchrl")


def test_one_table_of_ours_of_d3rlpy_and_of_the_online_reference(
    d3rlpy, sb3, minari_root, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["generate", "adapters/cli-v0", "--rounds", "300", "--no-card", *WORLD]) == 0
    common = ["train", "--dataset", "adapters/cli-v0", "--batch-size", "32"]
    encoder = '={"type": "vector", "params": {"hidden_units": [16]}}'
    iql = ["--agent", "d3rlpy:IQL", "--set", f"actor_encoder_factory{encoder}", "expectile=0.9"]
    ppo = ["--agent", "sb3:PPO", "--set", "num_envs=4", "n_steps=8", "n_epochs=1"]
    assert main([*common, *iql, "--steps", "3", "--seeds", "0", "1", "--out", "iql"]) == 0
    assert main([*common, *ppo, "--steps", "60", "--evaluate-every", "30", "--out", "ppo"]) == 0
    assert main([*common, "--agent", "bc", "--steps", "2", "--out", "bc"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "iql", "ppo", "bc", "--num-users", "50"]) == 0
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    rows = [line.split("|")[1].strip() for line in table[2:]]
    expected = ["iql/seed-0", "iql/seed-1", "ppo/seed-0 (online)", "bc/seed-0", "oracle"]
    assert rows[3:8] == expected
    kept = load_config("iql/seed-1")
    assert kept["agent"] == "d3rlpy:IQL"
    assert kept["hyperparameters"]["expectile"] == 0.9
    assert load_agent("iql/seed-1").algorithm.config.actor_encoder_factory.hidden_units == [16]
    # PPO ends with its rollout of 4 x 8 steps; rows are where 30 steps were crossed.
    history = (tmp_path / "ppo/seed-0/history.csv").read_text().splitlines()
    steps = [line.split(",")[0] for line in history]
    assert steps == ["step", "0.0", "32.0", "64.0"]
    assert "learnt online" in (tmp_path / "ppo/seed-0/README.md").read_text()


ALONE = """
import json, sys, warnings
import recsim_drpo
from recsim_drpo.adapters import d3rlpy, import_library, stable_baselines3, torchrl
from recsim_drpo.cli import main

for name in recsim_drpo.__all__:
    getattr(recsim_drpo, name)
libraries = {"d3rlpy", "stable_baselines3", "torchrl", "tensordict", "gym"}
print("after the core:", sorted(libraries & {*sys.modules}))
import_library("d3rlpy", "d3rlpy")
warnings.warn("a real one")
for words in json.loads(sys.argv[1]):
    assert main(words) == 0, words
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What a process said that imported the core, then d3rlpy, and trained; where it worked."""
    for name in ("d3rlpy", "stable_baselines3"):
        pytest.importorskip(name)
    folder = tmp_path_factory.mktemp("alone")
    for name in ("work", "temporary"):
        (folder / name).mkdir()
    own = {"MINARI_DATASETS_PATH": str(folder / "minari"), "TMPDIR": str(folder / "temporary")}
    taken = ("SB3_LOGDIR", "TORCHINDUCTOR_CACHE_DIR")
    environment = {name: value for name, value in os.environ.items() if name not in taken} | own
    train = ["train", "--dataset", "adapters/left-v0", "--batch-size", "32", "--steps", "3"]
    ppo = ["--agent", "sb3:PPO", "--set", "num_envs=4", "n_steps=9", "n_epochs=1"]  # 36
    commands = [
        ["generate", "adapters/left-v0", "--rounds", "300", "--no-card", *WORLD],
        [*train, "--agent", "d3rlpy:IQL", "--out", "iql"],
        [*train, *ppo, "--out", "ppo"],
        ["evaluate", "iql", "ppo", "--num-users", "50"],
        ["ope", "iql", "--dataset", "adapters/left-v0"],
    ]
    command = [sys.executable, "-c", ALONE, json.dumps(commands)]
    done = subprocess.run(
        command, cwd=folder / "work", env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done, folder


def test_the_core_imports_no_library(alone):
    assert alone[0].stdout.splitlines()[0] == "after the core: []"


def test_the_old_gym_that_d3rlpy_imports_says_nothing_and_warnings_are_left(alone):
    assert "unmaintained" not in alone[0].stderr
    assert "a real one" in alone[0].stderr


def test_what_is_trained_and_measured_leaves_nothing_beside_its_own_folders(alone):
    """Not in the temporary folder (of their loggers, of torch's compiler), nor where one works."""
    done, folder = alone
    assert "mini-batch" not in done.stderr
    assert list((folder / "temporary").iterdir()) == []
    assert sorted(path.name for path in (folder / "work").iterdir()) == ["iql", "ppo"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--agent", "d3rlpy:IQQL"], "continuous algorithm of d3rlpy 'IQQL'. Did you mean 'IQL'"),
        (["--agent", "d3rlpy:DQN"], "Unknown continuous algorithm"),
        (["--agent", "d3rlpy:IQL", "--set", "expectil=1"], "Did you mean 'expectile'"),
        (["--agent", "d3rlpy:IQL", "--set", "gamma=x"], "gamma='x' is not a number"),
        (["--agent", "d3rlpy:IQL", "--set", "n_critics=1.5"], "n_critics=1.5 is not an integer"),
        (["--agent", "d3rlpy:BC", "--set", "policy_type=3"], "policy_type=3 is not text"),
        (["--agent", "d3rlpy:BC", "--set", "encoder_factory=3"], "is not in d3rlpy's form"),
        (
            ["--agent", "d3rlpy:BC", "--set", 'reward_scaler={"type":"standard","params":{}}'],
            "has no numbers",
        ),
        (["--agent", "d3rlpy:PRDC"], "needs its neighbours in the whole log"),
        (["--agent", "sb3:SACC"], "Did you mean 'SAC'"),
        (["--agent", "sb3:SAC", "--set", "gama=1"], "Did you mean 'gamma'"),
        (["--agent", "sb3:SAC", "--set", "num_envs=0"], "num_envs=0 is not an integer"),
        (["--agent", "sb3:SAC", "--set", "ent_coef=x"], "makes no SAC of {'ent_coef': 'x'}: "),
        (["--agent", "sb3:PPO", "--set", "n_steps=0"], "makes no PPO of {'n_steps': 0}: "),
        (["--agent", "sb3:PPO", "--infos", "propensity"], "learns online and reads no column"),
    ],
)
def test_mistakes_on_the_command_line(d3rlpy, sb3, datasets, tmp_path, capsys, arguments, message):
    out = tmp_path / "run"
    command = ["train", "--dataset", "adapters/rounds-v0", "--out", str(out), "--steps", "1"]
    assert main([*command, *arguments]) == 2
    (line,) = [one for one in capsys.readouterr().err.splitlines() if "error:" in one]
    assert message in line
    assert not out.exists()
