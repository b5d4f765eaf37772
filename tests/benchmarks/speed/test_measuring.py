from __future__ import annotations

import os
import statistics

import pytest

from recsim_drpo.benchmarks.speed.measuring import Goal, Line, environment


def test_a_line_of_speed_says_how_many_times_as_fast():
    line = Line("ours", "ms", [1.0, 2.0, 4.0], "theirs", (5.0, 12.0, 40.0), Goal(low=5), speed=True)
    assert line.ratios == [5.0, 6.0, 10.0]
    assert line.reached
    assert line.cells()[3:] == ["6 × as fast (5–10)", "≥ 5", "yes"]


def test_a_line_of_times_is_a_multiple_of_its_peer():
    line = Line("ours", "ms", [1.0, 3.0, 4.0], "theirs", (2.0, 2.0, 2.0), Goal(high=1.25))
    assert statistics.median(line.ratios) == 1.5
    assert line.reached is False


def test_a_peer_that_is_absent_decides_nothing():
    line = Line("ours", "ms", [1.0], "d3rlpy: not installed, skipped", (), Goal(low=5), speed=True)
    assert line.reached is None
    assert line.cells()[2:] == ["d3rlpy: not installed, skipped", "–", "≥ 5", "–"]


def test_the_environment_is_given_back(monkeypatch):
    monkeypatch.setenv("SPEED_OLD", "before")
    monkeypatch.delenv("SPEED_NEW", raising=False)

    @environment(SPEED_OLD="meanwhile", SPEED_NEW="new")
    def fail():
        assert (os.environ["SPEED_OLD"], os.environ["SPEED_NEW"]) == ("meanwhile", "new")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert os.environ["SPEED_OLD"] == "before"
    assert "SPEED_NEW" not in os.environ
