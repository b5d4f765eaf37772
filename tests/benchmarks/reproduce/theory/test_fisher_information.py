from __future__ import annotations

import numpy as np

from recsim_drpo.benchmarks.reproduce.theory import fisher_information


def test_score_and_hessian_by_hand():
    # μ = 0.5, σ = 2, a = 3.5: z = 1.5.
    theta, action = [[0.5, np.log(2.0)]], [3.5]
    np.testing.assert_allclose(fisher_information.scores(theta, action), [[0.75, 1.25]])
    hessians = fisher_information.hessians(theta, action)
    np.testing.assert_allclose(hessians, [[[0.25, 1.5], [1.5, 4.5]]])


def test_the_hessian_of_one_sample_is_indefinite_and_the_average_over_the_policy_is_not(
    theory_result, verdict_on
):
    at_one = np.linalg.eigvalsh([[1.0, 2.0], [2.0, 2.0]])  # z = 1, σ = 1
    np.testing.assert_allclose(at_one, [(3 - 17**0.5) / 2, (3 + 17**0.5) / 2])
    text = verdict_on("Proposition 3.1, Hessian")
    assert f"{at_one[1]:.2f} and −{-at_one[0]:.2f}" in text["because"]
    assert "200 of 200 positive definite" in text["ours"]
    assert "200 of 200 indefinite" in text["ours"]
    data = theory_result["data"]["proposition-3.1"]
    z, single, average = (np.array(data[name]) for name in ("z", "single", "data"))
    trace, determinant = 1.0 + 2.0 * z**2, -2.0 * z**2
    np.testing.assert_allclose(
        single, (trace - np.sqrt(trace**2 - 4 * determinant)) / 2, atol=1e-12
    )
    assert (average[z < 0.99] > 0).all()
    assert (average[z > 1.01] < 0).all()


def test_on_policy_scores_do_not_see_mu(theory_result):
    data = theory_result["data"]["proposition-3.6"]
    np.testing.assert_allclose(data["on_policy"], 3.0)  # 1 / σ² + 2
    d = np.array(data["offset"])
    np.testing.assert_allclose(data["off_policy"], d**2 + (d**2 - 1.0) ** 2)
