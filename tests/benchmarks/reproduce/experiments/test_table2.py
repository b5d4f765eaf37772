"""Table 2."""

from __future__ import annotations

from recsim_drpo.benchmarks.reproduce.experiments import table2


def test_table_2_names_its_rows_rightly():
    """The variants that the rows point to are the mechanisms that they are called by."""
    variants = {row: table2.AGENTS[agent][k] for row, (agent, k) in table2.ROWS.items()}
    assert variants["filter alone"] == {
        "baseline": "mean",
        "adaptive": False,
        "initial_kappa": 0.5,
        "min_kappa": 0.5,
    }
    assert variants["soft base alone"] == {}
    assert variants["both, fixed"] == {"adaptive": False, "initial_kappa": 0.5, "min_kappa": 0.5}
    assert variants["both, adaptive"] == {}
    assert table2.ROWS["soft base alone"][0] == "asymre"
