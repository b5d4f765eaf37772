"""Log → train → serve with exploration → log → ope, with a simulator that knows the truth."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from recsim_drpo import make_agent, make_world
from recsim_drpo.cli import main
from recsim_drpo.ope import read_item_log
from recsim_drpo.ope.formulas import ips, snips
from recsim_drpo.serving.exploration import Exploration
from recsim_drpo.serving.recommender import Recommender, load_recommender

pytest.importorskip("pyarrow")

PAGE = Path(__file__).resolve().parents[2] / "docs" / "serving.md"
HEADING = "## From the log to the next log"


def documented():
    """The blocks of the section, in order: whether they are Python, and what is in them."""
    _, _, section = PAGE.read_text(encoding="utf-8").partition(HEADING)
    section = section.partition("\n## ")[0]
    return [
        (kind == "python", text)
        for kind, text in re.findall(r"```(\w*)\n(.*?)```", section, re.DOTALL)
    ]


def true_value(shop, folder):
    """Mean observed reward of what the policy decodes to, over 200,000 other users."""
    users = shop.users("test", 0, torch.arange(200_000))
    recommender = load_recommender(folder)
    contexts = recommender.coding.contexts(users.contexts.double().numpy())
    items = shop.decode(recommender.agent.act(torch.from_numpy(contexts)))
    latent = shop.reward_of_items(items, users.interests)
    return float(shop.observed_reward(latent, users.reward_noise).mean())


# As documented, and by the other policy; its scores are within a few hundredths at the top.
@pytest.mark.slow
@pytest.mark.parametrize("explore", ["epsilon=0.2", "temperature=0.1 top=10"])
def test_the_documented_loop_closes_and_finds_the_truth(
    minari_root, tmp_path, monkeypatch, explore, capsys
):
    monkeypatch.chdir(tmp_path)
    blocks = documented()
    assert [python for python, _ in blocks] == [True, False, True, False]
    assert "epsilon=0.2" in blocks[1][1]
    names = {}
    for python, text in blocks:
        if python:
            exec(compile(text, "serving.md", "exec"), names)
            continue
        for line in text.strip().splitlines():
            line = line.replace("epsilon=0.2", explore).replace("--steps 500", "--steps 100")
            words = shlex.split(os.path.expandvars(line))
            assert main([*words[1:], *(["--out", "measured"] if words[1] == "ope" else [])]) == 0
    assert "| seed-0 " in capsys.readouterr().out.replace("runs/seed-0", "seed-0")
    assert (tmp_path / "next" / "seed-0").is_dir()
    truth = true_value(names["shop"], Path("runs/seed-0"))
    (found,) = json.loads(Path("measured/ope.json").read_text()).values()
    estimates = {one["estimator"]: one for one in found["estimates"]}
    for name in ("ips", "snips", "dr"):
        assert estimates[name]["refusal"] is None
        value = estimates[name]["value"]
        width = value["high"] - value["low"]
        assert abs(value["value"] - truth) < width < 0.15  # four standard errors
    if explore == "epsilon=0.2":  # every item may be shown: inverse propensities add up to 30
        inverse = 1.0 / read_item_log("shop/second-v0").propensities.numpy()
        assert abs(inverse.mean() - 30) < 4 * inverse.std() / np.sqrt(len(inverse))
    # What was logged is worth another value, which the propensities have put right.
    assert not found["logged"]["low"] <= truth <= found["logged"]["high"]


@pytest.mark.parametrize(
    "exploration",
    [{"epsilon": 0.2}, pytest.param({"temperature": 0.1, "top": 10}, marks=pytest.mark.slow)],
)
def test_intervals_of_what_was_explored_contain_the_truth(exploration):
    """In 200 logs of other visitors and draws: 95 of 100 intervals, without bias."""
    shop = make_world(num_items=30, embedding_dim=8, num_topics=4, context_dim=3)
    agent = make_agent("awr", observation_dim=3, action_dim=8, seed=0, hidden_dim=16)
    recommender = Recommender(agent, shop.catalogue, 3)

    def reward(items, users):
        latent = shop.reward_of_items(items, users.interests)
        return shop.observed_reward(latent, users.reward_noise).double()

    everybody = shop.users("test", 0, torch.arange(500_000))
    truth = float(reward(shop.decode(agent.act(everybody.contexts)), everybody).mean())
    inside, errors = [], []
    for seed in range(200):
        users = shop.users("train", seed, torch.arange(3_000))
        shown = recommender.show(users.contexts, 1, Exploration(**exploration, seed=seed))
        rewards = reward(shown.rows[:, 0], users).numpy()
        matches = (shown.rows[:, 0] == shop.decode(agent.act(users.contexts))).numpy()
        weights = matches / shown.propensities[:, 0].numpy()
        estimates = [formula(rewards, weights) for formula in (ips, snips)]
        inside.append([one.low <= truth <= one.high for one in estimates])
        errors.append([(one.value - truth) / (one.high - one.low) * 3.92 for one in estimates])
    assert (np.mean(inside, axis=0) > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 200)).all()
    assert (np.abs(np.mean(errors, axis=0)) < 3.5 / np.sqrt(200)).all()
