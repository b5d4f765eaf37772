from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import minari
import numpy as np
import pytest
import torch

from recsim_drpo import generate_dataset, make_world, reference_policy
from recsim_drpo.benchmarks import ope_accuracy
from recsim_drpo.benchmarks.ope_accuracy import SyntheticPolicy, clipped_mean
from recsim_drpo.cli.app import main
from recsim_drpo.ope.estimators import ESTIMATORS
from recsim_drpo.ope.evaluator import OffPolicyEvaluator
from recsim_drpo.ope.logs import ItemLog, read_item_log
from recsim_drpo.ope.models import ClusterModel, CrossFitted, RewardModel
from recsim_drpo.runs import folder as runs

KWARGS = {"num_items": 60, "embedding_dim": 8, "num_topics": 4}
COLUMNS = {"contexts", "items", "rewards", "propensities", "embeddings"}


def small_log(num_rounds=4_000, seed=0):
    world = make_world(**KWARGS)
    return ope_accuracy._log(
        world, {"random": 0.5, "expert": 0.5}, 1.0, KWARGS, num_rounds, seed
    ), world


@pytest.fixture(scope="module")
def evaluator():
    return OffPolicyEvaluator(small_log()[0])


class Always:
    """Shows the same items to everyone, by turns; NaN for item -1."""

    def __init__(self, world, *items):
        self.vectors = torch.stack(
            [world.embeddings[i] if i >= 0 else torch.full((world.dim,), torch.nan) for i in items]
        )

    def act(self, observations):
        return self.vectors[0].expand(len(observations), -1)

    def sample(self, observations, generator):
        which = torch.randint(len(self.vectors), (len(observations),), generator=generator)
        return self.vectors[which]


def test_weights_are_those_of_the_items_that_actions_decode_to(evaluator):
    log, world = evaluator.log, make_world(**KWARGS)
    item = int(log.items[0])
    terms = evaluator.terms(Always(world, item))
    shown = (log.items == item).double() / log.propensities
    assert np.allclose(terms.weights, shown.numpy())
    assert terms.items.missing == 0.0
    clusters = evaluator.clusters
    same = (clusters[log.items] == clusters[item]).numpy()
    assert ((terms.cluster_weights > 0) == same).all()
    found = {one.estimator: one for one in evaluator(Always(world, item)).estimates}
    assert tuple(found) == ESTIMATORS
    by_hand = float((shown * log.rewards).mean())
    assert found["ips"].value is None or found["ips"].value.value == pytest.approx(by_hand)


def test_draws_estimate_a_stochastic_policy(evaluator):
    log, world = evaluator.log, make_world(**KWARGS)
    first, second = (int(k) for k in log.items.bincount().topk(2).indices)
    one, two = (evaluator.terms(Always(world, k)) for k in (first, second))
    both = evaluator.terms(Always(world, first, second, -1), samples=64)
    thirds = (one.expected.mean() + two.expected.mean()) / 3
    assert both.expected.mean() == pytest.approx(thirds, rel=0.02)
    assert both.nothing_shown == pytest.approx(1 / 3, abs=0.005)
    third = (one.weights.mean() + two.weights.mean()) / 3
    assert both.weights.mean() == pytest.approx(third, rel=0.02)


def test_the_logger_itself_is_worth_what_it_logged(evaluator):
    policy = reference_policy(
        "logger", make_world(**KWARGS), {"random": 0.5, "expert": 0.5}, seed=9
    )
    found = {one.estimator: one for one in evaluator(policy).estimates}
    logged = evaluator(policy).logged
    for name in ("ips", "snips", "dr"):
        assert found[name].refusal is None
        apart = found[name].value.value - logged.value
        half = found[name].value.high - found[name].value.value
        assert abs(apart) < 2.0 * half


def test_values_agree_with_the_simulator():
    log, world = small_log(8_000)
    policy = SyntheticPolicy(world, 0.9, 0.0, 1)
    found = {one.estimator: one for one in OffPolicyEvaluator(log)(policy).estimates}
    truth = ope_accuracy.true_value(policy, world, 0)
    for name in ("ips", "snips", "dr"):
        value = found[name].value
        assert value.high - value.value < 0.15 * truth
        assert abs(value.value - truth) < 2.0 * (value.high - value.value)
    assert found["dm"].value.value == pytest.approx(truth, rel=0.1)


def test_clipped_mean_is_the_mean_of_clipped_noise():
    latent = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    noise = torch.randn(400_000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    drawn = (latent + 0.2 * noise).clamp(0.0, 1.0).mean(dim=0)
    assert clipped_mean(latent, 0.2).tolist() == pytest.approx(drawn.tolist(), abs=1e-3)


def test_what_the_log_never_shows_is_refused_by_name():
    log, world = small_log(1_000)
    ids = np.arange(60) + 500
    seen = log.items < 30
    columns = (log.contexts, log.items, log.rewards, log.propensities)
    short = ItemLog(*(column[seen] for column in columns), log.embeddings, ids)
    found = OffPolicyEvaluator(short, num_clusters=60)(Always(world, 45))
    assert found.unlogged == 1.0
    for one in found.estimates:
        assert one.value is None
        if one.estimator != "dm" or "items never" in one.refusal:
            assert "100.0% of the policy's probability" in one.refusal
    refusal = found.estimates[0].refusal
    assert "first of all 545 (100.0%)" in refusal
    assert f"{len(short):,} contexts get nothing else (rounds 0, 1, 2, …)" in refusal


def test_a_log_without_propensities_has_its_model_only():
    log, world = small_log()
    bare = ItemLog(log.contexts, log.items, log.rewards, None, log.embeddings, log.item_ids)
    found = {o.estimator: o for o in OffPolicyEvaluator(bare)(Always(world, 3)).estimates}
    assert {found[name].refusal for name in ("ips", "snips", "dr")} == {
        "the log has no propensities"
    }
    assert found["dm"].value is not None


def test_cross_fitted_models_have_not_seen_what_they_predict():
    contexts, rewards = torch.rand(100, 2), torch.rand(100)
    fitted_on = []

    def fit(rounds):
        fitted_on.append(rounds)
        return RewardModel(contexts[rounds], torch.eye(2), rounds % 2, rewards[rounds], 0, 3)

    models = CrossFitted(fit, 100, folds=3)
    assert [int(rounds.min()) for rounds in fitted_on] == [1, 0, 0]
    assert all((rounds % 3 != fold).all() for fold, rounds in enumerate(fitted_on))
    rounds = torch.arange(100)
    vectors = torch.eye(2)[rounds % 2]
    predicted = models.predict(rounds, contexts, vectors)
    mine = models._models[1].predict(contexts[1::3], vectors[1::3])
    assert torch.allclose(predicted[1::3], mine)
    with pytest.raises(ValueError, match="folds=1"):
        CrossFitted(fit, 100, folds=1)


def test_a_cluster_model_learns_who_is_shown_what():
    generator = torch.Generator().manual_seed(0)
    contexts = torch.rand(4_000, 1, generator=generator)
    shown = (torch.rand(4_000, generator=generator) < contexts[:, 0]).long()
    model = ClusterModel(contexts, shown, 2, 0)
    points = torch.tensor([[0.2], [0.5], [0.8]])
    found = model.predict(points, torch.ones(3, dtype=torch.int64))
    assert found.tolist() == pytest.approx([0.2, 0.5, 0.8], abs=0.06)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"propensities": torch.tensor([0.5, 1.5], dtype=torch.float64)},
            "1 of 2 propensities are",
        ),
        ({"propensities": torch.zeros(2, dtype=torch.float64)}, r"outside \(0, 1\] \(first: round"),
        ({"items": torch.tensor([0, 3])}, "1 rounds show an item outside the catalogue of 3"),
        ({"rewards": torch.tensor([0.0, torch.nan])}, "1 rewards of the log are NaN"),
        ({"contexts": torch.zeros(3, 1)}, "3 contexts for 2 items"),
        ({"items": torch.zeros(0, dtype=torch.int64)}, "no rounds"),
    ],
)
def test_a_wrong_log_is_one_error(change, message):
    columns = {
        "contexts": torch.zeros(2, 1),
        "items": torch.tensor([0, 1]),
        "rewards": torch.zeros(2),
        "propensities": torch.full((2,), 0.5, dtype=torch.float64),
        "embeddings": torch.eye(3),
        "item_ids": np.arange(3),
    }
    with pytest.raises(ValueError, match=message):
        ItemLog(**(columns | change))


def test_wrong_policies_are_one_error(evaluator):
    class Nothing:
        act = None

    class Wide:
        def act(self, observations):
            return torch.zeros(len(observations), 9)

    with pytest.raises(TypeError, match="Nothing has no method 'act'"):
        evaluator(Nothing())
    with pytest.raises(TypeError, match="Wide has no method 'sample'"):
        evaluator(Wide(), samples=2)
    with pytest.raises(ValueError, match=r"shape \(4000, 9\) for 4000 contexts"):
        evaluator(Wide())
    with pytest.raises(ValueError, match="num_clusters=61 is not an integer from 1 to 60"):
        OffPolicyEvaluator(evaluator.log, num_clusters=61)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Minari's, of metadata that is left out
def test_a_dataset_is_read_with_or_without_its_catalogue(minari_root, tmp_path):
    # Two packed episodes, so that rows of the second are not shifted.
    dataset = generate_dataset(
        "ope/small-v0", num_rounds=10_500, env_kwargs=KWARGS, card=False, progress=False
    )
    log = read_item_log(dataset)
    first, second = dataset.iterate_episodes()
    assert log.items[10_000:].tolist() == second.infos["item_id"][1:].tolist()
    assert log.propensities[:10_000].tolist() == first.infos["propensity"][1:].tolist()
    assert np.array_equal(log.contexts[10_000:].numpy(), second.observations[:-1])
    world = make_world(**KWARGS)
    assert torch.equal(log.embeddings, world.embeddings)

    spaces = {key: getattr(dataset, key) for key in ("observation_space", "action_space")}
    # Of an action only the direction counts.
    buffers = [dataclasses.replace(_buffer(first, 500), actions=3.0 * first.actions[:500])]
    outside = minari.create_dataset_from_buffers("ope/outside-v0", buffers, **spaces)
    bare = read_item_log(outside)
    assert bare.item_ids.tolist() == sorted(set(first.infos["item_id"][1:501].tolist()))
    assert bare.item_ids[bare.items].tolist() == first.infos["item_id"][1:501].tolist()
    shown = world.embeddings[torch.from_numpy(bare.item_ids)]
    assert torch.allclose(bare.embeddings, shown, atol=1e-7)
    np.save(tmp_path / "mine.npy", 2.0 * world.catalogue.embeddings)
    given = read_item_log(outside, embeddings=tmp_path / "mine.npy", normalize=True)
    assert given.items.tolist() == first.infos["item_id"][1:501].tolist()
    np.savez(minari_root / "ope/outside-v0/items.npz", embeddings=world.catalogue.embeddings)
    assert torch.equal(read_item_log(outside).embeddings, world.embeddings)
    np.save(tmp_path / "other.npy", world.catalogue.embeddings[::-1])
    with pytest.raises(ValueError, match="embeddings are of another catalogue"):
        read_item_log(outside, embeddings=tmp_path / "other.npy")

    buffers = [_buffer(first, 500, alone=False)]
    sessions = minari.create_dataset_from_buffers("ope/sessions-v0", buffers, **spaces)
    with pytest.raises(ValueError, match="rounds that stand alone"):
        read_item_log(sessions)


def _buffer(episode, length, alone=True):
    return minari.data_collector.EpisodeBuffer(
        observations=episode.observations[: length + 1],
        actions=episode.actions[:length],
        rewards=episode.rewards[:length],
        terminations=np.full(length, alone),
        truncations=episode.truncations[:length],
        infos={name: column[: length + 1] for name, column in episode.infos.items()},
    )


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


def test_the_benchmark_tells_coverage_and_refusals():
    rows = [
        {"estimator": "ips", "answers": a, "value": v, "low": v - 0.1, "high": v + 0.1}
        | {"truth": 0.5, "ess": 50.0, "boot_low": 0.0, "boot_high": 1.0}
        for a, v in ((1, 0.45), (1, 0.65), (0, 0.9))
    ]
    text = ope_accuracy.table(rows, answers=True)
    assert "2 of 3 | +0.0500 | 0.1118 |     0.1000 |    50% |             100%" in text
    assert "1 of 3 | +0.4000 | 0.4000 |     0.1000 |     0% |" in ope_accuracy.table(rows, False)
    assert "| 30 to 100" in ope_accuracy.by_ess(rows)
