from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings, strategies as st

from recsim_drpo.agents import Batch, Fleet
from recsim_drpo.agents.registry import ALGORITHMS
from tests.agents.conftest import (
    NAMES,
    SEEDS,
    alone,
    every_number_varied,
    fleet_of,
    of_learner,
    random_batches,
    transitions_of,
    with_infos,
)


@pytest.mark.parametrize(
    ("steps", "dtype", "tolerance", "episodes"),
    [
        pytest.param(20, torch.float64, 1e-9, True, id="float64-episodes"),
        pytest.param(20, torch.float32, 1e-4, False, id="float32"),
        pytest.param(200, torch.float64, 1e-9, False, id="long-float64", marks=pytest.mark.slow),
        pytest.param(200, torch.float64, 1e-9, True, id="long-episodes", marks=pytest.mark.slow),
        pytest.param(200, torch.float32, 1e-4, False, id="long-float32", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_learner_k_of_a_fleet_is_that_learner_alone(name, steps, dtype, tolerance, episodes):
    fleet = fleet_of(name, overrides=every_number_varied(name, steps), dtype=dtype)
    assert len(fleet) == 4
    assert fleet.num_groups == 1
    singles = {k: alone(fleet.members[k], name, dtype=dtype) for k in (0, 3)}
    batches = random_batches(len(fleet), dtype=dtype, episodes=episodes)
    for step in range(steps):
        batch = next(batches)
        together = fleet.update(batch)
        separate = {k: learner.update(of_learner(batch, k)) for k, learner in singles.items()}
        if step == 0:
            for k, metrics in separate.items():
                assert metrics.keys() == together.keys()
                for key, value in metrics.items():
                    torch.testing.assert_close(
                        together[key][k].to(value.dtype), value, rtol=1e-5, atol=1e-6
                    )
    state = fleet.state_dict()
    for k, learner in singles.items():
        assert fleet.members[k].config == learner.config
        for key, value in learner.state_dict().items():
            assert state[key][k].dtype == value.dtype, key
            if not key.startswith("adam"):
                torch.testing.assert_close(
                    state[key][k], value, rtol=0.0, atol=tolerance, msg=lambda m, key=key: key + m
                )


@pytest.mark.parametrize("name", NAMES)
def test_draws_of_learner_k_are_those_of_that_learner_alone(name):
    fleet = fleet_of(name)
    observations = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    for _ in range(2):
        together = fleet.sample(observations)
        assert together.shape == (2, 5, 2)
    for k, member in enumerate(fleet.members):
        learner = alone(member, name)
        learner.sample(observations)
        torch.testing.assert_close(learner.sample(observations), together[k])
        torch.testing.assert_close(fleet.act(observations)[k], learner.act(observations))
    own = torch.stack([observations, observations + 1.0])
    torch.testing.assert_close(fleet.act(own)[1], fleet.act(observations + 1.0)[1])


def test_structural_hyperparameters_split_a_fleet_and_keep_its_order():
    variants = [
        {"hidden_dim": 8},
        {"num_hidden_layers": 3, "hidden_dim": 8},
        {"hidden_dim": 8, "learning_rate": 1e-2},
        {"sigma": "state", "hidden_dim": 8},
        {"baseline": "mean", "hidden_dim": 8},
    ]
    fleet = fleet_of("drpo", overrides=variants)
    assert fleet.num_groups == 4
    singles = [alone(member, "drpo") for member in fleet.members]
    assert [(m.seed, m.overrides) for m in fleet.members] == [
        (seed, v) for v in variants for seed in SEEDS
    ]
    assert fleet.seeds.tolist() == [seed for _ in variants for seed in SEEDS]
    batches = random_batches(len(fleet))
    for _ in range(5):
        batch = next(batches)
        metrics = fleet.update(batch)
        for k, learner in enumerate(singles):
            torch.testing.assert_close(
                metrics["loss"][k], learner.update(of_learner(batch, k))["loss"]
            )
    for k, learner in enumerate(singles):
        observations = batch.observations[k]
        torch.testing.assert_close(fleet.act(observations)[k], learner.act(observations))
        torch.testing.assert_close(fleet.learner(k).act(observations), learner.act(observations))
    torch.testing.assert_close(
        fleet.act(batch.observations)[3], singles[3].act(batch.observations[3])
    )


def test_a_train_step_is_an_update_and_bind_its_former_name():
    variants = [{"hidden_dim": 8}, {"hidden_dim": 4}]
    log = transitions_of(of_learner(next(random_batches(1)), 0))
    fleets = [fleet_of("drpo", overrides=variants) for _ in range(3)]
    steps = [
        lambda indices: fleets[0].update(log.take(indices)),
        fleets[1].make_train_step(log, 8),
        fleets[2].bind(log, 8),
    ]
    for seed in range(3):
        indices = torch.randint(16, (4, 8), generator=torch.Generator().manual_seed(seed))
        losses = [step(indices)["loss"] for step in steps]
        assert all(torch.equal(loss, losses[0]) for loss in losses)


def test_a_metric_that_a_learner_lacks_is_nan():
    fleet = fleet_of("apg", seeds=[0], overrides=[{}, {"baseline": "value"}])
    metrics = fleet.update(next(random_batches(2)))
    assert metrics.keys() >= {"loss", "negative_share"}
    assert bool(torch.isfinite(metrics["loss"]).all())


@pytest.mark.parametrize("name", NAMES)
def test_a_fleet_resumes_bit_exactly(name):
    variants = [{"hidden_dim": 8}, {"hidden_dim": 8, "learning_rate": 1e-2}, {"hidden_dim": 4}]
    through, stopped = (fleet_of(name, overrides=variants) for _ in range(2))
    batches = random_batches(6)
    some = [next(batches) for _ in range(6)]
    for batch in some[:3]:
        for fleet in (through, stopped):
            fleet.update(batch)
            fleet.sample(batch.observations)
    resumed = fleet_of(name, seeds=(7, 8), overrides=variants)
    resumed.load_state_dict(stopped.state_dict())
    for batch in some[3:]:
        through.update(batch)
        resumed.update(batch)
    observations = some[0].observations
    assert torch.equal(through.sample(observations), resumed.sample(observations))
    state = resumed.state_dict()
    assert any(key.startswith("group-1.") for key in state)
    for key, value in through.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_a_state_that_does_not_fit_changes_nothing():
    variants = [{"hidden_dim": 8}, {"hidden_dim": 4}]
    fleet = fleet_of("drpo", overrides=variants)
    before = fleet.state_dict()
    other = fleet_of("drpo", seeds=(1, 2), overrides=variants).state_dict()
    other["group-1.state.kappa"] = torch.zeros(3)
    for state in (other, {**before, "surplus": torch.zeros(1)}):
        with pytest.raises(ValueError, match="does not fit this"):
            fleet.load_state_dict(state)
    for key, value in fleet.state_dict().items():
        assert torch.equal(value, before[key])


def test_what_a_fleet_tells_of_itself_is_a_copy_and_follows_its_state():
    fleet = fleet_of("bc")
    fleet.diverged_at.fill_(5)
    fleet.seeds.fill_(5)
    assert fleet.diverged_at.tolist() == [-1, -1]
    assert fleet.seeds.tolist() == list(SEEDS)
    fleet.load_state_dict(fleet_of("bc", seeds=(7, 8)).state_dict())
    assert [member.seed for member in fleet.members] == fleet.seeds.tolist() == [7, 8]


def test_a_loss_sees_the_info_columns_of_its_own_learner():
    def loss(parameters, state, batch, noise, config):
        output = ALGORITHMS["bc"].loss(parameters, state, batch, noise, config)
        return output._replace(metrics={"mean": batch.infos["propensity"].mean()})

    weighing = dataclasses.replace(ALGORITHMS["bc"], name="weighing", loss=loss)
    fleet = Fleet(
        weighing,
        observation_dim=3,
        action_dim=2,
        seeds=[0, 1],
        overrides=[{"hidden_dim": 8}, {"hidden_dim": 4}],
    )
    batch = next(random_batches(4))
    infos = {"propensity": torch.arange(4.0).unsqueeze(1).expand(4, 16)}
    metrics = fleet.update(batch._replace(infos=infos))
    assert metrics["mean"].tolist() == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"agent": "drop"}, "Did you mean 'drpo'"),
        ({"overrides": [{}, {"initial_kapa": 0.3}]}, "Did you mean 'initial_kappa'"),
        ({"overrides": [{}, {"initial_kappa": 0.0}]}, "initial_kappa=0.0"),
        ({"overrides": []}, "makes no learner"),
        ({"overrides": {"learning_rate": [1e-3]}}, "must be a list of hyper-parameters"),
        ({"overrides": [{"adaptive": "no"}]}, "adaptive='no' is neither true nor false"),
        ({"seeds": [1, 1]}, "different seeds"),
        ({"seeds": []}, "at least one"),
        ({"precision": "fp8"}, "Unknown precision"),
        ({"precision": "tf32"}, "arithmetic of CUDA devices"),
        ({"execution": "graph"}, "needs a CUDA device"),
        ({"execution": "fast"}, "Unknown execution"),
        ({"dtype": torch.float16}, "neither torch.float32 nor"),
        ({"observation_dim": 0}, "observation_dim=0"),
    ],
)
def test_bad_arguments_say_what_is_wrong(arguments, message):
    keywords = {"agent": "drpo", "observation_dim": 3, "action_dim": 2, "seeds": SEEDS, **arguments}
    with pytest.raises(ValueError, match=message):
        Fleet(keywords.pop("agent"), **keywords)


def test_batches_and_observations_that_do_not_fit_are_refused():
    fleet = fleet_of("drpo")
    batch = next(random_batches(2))
    for wrong in (of_learner(batch, 0), next(random_batches(3)), batch._replace(rewards=batch[0])):
        with pytest.raises(ValueError, match="Batch field"):
            fleet.update(wrong)
    for shape in ((5, 4), (3, 5, 3), (3,)):
        with pytest.raises(ValueError, match="Observations of shape"):
            fleet.act(torch.zeros(shape))
    with pytest.raises(ValueError, match="number=2"):
        fleet.learner(2)


@given(
    st.sampled_from(NAMES),
    st.integers(2, 20),
    st.integers(1, 4),
    st.integers(1, 5),
    st.sampled_from([torch.float32, torch.float64]),
    st.lists(st.floats(1e-4, 1e-2), min_size=1, max_size=3, unique=True),
)
@settings(max_examples=25, deadline=None)
def test_any_shape_and_type_trains(name, size, obs, act, dtype, rates):
    fleet = Fleet(
        name,
        observation_dim=obs,
        action_dim=act,
        seeds=[0, 1],
        overrides=[{"learning_rate": rate, "hidden_dim": 4} for rate in rates],
        dtype=dtype,
    )
    rows = (len(fleet), size)
    generator = torch.Generator().manual_seed(size)
    batch = Batch(
        torch.randn(*rows, obs, generator=generator),
        torch.randn(*rows, act, generator=generator),
        torch.rand(rows, generator=generator),
        torch.randn(*rows, obs, generator=generator),
        torch.rand(rows, generator=generator) > 0.5,
    )
    batch = with_infos(batch, generator)
    for _ in range(2):
        metrics = fleet.update(batch)
    assert all(value.shape == (len(fleet),) for value in metrics.values())
    assert bool(torch.isfinite(metrics["loss"]).all())
    assert fleet.act(batch.observations).dtype == dtype
    assert fleet.act(batch.observations[0]).shape == (len(fleet), size, act)
