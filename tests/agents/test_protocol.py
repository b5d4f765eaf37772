from __future__ import annotations

import pytest

from recsim_drpo import (
    make_agent,
)
from recsim_drpo.agents.protocol import check_agent
from tests.agents.conftest import (
    DIMS,
)


def test_check_agent_names_what_is_missing(site):
    import outside

    check_agent(make_agent("bc", **DIMS))
    with pytest.raises(TypeError, match="object has no method 'update', 'act', 'state_dict', 'lo"):
        check_agent(object())
    with pytest.raises(TypeError, match="Mean is a class"):
        check_agent(outside.Mean)
