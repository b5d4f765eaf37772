from __future__ import annotations

import pytest

from recsim_drpo.agents.builtin import BUILT_IN
from recsim_drpo.agents.registry import find_agent
from recsim_drpo.core.config import field_rules
from recsim_drpo.tuning.space import (
    Choices,
    Range,
    checked_space,
    declared_space,
    parse_space,
    read_space,
)


@pytest.mark.parametrize("name", BUILT_IN)
def test_what_is_declared_is_allowed_and_holds_the_default(name):
    config = find_agent(name).config
    space = declared_space(name)
    assert space["learning_rate"] == Range(1e-4, 3e-3, log=True)
    for field, values in space.items():
        for end in values.ends:
            field_rules(config)[field].check(field, end)
        assert values.low <= getattr(config(), field) <= values.high, field
    assert checked_space(name, space, {}) == space


def test_an_agent_from_outside_declares_nothing():
    assert declared_space("d3rlpy:BC") == {}


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("learning_rate=1e-4:1e-2:log", Range(1e-4, 1e-2, log=True)),
        ("tau=0.5:0.9", Range(0.5, 0.9)),
        ("hidden_dim=32:256:log", Range(32, 256, log=True)),
        ("sigma=learned,state", Choices(("learned", "state"))),
        ("adaptive=true,false", Choices((True, False))),
        ("batch_size=64,320", Choices((64, 320))),
    ],
)
def test_words_and_files_say_the_same(word, values, tmp_path):
    name = word.partition("=")[0]
    assert parse_space([word]) == {name: values}
    assert parse_space([f"{name}={values}"]) == {name: values}
    file = tmp_path / "space.toml"
    if isinstance(values, Range):
        log = "true" if values.log else "false"
        file.write_text(f"{name} = {{low = {values.low}, high = {values.high}, log = {log}}}\n")
    else:
        texts = {True: "true", False: "false"}
        items = [texts.get(v, repr(v)) if isinstance(v, bool) else repr(v) for v in values.values]
        file.write_text(f"{name} = [{', '.join(items)}]\n")
    assert read_space(file) == {name: values}


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("tau", "not of the form"),
        ("tau=0.5", "no choices"),
        ("tau=0.9:0.5", "no range"),
        ("tau=0.5:nan", "no range"),
        ("tau=0:0.5:log", "above 0"),
        ("tau=0.5:0.9:lin", "LOW:HIGH"),
        ("tau=a:b", "no range"),
        ("tau=0.5,0.5", "no choices"),
    ],
)
def test_other_words_are_refused_by_name(word, says):
    with pytest.raises(ValueError, match=says) as refusal:
        parse_space([word])
    assert "tau" in str(refusal.value)


@pytest.mark.parametrize(
    "text", ["tau = 3", "tau = {low = 1}", "tau = {low = 1, high = 2, step = 1}", "tau = [1, 1]"]
)
def test_other_files_are_refused_by_name(text, tmp_path):
    file = tmp_path / "space.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match="tau"):
        read_space(file)
    file.write_bytes(b"\xff = [")
    with pytest.raises(ValueError, match="no TOML"):
        read_space(file)


@pytest.mark.parametrize(
    ("space", "fixed", "says"),
    [
        ({"tau": Range(0.5, 1.5)}, {}, r"tau=1.5 is not a number in \(0, 1\)"),
        ({"tua": Range(0.5, 0.9)}, {}, "Did you mean 'tau'"),
        ({"tau": Range(0.5, 0.9)}, {"tau": 0.7}, "nothing to search"),
        ({"batch_size": Choices((1, 64))}, {}, "batch_size=1 "),
        ({"sigma": Choices(("learned", "large"))}, {}, "Unknown sigma 'large'"),
        ({"tau": Range(0.5, 0.9)}, {"beta": -1.0}, "beta=-1.0"),
    ],
)
def test_what_the_agent_does_not_allow_is_refused_before_anything_is_trained(space, fixed, says):
    with pytest.raises(ValueError, match=says):
        checked_space("iql", space, fixed)
