from __future__ import annotations

import json

import numpy as np
import pytest

from recsim_drpo.benchmarks.reproduce import runner
from recsim_drpo.benchmarks.reproduce.framework.evidence import Evidence
from recsim_drpo.benchmarks.reproduce.framework.settings import Settings
from recsim_drpo.benchmarks.reproduce.framework.store import Store
from recsim_drpo.benchmarks.reproduce.theory import figure2, phantom


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
    verdicts = figure2.verdicts(runs, np.arange(0, 2_001, 50, dtype=float))
    return {verdict.claim: verdict for verdict in verdicts}


def test_verdicts_follow_the_evidence():
    verdicts = judge(lambda *_: synthetic(2.0))
    assert verdicts["Figure 2, ratio on μ"].verdict == "holds"
    assert verdicts["Figure 2, ratio on σ"].verdict == "does not hold"
    assert verdicts["Section 5.2 and Figure 2a, growth"].verdict == "does not hold"
    assert verdicts["Figure 2b, μ expands"].verdict == "holds"
    assert verdicts["Figure 2b, σ expands"].verdict == "does not hold"
    assert verdicts["Section 5.2, σ → 0"].verdict == "does not hold"

    verdicts = judge(lambda scenario, kappa, name: synthetic(58.0 if name == "state" else 1.0))
    assert verdicts["Figure 2, ratio on σ"].verdict == "holds under a condition"
    assert verdicts["Figure 2, ratio on σ"].because.startswith("Met for σ state. ")

    verdicts = judge(
        lambda scenario, kappa, name: synthetic(
            1.0, 0.5 if kappa == 0.05 else -0.5, rate=1e-3 if scenario == "extreme" else 0.0
        )
    )
    assert verdicts["Figure 2b, σ expands"].because.startswith("Met for κ 0.05. ")
    assert verdicts["Section 5.2 and Figure 2a, growth"].because.startswith("Met for extreme. ")


def test_a_ratio_is_over_the_last_fifth_and_paired_by_seed():
    actual = np.ones((2, 10))
    growing = np.tile(np.arange(10.0), (2, 1)) * np.array([[1.0], [2.0]])
    ratio = figure2.ratio({"actual_mu": actual, "phantom_mu": growing}, "mu")
    assert ratio.value == pytest.approx(np.mean([8.5, 17.0]))  # records 8 and 9
    assert ratio.low < 8.5
    assert ratio.high > 17.0


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The experiment in small, as a dictionary for JSON."""
    store = Store(tmp_path_factory.mktemp("figure2"), {})
    figure = figure2.experiment(
        range(2), steps=2, every=1, num_rounds=200, store=store, progress=False
    )
    return figure2.result("figure2", True, {"figure-2": figure})


@pytest.mark.parametrize("finished", [0, 5, 8, 15])
def test_stopped_it_goes_on_where_it_was(tmp_path, monkeypatch, finished):
    monkeypatch.setattr(figure2, "_QUICK", {"steps": 2_000, "every": 50, "num_rounds": 200})
    trained, drawn = [], []

    def numbers(*_, label, **options):
        if len(trained) == stop:
            raise KeyboardInterrupt
        trained.append(label)
        return synthetic(np.random.default_rng([*label.encode()]).uniform(0.1, 60.0) / 3.0)

    monkeypatch.setattr(figure2, "make_world", lambda: None)
    monkeypatch.setattr(figure2, "logged_rounds", lambda _, scenario, *rest: drawn.append(scenario))
    monkeypatch.setattr(figure2, "monitor", numbers)

    def run(name):
        return figure2.run(Settings(quick=True, folder=tmp_path / name, progress=False))

    stop = None
    through = run("through")
    labels = list(trained)
    assert len(set(labels)) == len(labels) == 16

    trained.clear()
    stop = finished
    with pytest.raises(KeyboardInterrupt):
        run("stopped")
    assert len(list((tmp_path / "stopped/figure2/records").glob("*.json"))) == finished
    stop = None
    drawn.clear()
    again = run("stopped")
    assert (again["data"], again["verdicts"]) == (through["data"], through["verdicts"])
    assert trained == labels
    assert set(drawn) == {label.partition(",")[0] for label in labels[finished:]}

    drawn.clear()
    assert run("stopped")["data"] == through["data"]
    assert (trained, drawn) == (labels, [])


def test_pieces_of_another_length_are_refused_and_more_seeds_are_other_pieces(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(figure2, "_QUICK", {"steps": 2_000, "every": 50, "num_rounds": 200})
    monkeypatch.setattr(figure2, "make_world", lambda: None)
    monkeypatch.setattr(figure2, "logged_rounds", lambda *_: None)
    monkeypatch.setattr(figure2, "monitor", lambda *_, **options: synthetic(2.0))
    for num in (1, 2):
        settings = Settings(quick=True, folder=tmp_path, num_seeds=num, progress=False)
        assert figure2.run(settings)["data"]["figure-2"]["num_seeds"] == num
    assert len(list((tmp_path / "figure2/records").glob("*.json"))) == 2 * 16
    monkeypatch.setattr(figure2, "_QUICK", {"steps": 3, "every": 1, "num_rounds": 200})
    with pytest.raises(ValueError, match="steps: 2000, now 3"):
        figure2.run(settings)


@pytest.mark.slow
def test_figure_2_in_small(small):
    assert json.loads(json.dumps(small, allow_nan=False)) == small
    assert len(small["data"]["figure-2"]["runs"]) == 16
    assert {one["command"] for one in small["verdicts"]} == {"recsim-drpo reproduce figure2"}
    # From σ = 1 unit vectors in 128 dimensions are near: negatives expand σ, positives shrink it.
    learned = small["data"]["figure-2"]["runs"]["medium, κ 0.5, learned"]
    assert learned["phantom_expanding"]["low"][0] > 0.95
    assert learned["actual_expanding"]["high"][0] < -0.95


@pytest.mark.slow
def test_a_picture_shows_both_sides_of_every_variant(small):
    pytest.importorskip("matplotlib")
    figure = figure2.draw_filter(small["data"]["figure-2"], 0.05)
    titles = [axes.get_title() for axes in figure.axes[: len(phantom.VARIANTS)]]
    assert titles == [f"σ {variant}" for variant in phantom.VARIANTS]
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert labels == [
        f"{side}, {scenario}" for scenario in figure2.SCENARIOS for side in phantom.SIDES
    ]
    assert figure.get_suptitle().startswith("Trained on the 5% best rewards")


@pytest.mark.slow
def test_each_filter_has_a_picture_in_both_formats(small, tmp_path):
    pytest.importorskip("matplotlib")
    names = list(figure2.draw(small, tmp_path))
    assert names == ["figure-2-kappa-0.5", "figure-2-kappa-0.05"]
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}.{kind}" for name in names for kind in ("png", "svg")
    }


def test_seeds_count_for_figure_2_and_are_refused_where_there_are_none(tmp_path, monkeypatch):
    monkeypatch.setattr(
        figure2, "experiment", lambda seeds, **how: Evidence({"seeds": list(seeds)}, [])
    )
    settings = Settings(quick=True, folder=tmp_path, num_seeds=3, progress=False)
    assert figure2.run(settings)["data"] == {"figure-2": {"seeds": [0, 1, 2]}}
    with pytest.raises(ValueError, match="seeds=3: theory has none"):
        runner.reproduce(["theory"], settings)
    assert not (tmp_path / "theory").exists()
