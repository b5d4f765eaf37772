"""Agents of ours by name, and where each algorithm stands. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_ALGORITHMS = "recsim_drpo.agents.algorithms"

BUILT_IN: Mapping[str, str] = MappingProxyType(
    {
        "bc": f"{_ALGORITHMS}.bc:BC",
        "apg": f"{_ALGORITHMS}.apg:APG",
        "awr": f"{_ALGORITHMS}.awr:AWR",
        "crr": f"{_ALGORITHMS}.crr:CRR",
        "bppo": f"{_ALGORITHMS}.bppo:BPPO",
        "iql": f"{_ALGORITHMS}.iql:IQL",
        "asymre": f"{_ALGORITHMS}.asymre:ASYMRE",
        "asymre-delta": f"{_ALGORITHMS}.asymre:ASYMRE_DELTA",
        "adaptive-bc": f"{_ALGORITHMS}.adaptive_bc:ADAPTIVE_BC",
        "drpo": f"{_ALGORITHMS}.drpo:DRPO",
        "drpo-exp": f"{_ALGORITHMS}.drpo:DRPO_EXP",
        "drpo-boltzmann": f"{_ALGORITHMS}.drpo:DRPO_BOLTZMANN",
        "drpo-q": f"{_ALGORITHMS}.drpo:DRPO_Q",
        "drpo-softmax": f"{_ALGORITHMS}.drpo_softmax:DRPO_SOFTMAX",
        "dr-policy": f"{_ALGORITHMS}.dr_policy:DR_POLICY",
        "softmax-bc": f"{_ALGORITHMS}.softmax:SOFTMAX_BC",
        "softmax-pg": f"{_ALGORITHMS}.softmax_pg:SOFTMAX_PG",
        "topk-off-policy": f"{_ALGORITHMS}.softmax_pg:TOPK_OFF_POLICY",
        "stacked": f"{_ALGORITHMS}.stacked:STACKED",
        "two-tower": f"{_ALGORITHMS}.two_tower:TWO_TOWER",
        "two-tower-gaussian": f"{_ALGORITHMS}.two_tower_gaussian:TWO_TOWER_GAUSSIAN",
        "two-tower-ips": f"{_ALGORITHMS}.two_tower_ips:TWO_TOWER_IPS",
    }
)
"""Names that nothing from outside may take, each with the ``module:NAME`` of its algorithm."""
