from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.special import exp1

from recsim_drpo.agents.engine.networks import policy_log_prob
from recsim_drpo.agents.fleet import Fleet
from recsim_drpo.benchmarks.reproduce import runner
from recsim_drpo.benchmarks.reproduce.framework.experiments import Experiment
from recsim_drpo.benchmarks.reproduce.framework.settings import Settings
from recsim_drpo.benchmarks.reproduce.theory import (
    divergence,
    figure2,
    optimistic_dro,
    phantom,
    theorems as theory,
)
from recsim_drpo.benchmarks.reproduce.theory.optimistic_dro import Problem
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.datasets.generate import generate_dataset
from recsim_drpo.datasets.load import load_transitions
from recsim_drpo.reporting import plots
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.loop import train_fleet

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


@pytest.fixture(scope="module")
def found():
    return theory.run(Settings(quick=True, folder=Path(), progress=False))


def verdict(found, claim):
    return next(one for one in found["verdicts"] if one["claim"] == claim)


def test_every_claim_has_a_verdict_and_the_evidence_is_plain_json(found):
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert {one["claim"]: one["verdict"] for one in found["verdicts"]} == VERDICTS
    assert {one["command"] for one in found["verdicts"]} == {"recsim-drpo reproduce theory"}
    assert found["quick"] is True
    assert set(found["data"]) == set(theory.EXPERIMENTS)


def test_each_experiment_has_a_picture(found, tmp_path):
    pytest.importorskip("matplotlib")
    assert set(theory.draw(found, tmp_path)) == set(theory.EXPERIMENTS)
    paths = list(tmp_path.iterdir())
    assert {path.stem for path in paths} == set(theory.EXPERIMENTS)
    assert sorted(path.suffix for path in paths) == [".png"] * 9 + [".svg"] * 9


def test_the_same_picture_is_the_same_bytes(tmp_path):
    pytest.importorskip("matplotlib")
    first, second = (_draw_a_line(tmp_path / name) for name in ("first", "second"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def _draw_a_line(folder):
    folder.mkdir()
    figure, axes = plots.new_figure()
    axes.plot([0, 1], [1, 0], label="line")
    axes.fill_between([0, 1], [0, 0], [1, 0])
    return plots.save(figure, folder / "line")


def test_score_and_hessian_by_hand():
    # μ = 0.5, σ = 2, a = 3.5: z = 1.5.
    theta, action = [[0.5, np.log(2.0)]], [3.5]
    np.testing.assert_allclose(divergence.scores(theta, action), [[0.75, 1.25]])
    np.testing.assert_allclose(divergence.hessians(theta, action), [[[0.25, 1.5], [1.5, 4.5]]])


def test_the_hessian_of_one_sample_is_indefinite_and_the_average_over_the_policy_is_not(found):
    at_one = np.linalg.eigvalsh([[1.0, 2.0], [2.0, 2.0]])  # z = 1, σ = 1
    np.testing.assert_allclose(at_one, [(3 - 17**0.5) / 2, (3 + 17**0.5) / 2])
    text = verdict(found, "Proposition 3.1, Hessian")
    assert f"{at_one[1]:.2f} and −{-at_one[0]:.2f}" in text["because"]
    assert "200 of 200 positive definite" in text["ours"]
    assert "200 of 200 indefinite" in text["ours"]
    data = found["data"]["proposition-3.1"]
    z, single, average = (np.array(data[name]) for name in ("z", "single", "data"))
    trace, determinant = 1.0 + 2.0 * z**2, -2.0 * z**2
    np.testing.assert_allclose(
        single, (trace - np.sqrt(trace**2 - 4 * determinant)) / 2, atol=1e-12
    )
    assert (average[z < 0.99] > 0).all()
    assert (average[z > 1.01] < 0).all()


def flow(distance, sigma, duration):
    """A negative sample's gradient flow, by a general solver."""

    def field(_, state):
        d, xi = state
        return [d * np.exp(-2 * xi), 1.0 - d**2 * np.exp(-2 * xi)]

    def huge(_, state):
        return 12.0 + state[1]  # σ = 6e-6

    huge.terminal = True
    return solve_ivp(field, (0, duration), [distance, np.log(sigma)], events=huge, rtol=1e-10)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_a_near_negative_sample_lets_mu_rest_and_a_far_one_explodes(sigma):
    boundary = brentq(lambda d: float(divergence.repulsion_margin(d, sigma)), 1e-6, 5.0)
    assert divergence.repulsion_margin(1.02 * boundary, sigma) > 0
    assert flow(1.02 * boundary, sigma, 60.0).status == 1
    assert divergence.repulsion_margin(0.9 * boundary, sigma) < 0
    near = flow(0.9 * boundary, sigma, 30.0)
    assert near.status == 0
    assert near.y[1, -1] > np.log(sigma) + 3.0
    # Where it rests: v = e^u (E₁(u) + C) = 0.
    start = (0.9 * boundary) ** 2
    shift = np.exp(-start) / sigma**2 - exp1(start)
    rest = brentq(lambda u: exp1(u) + shift, start, 50.0)
    assert near.y[0, -1] == pytest.approx(rest**0.5, rel=1e-4)
    gradient = np.hypot(
        near.y[0, -1] * np.exp(-2 * near.y[1, -1]),
        (near.y[0, -1] * np.exp(-near.y[1, -1])) ** 2 - 1,
    )
    assert gradient == pytest.approx(1.0, abs=1e-3)


def test_sign_alone_does_not_decide(found):
    data = found["data"]["theorem-3.2"]
    assert exp1(data["boundary"] ** 2) * np.exp(data["boundary"] ** 2) == pytest.approx(1.0)
    ends = dict(zip(data["starts"], data["log_sigma"], strict=True))
    assert ends[0.6][-1] > 5.0  # σ grows, over all 800 steps
    assert len(ends[0.6]) == 801
    assert min(ends[0.7]) < -5.0  # σ falls
    assert len(ends[0.7]) < 801  # and overflows on the way
    assert "100 of 100 only expand σ" in verdict(found, "Theorem 3.2, sign alone")["ours"]


def torch_ascent(actions, advantage, steps, rate, adam, learn_sigma):
    theta = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimiser = (torch.optim.Adam if adam else torch.optim.SGD)([theta], lr=rate)
    samples = torch.as_tensor(actions)
    for _ in range(steps):
        optimiser.zero_grad()
        xi = theta[1] if learn_sigma else theta[1].detach()
        z = (samples - theta[0]) * torch.exp(-xi)
        (advantage * (0.5 * z**2 + xi)).mean().backward()
        optimiser.step()
    return theta.detach().numpy()


@pytest.mark.parametrize("adam", [False, True])
@pytest.mark.parametrize(("actions", "advantage"), [([2.0], -1.0), ([-0.3, 0.8, 1.2], 0.7)])
@pytest.mark.parametrize("learn_sigma", [False, True])
def test_ascent_is_torchs(actions, advantage, adam, learn_sigma):
    steps, rate = (50, 0.01) if adam else (8, 0.02)
    path = divergence.ascend(
        np.array(actions)[:, None], advantage, steps, rate, adam=adam, learn_sigma=learn_sigma
    )
    expected = torch_ascent(actions, advantage, steps, rate, adam, learn_sigma)
    np.testing.assert_allclose([path.mean[-1, 0], path.log_sigma[-1, 0]], expected, rtol=1e-6)


def test_growth_is_geometric_with_sigma_fixed_only(found):
    data = found["data"]["corollary-3.3"]
    fixed = 10.0 ** np.array(data["fixed"])
    displacement = 3.0 * 1.01 ** np.arange(401)
    np.testing.assert_allclose(fixed, np.hypot(displacement, displacement**2 - 1.0), rtol=1e-9)
    assert len(data["learnt_far"]) < 15  # steps until nothing finite is left
    assert max(data["learnt_near"]) < 0.01  # log₁₀ of at most 1


def test_what_adam_reaches_in_5000_steps(found):
    """log σ may move by more than 1.5: gradients that grow outrun Adam's second moment."""
    path = divergence.ascend(np.array([3.0]), -1.0, 5_000, 3e-4, adam=True)
    assert -2.7 < path.log_sigma[-1, 0] < -2.3
    assert f"to {path.log_sigma[-1, 0]:.2f}" in verdict(found, "Corollary 3.3, overflow")["because"]
    attracted = divergence.ascend(np.array([0.0]), 1.0, 5_000, 3e-4, adam=True)
    assert attracted.log_sigma[-1, 0] == pytest.approx(-1.5, abs=1e-3)


def test_sensitivity_as_sigma_falls(found):
    data = found["data"]["theorem-3.4"]
    sigma, norms = np.array(data["sigma"]), np.array(data["norm"])
    np.testing.assert_allclose(norms[1], np.hypot(sigma**-2, sigma**-2 - 1.0))
    assert "200 of 200" in verdict(found, "Theorem 3.4, contraction (Appendix C)")["ours"]
    assert data["adam_sigma"] == pytest.approx(0.23, abs=0.02)


def test_attraction_does_not_vanish_but_the_ratio_may_diverge(found):
    data = found["data"]["corollary-3.5"]
    assert data["single_positive"][-1] == pytest.approx(1.0, abs=1e-3)
    assert data["single"][-1] > 9.0
    assert data["fixed"][-1] > 6.0
    assert 1.0 < data["each"] < 50.0


def test_on_policy_scores_do_not_see_mu(found):
    data = found["data"]["proposition-3.6"]
    np.testing.assert_allclose(data["on_policy"], 3.0)  # 1 / σ² + 2
    d = np.array(data["offset"])
    np.testing.assert_allclose(data["off_policy"], d**2 + (d**2 - 1.0) ** 2)


def test_hard_thresholding_by_hand():
    coin = Problem(np.array([0.0, 1.0]), np.array([0.8, 0.2]), 0.5)
    assert optimistic_dro.quantile(coin) == 0.0  # P(R ≥ 1) is less than κ
    np.testing.assert_allclose(optimistic_dro.hard_threshold(coin), [0.8, 0.2])
    best, q = optimistic_dro.linear_programme(coin)
    assert best == pytest.approx(0.4)  # 0.2 / 0.5
    np.testing.assert_allclose(q, [0.6, 0.4])
    even = Problem(np.array([0.0, 0.4, 0.6, 1.0]), np.full(4, 0.25), 0.5)
    assert optimistic_dro.quantile(even) == 0.6
    np.testing.assert_allclose(optimistic_dro.hard_threshold(even), [0, 0, 0.5, 0.5])
    for nu in (0.4, 0.5, 0.6):
        assert optimistic_dro.dual(nu, even) == pytest.approx(0.8)


def test_atoms_decide_theorem_4_1(found):
    data = found["data"]["theorem-4.1"]
    assert np.abs(data["loss"]["distinct"]).max() < 1e-9
    assert np.abs(data["excess"]["distinct"]).max() < 1e-9
    loss, excess = np.array(data["loss"]["atoms"]), np.array(data["excess"]["atoms"])
    assert (loss > -1e-9).all()
    assert (loss > 1e-9).mean() > 0.5
    assert (excess[loss > 1e-9] > 0).all()
    text = verdict(found, "Theorem 4.1")
    assert f"worse in {(loss > 1e-9).sum():,} of 200, by up to {loss.max():.3f}" in text["ours"]


def entropic(w, rewards, tau):
    return np.mean(w * rewards) - tau * np.mean(w * np.log(w))


def test_eq_45_is_not_the_optimum_of_eq_43(found):
    rewards, tau = np.array([0.0, 0.4, 0.6, 1.0]), 0.2
    # λ of w = min(2, exp((R − λ) / τ)) with mean 1, by bisection: the KKT solution.
    level = brentq(lambda x: np.minimum(2.0, np.exp((rewards - x) / tau)).mean() - 1.0, -1.0, 1.0)
    w = np.minimum(2.0, np.exp((rewards - level) / tau))
    text = verdict(found, "Appendix F.3 (Eq. 42 to 45)")["because"]
    assert "(" + ", ".join(f"{x:.2f}" for x in w) + ")" in text
    assert f"{entropic(w, rewards, tau):.3f}" in text
    cut = 0.8 - tau * np.log(2.0)
    assert f"has {cut:.3f}" in text
    # No feasible weights do better: a search that knows nothing of the solution.
    draws = np.random.default_rng(0).dirichlet(np.ones(4), 20_000) * 4
    allowed = draws[(draws <= 2.0).all(axis=1) & (draws > 0).all(axis=1)]
    values = (allowed * rewards - tau * allowed * np.log(allowed)).mean(axis=1)
    assert cut + 0.02 < values.max() <= entropic(w, rewards, tau)
    stated = np.exp(np.array([0.6, 1.0]) / tau)
    assert 4 * stated[1] / stated.sum() > 2.0  # Eq. 45 breaks the cap


# --- phantom gradients ---


def test_the_monitors_log_is_a_datasets(minari_root, small_world, small_kwargs):
    dataset = generate_dataset(
        "tests/phantom-v0", scenario="extreme", num_rounds=50, seed=3, env_kwargs=small_kwargs,
        card=False,
    )  # fmt: skip
    expected = load_transitions(dataset).as_batch()
    batch = phantom.logged_rounds(small_world, "extreme", 3, 50).as_batch()
    for name in ("observations", "actions", "rewards", "terminations"):
        torch.testing.assert_close(getattr(batch, name), getattr(expected, name))


def test_split_is_a_partition_at_the_threshold():
    rewards = torch.tensor([0.1, 0.9, 0.4, 0.4, 0.0, 0.7])
    positive, negative = phantom.split(rewards, 0.5)  # K = 3, ν = 0.4, with its ties
    assert positive.tolist() == [1, 2, 3, 5]
    assert negative.tolist() == [0, 4]


def test_batches_come_from_their_own_side():
    side = phantom.Side([torch.tensor([3, 5]), torch.tensor([10, 11, 12])])
    drawn = side.draw(50, torch.Generator().manual_seed(0))
    assert drawn.shape == (2, 50)
    assert set(drawn[0].tolist()) == {3, 5}
    assert set(drawn[1].tolist()) == {10, 11, 12}


def transitions(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Transitions(
        torch.randn(size + 1, 3, generator=generator),
        torch.arange(size),
        torch.nn.functional.normalize(torch.randn(size, 4, generator=generator), dim=-1),
        torch.rand(size, generator=generator),
        torch.ones(size, dtype=torch.bool),
        {},
    )


@pytest.mark.parametrize("sigma", ["learned", "fixed", "state"])
def test_forces_against_autograd_and_the_formulas(sigma):
    fleet = Fleet("bc", observation_dim=3, action_dim=4, seeds=[0, 1],
                  overrides=[{"sigma": sigma}], dtype=torch.float64)  # fmt: skip
    batches = [transitions(20, seed).as_batch() for seed in (1, 2)]
    samples = [
        (b.observations.double().expand(2, -1, -1), b.actions.double().expand(2, -1, -1))
        for b in batches
    ]
    found = phantom.measure(fleet, sigma, samples)
    state = fleet.state_dict()
    for row in range(2):
        own = {
            k.removeprefix("parameters."): v[row].clone().requires_grad_()
            for k, v in state.items()
            if k.startswith("parameters.")
        }
        for side, (observations, actions) in zip(phantom.SIDES, samples, strict=True):
            loss = policy_log_prob(own, observations[row], actions[row], sigma).mean()
            gradients = torch.autograd.grad(loss, list(own.values()))
            total = torch.cat([g.flatten() for g in gradients]).norm()
            assert float(found[f"{side}_total"][row]) == pytest.approx(float(total))
            if sigma == "learned":
                by_name = dict(zip(own, gradients, strict=True))
                vector = by_name["log_std"]
                assert float(found[f"{side}_log_sigma"][row]) == pytest.approx(float(vector.norm()))
            # Positives pull, negatives push, and z² − 1 is what moves log σ.
            sign = 1.0 if side == "actual" else -1.0
            expected = sign * (found[f"{side}_z_squared"][row] - 1.0)
            assert float(found[f"{side}_expanding"][row]) == pytest.approx(float(expected))
            assert float(found[f"{side}_away"][row]) * sign < 0
            if sigma != "state":  # σ = 1: the force on μ is the distance itself
                distance = float(found[f"{side}_distance"][row])
                assert float(found[f"{side}_away"][row]) == pytest.approx(-sign * distance)


@pytest.mark.parametrize("name", ["learned", "learned, from 1/√128"])
def test_phantom_gradients_are_never_applied(name):
    """The policies are those that see nothing but positives, in the order of their seeds."""
    logs, seeds, variant = [transitions(60, 1), transitions(60, 2)], [4, 7], phantom.VARIANTS[name]
    series = phantom.monitor(logs, seeds, 0.3, variant, 6, 2, progress=False, label="test")
    assert series["sigma"].shape == (2, 4)
    assert series["phantom_log_sigma_of_6400"].shape == (2, 1)
    assert series["sigma"][:, 0] == pytest.approx(np.exp(variant.log_sigma))
    fleet = Fleet("bc", observation_dim=3, action_dim=4, seeds=seeds)
    state = fleet.state_dict()
    state["parameters.log_std"].fill_(variant.log_sigma)
    fleet.load_state_dict(state)
    positives = []
    for log in logs:
        rows, _ = phantom.split(log.rewards, 0.3)
        kept = log.take(rows)
        observations = torch.cat([kept.observations, torch.zeros(1, 3)])
        ends = torch.ones(len(rows), dtype=torch.bool)
        positives.append(
            Transitions(observations, torch.arange(len(rows)), kept.actions, kept.rewards, ends, {})
        )
    config = TrainingConfig(steps=6, batch_size=phantom.BATCH_SIZE)
    train_fleet(fleet, positives, config, progress=False)
    expected = fleet.state_dict()["parameters.log_std"].mean(dim=1).exp()
    np.testing.assert_allclose(series["sigma"][:, -1], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("law", "values"),
    [
        ("exponential", lambda t: 3.0 * np.exp(0.002 * t)),
        ("linear", lambda t: 3.0 + 0.01 * t),
        ("power law", lambda t: 0.5 * (t + 1e-9) ** 0.7),
    ],
)
def test_growth_laws_are_told_apart(law, values):
    times = np.arange(0, 2_001, 50, dtype=float)
    assert figure2.growth(times, values(times)) == law


def synthetic(ratio, sigma_force=-0.5, sigma=0.08, rate=0.0):
    times = np.arange(0, 2_001, 50, dtype=float)
    flat = np.ones((3, len(times))) * np.array([[0.99], [1.0], [1.01]])
    series = {f"actual_{name}": flat for name in ("total", "mu", "log_sigma", "z_squared")}
    series |= {f"phantom_{name}": ratio * np.ones_like(flat) for name in ("mu", "log_sigma")}
    series["phantom_total"] = ratio * np.ones_like(flat) * np.exp(rate * times)
    series |= {f"actual_log_sigma_of_{size}": flat[:, :1] for size in phantom.PROBES}
    series |= {f"phantom_log_sigma_of_{size}": flat[:, :1] for size in phantom.PROBES}
    series |= {"phantom_outward": flat, "phantom_expanding": sigma_force * flat}
    return series | {"sigma": sigma * flat, "mean_norm": flat}


def judge(make):
    runs = {
        f"{scenario}, κ {kappa:g}, {name}": make(scenario, kappa, name)
        for scenario in figure2.SCENARIOS
        for kappa in figure2.KAPPAS
        for name in phantom.VARIANTS
    }
    found = figure2.verdicts(runs, np.arange(0, 2_001, 50, dtype=float))
    return {one.claim: one for one in found}


def test_verdicts_follow_the_evidence():
    found = judge(lambda *_: synthetic(2.0))
    assert found["Figure 2, ratio on μ"].verdict == "holds"
    assert found["Figure 2, ratio on σ"].verdict == "does not hold"
    assert found["Section 5.2 and Figure 2a, growth"].verdict == "does not hold"
    assert found["Figure 2b, μ expands"].verdict == "holds"
    assert found["Figure 2b, σ expands"].verdict == "does not hold"
    assert found["Section 5.2, σ → 0"].verdict == "does not hold"

    found = judge(lambda scenario, kappa, name: synthetic(58.0 if name == "state" else 1.0))
    assert found["Figure 2, ratio on σ"].verdict == "holds under a condition"
    assert found["Figure 2, ratio on σ"].because.startswith("Met for σ state. ")

    found = judge(
        lambda scenario, kappa, name: synthetic(
            1.0, 0.5 if kappa == 0.05 else -0.5, rate=1e-3 if scenario == "extreme" else 0.0
        )
    )
    assert found["Figure 2b, σ expands"].because.startswith("Met for κ 0.05. ")
    assert found["Section 5.2 and Figure 2a, growth"].because.startswith("Met for extreme. ")


def test_a_ratio_is_over_the_last_fifth_and_paired_by_seed():
    actual = np.ones((2, 10))
    growing = np.tile(np.arange(10.0), (2, 1)) * np.array([[1.0], [2.0]])
    one = figure2.ratio({"actual_mu": actual, "phantom_mu": growing}, "mu")
    assert one.value == pytest.approx(np.mean([8.5, 17.0]))  # records 8 and 9
    assert one.low < 8.5
    assert one.high > 17.0


def test_figure_2_in_small(tmp_path):
    how = {"seeds": range(2), "steps": 4, "every": 1, "num_rounds": 200}
    found = figure2.experiment(progress=False, **how)
    parts = {"figure-2": found}
    made = figure2.result("figure2", True, parts)
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert len(made["data"]["figure-2"]["runs"]) == 16
    assert {one["command"] for one in made["verdicts"]} == {"recsim-drpo reproduce figure2"}
    # From σ = 1 unit vectors in 128 dimensions are near: negatives expand σ, positives shrink it.
    learned = made["data"]["figure-2"]["runs"]["medium, κ 0.5, learned"]
    assert learned["phantom_expanding"]["low"][0] > 0.95
    assert learned["actual_expanding"]["high"][0] < -0.95
    pytest.importorskip("matplotlib")
    names = list(figure2.draw(made, tmp_path))
    assert names == ["figure-2-kappa-0.5", "figure-2-kappa-0.05"]
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}.{kind}" for name in names for kind in ("png", "svg")
    }


def test_seeds_count_for_figure_2_and_are_refused_where_there_are_none(tmp_path, monkeypatch):
    monkeypatch.setattr(
        figure2, "experiment", lambda seeds, **how: Experiment({"seeds": list(seeds)}, [])
    )
    settings = Settings(quick=True, folder=tmp_path, num_seeds=3, progress=False)
    assert figure2.run(settings)["data"] == {"figure-2": {"seeds": [0, 1, 2]}}
    with pytest.raises(ValueError, match="seeds=3: theory has none"):
        runner.reproduce(["theory"], settings)
    assert not (tmp_path / "theory").exists()
