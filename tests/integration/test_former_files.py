"""What the first revision left behind keeps working: datasets, run folders, plug-ins, module names.

``tests/data/before`` was made by revision 91c5a4a, before modules were sorted into packages:
three datasets of 6 to 40 rounds, five runs of five updates on them, and what each then answered.
"""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path

import minari
import numpy as np
import pytest
import torch

import recsim_drpo
from recsim_drpo import cli
from recsim_drpo._former_names import MOVED, SPLIT
from recsim_drpo.datasets.items import resolve_items
from recsim_drpo.runs import load_agent
from recsim_drpo.serving import load_recommender

BEFORE = Path(__file__).resolve().parents[1] / "data" / "before"
ANSWERS = json.loads((BEFORE / "answers.json").read_text())
WORLD = {"num_items": 12, "embedding_dim": 4, "num_topics": 3, "context_dim": 3}
RUNS = [path.name for path in sorted((BEFORE / "runs").iterdir())]


@pytest.fixture
def before(tmp_path, monkeypatch) -> Path:
    """A copy of the datasets and runs, where Minari looks for datasets."""
    shutil.copytree(BEFORE, tmp_path / "before")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "before" / "minari"))
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "examples" / "td3_bc"))
    return tmp_path / "before"


def test_a_dataset_is_read_and_its_environment_recovered(before):
    dataset = minari.load_dataset("before/bandit-v0")
    log = recsim_drpo.load_transitions(dataset, infos=["item_id", "propensity"])
    rounds = log.take(torch.arange(len(log)))
    assert len(log) == ANSWERS["bandit"]["rounds"]
    assert rounds.infos["item_id"].tolist() == ANSWERS["bandit"]["items"]
    assert float(rounds.rewards.double().sum()) == pytest.approx(ANSWERS["bandit"]["reward_sum"])
    env = dataset.recover_environment(eval_env=True)
    assert env.unwrapped.split == "test"
    assert env.unwrapped.world.catalogue.checksum == dataset.storage.metadata["catalogue_checksum"]
    env.reset(seed=0)
    assert env.step(np.ones(4, dtype=np.float32))[2]


def test_a_dataset_of_sessions_recovers_its_environment(before):
    env = minari.load_dataset("before/sessions-v0").recover_environment()
    observation, _ = env.reset(seed=0)
    assert observation.shape == (3 + 3,)
    assert env.unwrapped.sessions.config.max_steps == 4


def test_an_imported_dataset_has_its_items(before):
    dataset = minari.load_dataset("before/imported-v0")
    items = resolve_items(dataset)
    assert items.item_ids.tolist() == [f"item-{k}" for k in range(5)]
    assert items.checksum == dataset.storage.metadata["catalogue_checksum"]


@pytest.mark.parametrize("name", RUNS)
def test_a_run_acts_and_recommends_as_it_did(before, name):
    answers = ANSWERS[name]
    contexts = torch.tensor(answers["contexts"])
    actions = load_agent(before / "runs" / name).act(contexts)
    np.testing.assert_allclose(actions.numpy(), answers["actions"], rtol=1e-5, atol=1e-6)
    if "top" in answers:
        recommender = load_recommender(before / "runs" / name)
        _, rows = recommender.top(contexts, 2)
        assert recommender.items.item_ids[rows.numpy()].astype(str).tolist() == answers["top"]
    if "ecpm" in answers:
        found = recsim_drpo.evaluate(
            load_agent(before / "runs" / name), num_users=50, env_kwargs=WORLD
        )
        assert found.ecpm.value == pytest.approx(answers["ecpm"], rel=1e-6)


def test_runs_are_evaluated_by_the_command(before, capsys):
    runs = [str(before / "runs" / name) for name in ("drpo", "iql", "td3_bc")]
    assert cli.main(["evaluate", *runs, "--num-users", "50"]) == 0
    assert f"{ANSWERS['drpo']['ecpm']:.3f}" in capsys.readouterr().out


def test_every_former_name_is_the_module_of_today():
    for former, today in MOVED.items():
        found = importlib.import_module(f"recsim_drpo.{former}")
        assert found is importlib.import_module(f"recsim_drpo.{today}")
        assert found.__name__ == found.__spec__.name == f"recsim_drpo.{today}"


def test_a_former_module_that_was_split_has_the_names_of_its_parts():
    for former, parts in SPLIT.items():
        module = importlib.import_module(f"recsim_drpo.{former}")
        for part in parts:
            names = vars(importlib.import_module(f"recsim_drpo.{part}"))
            own = [name for name in names if getattr(names[name], "__module__", "").endswith(part)]
            assert own
            assert all(vars(module)[name] is names[name] for name in own if name[0] != "_")


@pytest.mark.usefixtures("clean_registry")
def test_an_algorithm_that_was_written_for_the_former_modules(tmp_path, monkeypatch):
    (tmp_path / "former_plugin.py").write_text(
        "from recsim_drpo.agents.algorithm import Algorithm, LossOutput, PolicyConfig\n"
        "from recsim_drpo.agents.bc import BC, BCConfig\n"
        "from recsim_drpo.agents.networks import policy_log_prob\n"
        "from recsim_drpo.agents.protocol import Batch\n"
        "from recsim_drpo.checks import check_number\n"
        "def loss(parameters, state, batch: Batch, noise, config):\n"
        "    found = policy_log_prob(parameters, batch.observations, batch.actions, config.sigma)\n"
        "    return LossOutput(-found.mean(), state, {})\n"
        "MINE = Algorithm(name='mine', summary='bc again', config=BCConfig, loss=loss)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "former_plugin", raising=False)
    generator = torch.Generator().manual_seed(0)
    batch = recsim_drpo.Batch(
        torch.rand(8, 3, generator=generator),
        torch.rand(8, 4, generator=generator),
        torch.rand(8, generator=generator),
        torch.zeros(8, 3),
        torch.ones(8, dtype=torch.bool),
    )
    dims = {"observation_dim": 3, "action_dim": 4, "seed": 1}
    mine, bc = (recsim_drpo.make_agent(n, **dims) for n in ("former_plugin:MINE", "bc"))
    assert torch.equal(mine.update(batch)["loss"], bc.update(batch)["loss"])
