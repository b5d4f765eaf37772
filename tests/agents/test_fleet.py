from __future__ import annotations

import dataclasses
import shutil

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.profiler import ProfilerActivity, profile

from recsim_drpo import make_agent
from recsim_drpo.agents import Batch, Fleet
from recsim_drpo.agents.engine.engine import numeric_fields
from recsim_drpo.agents.registry import ALGORITHMS
from recsim_drpo.core.transitions import Transitions

NAMES = sorted(ALGORITHMS)
SEEDS = (3, 11)
# Short schedules, so that two hundred updates meet every phase.
SCHEDULES = {"bppo": {"bc_steps": 80, "replace_every": 20}, "crr": {"target_every": 30}}


def random_batches(num_learners, size=16, seed=0, dtype=torch.float32, episodes=False):
    """Batches (L, B, ·) without end, other ones for each learner."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(num_learners, size, *shape, generator=generator).to(dtype)

    while True:
        rewards = torch.rand(num_learners, size, generator=generator).to(dtype)
        ends = rewards > (0.5 if episodes else -1.0)
        yield Batch(normal(3), normal(2), rewards, normal(3), ends)


def transitions_of(batch):
    """A log of one-step episodes."""
    size = len(batch.rewards)
    both = torch.stack([batch.observations, batch.next_observations], dim=1).flatten(0, 1)
    rows = torch.arange(size, device=both.device) * 2
    return Transitions(both, rows, batch.actions, batch.rewards, batch.terminations, {})


def of_learner(batch, number):
    return Batch(*(getattr(batch, name)[number] for name in Batch._fields[:5]))


def fleet_of(name, seeds=SEEDS, overrides=({},), **options):
    return Fleet(name, observation_dim=3, action_dim=2, seeds=seeds, overrides=overrides, **options)


def alone(member, name, **options):
    return make_agent(
        name, observation_dim=3, action_dim=2, seed=member.seed, **member.overrides, **options
    )


def every_number_varied(name):
    """Two variants that differ in every real-valued hyper-parameter that the algorithm has."""
    config = ALGORITHMS[name].config
    structural = {"hidden_dim": 8, **SCHEDULES.get(name, {})}
    defaults = config(**structural)
    moved = {
        field: 1.0 + 0.7 * (getattr(defaults, field) - 1.0)
        if field in ("relax_rate", "tighten_rate", "discount", "epsilon_decay")
        else 0.7 * getattr(defaults, field)
        for field in numeric_fields(config)
    }
    return [structural, {**structural, **moved}]


@pytest.mark.parametrize(
    ("dtype", "tolerance", "episodes"),
    [(torch.float64, 1e-9, False), (torch.float64, 1e-9, True), (torch.float32, 1e-4, False)],
    ids=["float64", "float64-episodes", "float32"],
)
@pytest.mark.parametrize("name", NAMES)
def test_learner_k_of_a_fleet_is_that_learner_alone(name, dtype, tolerance, episodes):
    fleet = fleet_of(name, overrides=every_number_varied(name), dtype=dtype)
    assert len(fleet) == 4
    assert fleet.num_groups == 1
    singles = {k: alone(fleet.members[k], name, dtype=dtype) for k in (0, 3)}
    batches = random_batches(len(fleet), dtype=dtype, episodes=episodes)
    for step in range(200):
        batch = next(batches)
        together = fleet.update(batch)
        separate = {k: one.update(of_learner(batch, k)) for k, one in singles.items()}
        if step == 0:
            for k, metrics in separate.items():
                assert metrics.keys() == together.keys()
                for key, value in metrics.items():
                    torch.testing.assert_close(
                        together[key][k].to(value.dtype), value, rtol=1e-5, atol=1e-6
                    )
    state = fleet.state_dict()
    for k, one in singles.items():
        assert fleet.members[k].config == one.config
        for key, value in one.state_dict().items():
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
        one = alone(member, name)
        one.sample(observations)
        torch.testing.assert_close(one.sample(observations), together[k])
        torch.testing.assert_close(fleet.act(observations)[k], one.act(observations))
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
        for k, one in enumerate(singles):
            torch.testing.assert_close(metrics["loss"][k], one.update(of_learner(batch, k))["loss"])
    for k, one in enumerate(singles):
        observations = batch.observations[k]
        torch.testing.assert_close(fleet.act(observations)[k], one.act(observations))
        torch.testing.assert_close(fleet.learner(k).act(observations), one.act(observations))
    torch.testing.assert_close(
        fleet.act(batch.observations)[3], singles[3].act(batch.observations[3])
    )


def test_a_metric_that_a_learner_lacks_is_nan():
    fleet = fleet_of("apg", seeds=[0], overrides=[{}, {"baseline": "value"}])
    metrics = fleet.update(next(random_batches(2)))
    assert metrics.keys() >= {"loss", "negative_share"}
    assert bool(torch.isfinite(metrics["loss"]).all())


def poisoned(batch, number):
    """A batch whose far actions make policy gradients of learner ``number`` overflow."""
    actions = batch.actions.clone()
    actions[number] = 1e30
    return batch._replace(actions=actions)


@pytest.mark.parametrize("name", NAMES)
def test_a_diverging_learner_is_frozen_and_touches_no_neighbour(name):
    overrides = [{"hidden_dim": 8, **SCHEDULES.get(name, {})}]
    fleet = fleet_of(name, seeds=[0, 1, 2], overrides=overrides)
    healthy = fleet_of(name, seeds=[0, 1, 2], overrides=overrides)
    batches = random_batches(3)
    for step in range(1, 13):
        batch = next(batches)
        before = fleet.learner(1).state_dict()
        fleet.update(poisoned(batch, 1) if step == 6 else batch)
        healthy.update(batch)
        if step == 6:
            frozen = before
    assert fleet.diverged_at.tolist() == [-1, 6, -1]
    after, reference = fleet.state_dict(), healthy.state_dict()
    for key, value in reference.items():
        for k in (0, 2):
            assert torch.equal(after[key][k], value[k]), key
    for key, value in fleet.learner(1).state_dict().items():
        if key not in ("step", "diverged_at"):
            assert torch.equal(value, frozen[key]), key
    assert bool(torch.isfinite(fleet.act(torch.zeros(4, 3))).all())
    assert fleet.learner(1).diverged_at == 6
    assert fleet.learner(0).diverged_at is None


@pytest.mark.parametrize("name", ["apg", "asymre-delta"])
def test_a_finite_gradient_whose_square_overflows_freezes_at_once(name):
    """Adam's second moment would be infinite, and the parameters NaN one update later."""
    fleet = fleet_of(name, seeds=[0, 1])
    batches = random_batches(2)
    fleet.update(next(batches))
    batch = next(batches)
    rewards = batch.rewards.clone()
    rewards[0] *= 1e25
    before = fleet.learner(0).state_dict()
    metrics = fleet.update(batch._replace(rewards=rewards))
    assert bool(torch.isfinite(metrics["loss"][0]))
    for _ in range(4):
        fleet.update(next(batches))
    assert fleet.diverged_at.tolist() == [2, -1]
    for key, value in fleet.learner(0).state_dict().items():
        if key not in ("step", "diverged_at"):
            assert torch.equal(value, before[key]), key


def test_an_apg_learner_that_overflows_by_itself_leaves_the_others_as_they_were():
    """Plain policy gradient on signed advantages, with a step length that runs away."""
    overrides = [{"learning_rate": 3e-4}, {"learning_rate": 1e6}, {"learning_rate": 1e-3}]
    fleet = fleet_of("apg", seeds=[5], overrides=overrides)
    others = fleet_of("apg", seeds=[5], overrides=[overrides[0], overrides[2]])
    batches = random_batches(3)
    for _ in range(150):
        batch = next(batches)
        fleet.update(batch)
        others.update(Batch(*(getattr(batch, f)[[0, 2]] for f in Batch._fields[:5])))
    first, second, third = fleet.diverged_at.tolist()
    assert first == third == -1
    assert 1 < second <= 150
    for k, j in ((0, 0), (2, 1)):
        torch.testing.assert_close(
            fleet.state_dict()["parameters.policy.weight_0"][k],
            others.state_dict()["parameters.policy.weight_0"][j],
        )


@pytest.mark.parametrize("name", NAMES)
def test_a_fleet_resumes_bit_exactly(name):
    variants = [{"hidden_dim": 8}, {"hidden_dim": 8, "learning_rate": 1e-2}, {"hidden_dim": 4}]
    through, stopped = (fleet_of(name, overrides=variants) for _ in range(2))
    batches = random_batches(6)
    given = [next(batches) for _ in range(6)]
    for batch in given[:3]:
        for fleet in (through, stopped):
            fleet.update(batch)
            fleet.sample(batch.observations)
    resumed = fleet_of(name, seeds=(7, 8), overrides=variants)
    resumed.load_state_dict(stopped.state_dict())
    for batch in given[3:]:
        through.update(batch)
        resumed.update(batch)
    observations = given[0].observations
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


@pytest.mark.parametrize("name", NAMES)
def test_updates_never_wait_for_the_device(name):
    """Nothing is brought to the host: neither a number nor the truth of a condition."""
    fleet = fleet_of(name, overrides=every_number_varied(name))
    batches = random_batches(len(fleet))
    fleet.update(next(batches))
    batch = next(batches)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(3):
            fleet.update(batch)
    names = {event.key for event in profiled.key_averages()}
    assert "aten::add" in names or "aten::mul" in names
    waits = {"aten::item", "aten::_local_scalar_dense", "aten::is_nonzero", "aten::nonzero"}
    assert names & waits == set()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        float(fleet.update(batch)["loss"][0])
    assert waits & {event.key for event in profiled.key_averages()}


@pytest.mark.parametrize("name", ["bc", "drpo", "iql"])
def test_bfloat16_learns_nearly_the_same(name):
    exact, rounded = (fleet_of(name, precision=p) for p in ("float32", "bf16"))
    batches = random_batches(2)
    for _ in range(20):
        batch = next(batches)
        losses = [fleet.update(batch)["loss"] for fleet in (exact, rounded)]
    assert not torch.equal(*losses)
    torch.testing.assert_close(*losses, rtol=0.05, atol=0.05)
    assert rounded.act(batch.observations).dtype == torch.float32


@pytest.mark.parametrize("name", ["bc", "drpo-q"])
def test_in_bfloat16_a_fleet_and_a_learner_alone_sum_in_the_same_type(name):
    fleet = fleet_of(name, precision="bf16")
    one = alone(fleet.members[1], name, precision="bf16")
    batches = random_batches(2)
    for _ in range(3):
        batch = next(batches)
        together, separate = fleet.update(batch), one.update(of_learner(batch, 1))
    for key, value in separate.items():
        assert value.dtype == together[key].dtype, key
        torch.testing.assert_close(together[key][1], value, rtol=0.02, atol=0.02)


def test_what_a_fleet_tells_of_itself_is_a_copy_and_follows_its_state():
    fleet = fleet_of("bc")
    fleet.diverged_at.fill_(5)
    fleet.seeds.fill_(5)
    assert fleet.diverged_at.tolist() == [-1, -1]
    assert fleet.seeds.tolist() == list(SEEDS)
    fleet.load_state_dict(fleet_of("bc", seeds=(7, 8)).state_dict())
    assert [member.seed for member in fleet.members] == fleet.seeds.tolist() == [7, 8]


def test_a_log_that_does_not_fit_is_refused_before_training():
    batch = of_learner(next(random_batches(1)), 0)
    for wrong, message in (
        (batch._replace(actions=batch.actions[:, :1]), "action_dim='1'"),
        (
            batch._replace(observations=torch.zeros(16, 4), next_observations=torch.zeros(16, 4)),
            "observation_dim='4'",
        ),
    ):
        for agent in (fleet_of("bc"), make_agent("bc", observation_dim=3, action_dim=2)):
            with pytest.raises(ValueError, match=message):
                agent.make_train_step(transitions_of(wrong), 8)


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
    given = {"agent": "drpo", "observation_dim": 3, "action_dim": 2, "seeds": SEEDS, **arguments}
    with pytest.raises(ValueError, match=message):
        Fleet(given.pop("agent"), **given)


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
    for _ in range(2):
        metrics = fleet.update(batch)
    assert all(value.shape == (len(fleet),) for value in metrics.values())
    assert bool(torch.isfinite(metrics["loss"]).all())
    assert fleet.act(batch.observations).dtype == dtype
    assert fleet.act(batch.observations[0]).shape == (len(fleet), size, act)


@pytest.mark.slow
@pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="torch.compile needs a compiler"
)
@pytest.mark.parametrize("name", NAMES)
def test_compiled_steps_are_the_eager_ones(name):
    overrides = every_number_varied(name)
    eager, compiled = (
        fleet_of(name, overrides=overrides, execution=how, dtype=torch.float64)
        for how in ("eager", "compile")
    )
    batches = random_batches(len(eager), dtype=torch.float64)
    for _ in range(20):
        batch = next(batches)
        eager.update(batch)
        compiled.update(batch)
    state = compiled.state_dict()
    for key, value in eager.state_dict().items():
        torch.testing.assert_close(state[key], value, rtol=0.0, atol=1e-9)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", NAMES)
def test_a_captured_graph_is_the_eager_step(name):
    overrides = every_number_varied(name)
    eager, captured = (
        fleet_of(name, overrides=overrides, execution=how, dtype=torch.float64, device="cuda")
        for how in ("eager", "graph")
    )
    rows = [
        {k: v.cuda() for k, v in b._asdict().items() if k != "infos"}
        for b, _ in zip(random_batches(1, 64, dtype=torch.float64), range(1), strict=False)
    ]
    log = transitions_of(Batch(**{k: v[0] for k, v in rows[0].items()}))
    generator = torch.Generator("cuda").manual_seed(0)
    steps = [fleet.make_train_step(log, 16) for fleet in (eager, captured)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(50):
            indices = torch.randint(64, (len(eager), 16), generator=generator, device="cuda")
            for step in steps:
                step(indices)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    state = captured.state_dict()
    for key, value in eager.state_dict().items():
        torch.testing.assert_close(state[key], value, rtol=0.0, atol=1e-9)
    # The graph owns the state: what changes it otherwise has to reach the graph.
    fresh = fleet_of(
        name, overrides=overrides, execution="eager", dtype=torch.float64, device="cuda"
    ).state_dict()
    for fleet, step in zip((eager, captured), steps, strict=True):
        fleet.load_state_dict(fresh)
        fleet.sample(log.observations())
        step(indices)
        fleet.update(log.take(indices))
        step(indices)
    state = captured.state_dict()
    for key, value in eager.state_dict().items():
        torch.testing.assert_close(state[key], value, rtol=0.0, atol=1e-9)


def test_a_state_dict_is_contiguous_as_checkpoints_need_it():
    fleet = Fleet("iql", observation_dim=3, action_dim=4, seeds=[0, 1])
    for holder in (fleet, fleet.learner(1)):
        assert all(tensor.is_contiguous() for tensor in holder.state_dict().values())
