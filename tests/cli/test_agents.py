from __future__ import annotations

from recsim_drpo import agent_names
from recsim_drpo.agents.builtin import BUILT_IN


def test_agents_lists_every_agent(run, capsys):
    assert run("agents") == 0
    lines = capsys.readouterr().out.strip().splitlines()
    names = [line.split()[0] for line in lines]
    assert names == [*agent_names(), "d3rlpy:NAME", "sb3:NAME"]
    assert len(lines) == len(BUILT_IN) + 2
    assert all(len(line) > 30 for line in lines)
