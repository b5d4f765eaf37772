"""``recsim-drpo agents``: what can be trained."""

from __future__ import annotations

_OF_LIBRARIES = {
    "d3rlpy:NAME": "an algorithm of d3rlpy with continuous actions, such as IQL (extra d3rlpy)",
    "sb3:NAME": "SAC, PPO, TD3 or DDPG of Stable-Baselines3, which learn online (extra sb3)",
}


def agents() -> None:
    """List the agents by name, with a line on each."""
    from recsim_drpo.agents import agent_names

    names = agent_names() | _OF_LIBRARIES
    width = max(12, *map(len, names))
    print("\n".join(f"{name:{width}} {summary}" for name, summary in names.items()))
