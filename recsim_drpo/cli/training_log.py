"""The log that ``recsim-drpo train`` learns from, and what measures agents meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from recsim_drpo.training.config import HELD_OUT_SHARE, SHUFFLE_RADIUS

if TYPE_CHECKING:
    import torch
    from minari import MinariDataset

    from recsim_drpo.cli.training_plan import Plan
    from recsim_drpo.core.policy import PolicyEvaluator
    from recsim_drpo.core.transitions import Transitions
    from recsim_drpo.training.streaming import Stream


def learnt_from(
    plan: Plan, logs: Sequence[MinariDataset], device: torch.device
) -> tuple[Transitions | Stream, PolicyEvaluator | None, dict[str, Any]]:
    """What agents learn from, what measures them meanwhile, and what runs keep of their source."""
    from recsim_drpo.agents import needs_of
    from recsim_drpo.datasets.imported import is_imported
    from recsim_drpo.datasets.load import load_transitions
    from recsim_drpo.evaluation.evaluate import evaluator_for
    from recsim_drpo.ope.held_out import load_and_hold_out
    from recsim_drpo.runs.folder import source_of

    source, log = source_of(*logs), logs[0]
    needs, held_out = needs_of(str(plan.agent), **plan.set), plan.held_out
    asked: dict[str, Any] = {
        "infos": [*dict.fromkeys([*plan.infos, *needs.infos])],
        "items": needs.items,
        "device": device,
    }
    for each in logs:
        _check_columns(each, str(plan.agent), needs.infos)
    transitions: Transitions | Stream
    evaluator: PolicyEvaluator | None
    if plan.stream and is_imported(log):
        if held_out != 0.0:
            raise ValueError(
                "--stream reads a log as a whole, and holds no rounds of an imported one out: give "
                "--held-out 0, and measure by recsim-drpo ope on a later log."
            )
        source["held_out"], evaluator = 0.0, None
        transitions = _streamed(plan, logs, source, asked)
    elif is_imported(log):
        source["held_out"] = HELD_OUT_SHARE if held_out is None else held_out
        transitions, evaluator = load_and_hold_out(log, source["held_out"], **asked)
    elif held_out is not None:
        raise ValueError(f"--held-out is for imported logs; {log.id!r} is none.")
    else:
        if plan.stream:
            transitions = _streamed(plan, logs, source, asked)
        else:
            transitions = load_transitions(logs, **asked)
        # Training asks an evaluator for headlines only, which those of sessions have as well.
        evaluator = evaluator_for(
            log.spec.env_spec, 2_000, split="validation", device=device, compared=0
        )
    return transitions, evaluator, source


def _check_columns(log: MinariDataset, agent: str, infos: Sequence[str]) -> None:
    """Raise ``ValueError`` if a log lacks an info column that the agent reads."""
    import numpy as np

    from recsim_drpo.core.negatives import check_infos
    from recsim_drpo.datasets.soundness import episodes_of

    for episode in episodes_of(log, log.episode_indices[:1]) if infos else ():
        columns = (episode.infos or {}).items()
        known = [name for name, values in columns if isinstance(values, np.ndarray)]
        check_infos(agent, infos, known, f"dataset {log.id!r}")


def _streamed(
    plan: Plan, logs: Sequence[MinariDataset], source: dict[str, Any], asked: dict[str, Any]
) -> Stream:
    """The log in chunks, of whose size the source then tells."""
    from recsim_drpo.datasets.stream import StreamedLog

    radius = SHUFFLE_RADIUS if plan.shuffle_radius is None else plan.shuffle_radius
    source["shuffle_radius"] = radius
    return StreamedLog(logs, radius=radius, **asked)


def learns_by_itself(
    agent: str,
    hyperparameters: dict[str, Any],
    transitions: Transitions | Stream,
    seed: int,
    device: torch.device,
    how: dict[str, Any],
) -> bool:
    """Whether an agent learns from users, not from a log.

    What cannot be made, or kept in a run folder, is refused before work goes into it.
    """
    from recsim_drpo.agents import AgentSpec
    from recsim_drpo.runs.checkpoints import flatten
    from recsim_drpo.training.online import learns_online

    dims = transitions.observation_dim, transitions.action_dim
    first = AgentSpec(agent, *dims, seed, hyperparameters).make(device, **how)
    flatten(first.state_dict())
    return learns_online(first)
