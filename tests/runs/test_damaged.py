"""Run folders, and trainings on their way, that say or hold something else than they should."""

from __future__ import annotations

import json

import pytest
import torch

from recsim_drpo.agents.fleet import Fleet
from recsim_drpo.agents.registry import make_agent
from recsim_drpo.cli.training_plan import Plan
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.runs.checkpoints import load_state, save_state
from recsim_drpo.runs.folder import load_agent, load_config, save_run
from recsim_drpo.runs.unfinished import Unfinished
from recsim_drpo.training.checkpointing import Checkpoint, Journal

DIMS = {"observation_dim": 3, "action_dim": 2}
TRAINING = {"steps": 0, "batch_size": 1, "seed": 0}


@pytest.fixture
def run(tmp_path):
    """The folder of a run of two hidden layers of four."""
    agent = make_agent("bc", **DIMS, hidden_dim=4)
    save_run(tmp_path / "run", agent, [{"step": 0.0}], TRAINING, {})
    return tmp_path / "run"


def change(run, **values):
    path = run / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def refused(read, *arguments, match):
    with pytest.raises(ValueError, match=match) as caught:
        read(*arguments)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 400


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"agent": 7}, "agent=7"),
        ({"agent": ""}, "agent=''"),
        ({"observation_dim": "3"}, "observation_dim='3'"),
        ({"observation_dim": True}, "observation_dim=True"),
        ({"action_dim": 0}, "action_dim=0"),
        ({"action_dim": 10**400}, "action_dim=1000"),
        ({"seed": -1}, "seed=-1"),
        ({"hyperparameters": []}, r"hyperparameters=\[\]"),
        ({"source": None}, "source=None"),
        ({"source": {"env_spec": {}}}, r"source\.env_spec={}"),
        ({"source": {"weights": {"expert": "x"}}}, r"source\.weights\.expert='x'"),
        ({"source": {"context": {"numbers": "ab"}}}, r"source\.context\.numbers='ab'"),
        ({"source": {"diverged_at": "x"}}, r"source\.diverged_at='x'"),
        ({"training": {"dtype": "system"}}, r"training\.dtype='system'"),
    ],
)
def test_a_configuration_with_another_type_at_a_key(run, values, message):
    change(run, **values)
    for read in (load_config, load_agent):
        refused(read, run, match=rf"config\.json' is not the configuration of a run .*{message}")


@pytest.mark.parametrize("text", ["", "[]", "7", "[" * 100_000])
def test_a_configuration_that_is_no_object(run, text):
    (run / "config.json").write_text(text)
    refused(load_agent, run, match="is not the configuration of a run")


@pytest.mark.parametrize(
    "values",
    [
        {"observation_dim": 10**9},
        {"action_dim": 10**9},
        {"hyperparameters": {"hidden_dim": 10**12}},
        {"hyperparameters": {"hidden_dim": 4, "num_hidden_layers": 1_000}},
    ],
)
def test_dimensions_that_the_checkpoint_has_no_numbers_for(run, values):
    """Nothing is allocated for them: these would be terabytes."""
    change(run, **values)
    refused(load_agent, run, match=r"holds \d+ numbers, and a 'bc' agent .* the run is damaged")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"parameters.policy.weight_0": "x"}, "'parameters.policy.weight_0' is a str"),
        ({"parameters.policy.weight_0": torch.zeros(4, 4)}, r"is \(4, 4\), expected \(4, 3\)"),
        (
            {"parameters.policy.weight_0": torch.zeros(4, 3, dtype=torch.int32)},
            r"is integers \(4, 3\), expected \(4, 3\)",
        ),
        ({"step": torch.tensor(True)}, r"'step' is booleans \(\), expected integers \(\)"),
        ({"step": torch.tensor(1.5)}, r"'step' is \(\), expected integers \(\)"),
        ({"more": 7}, "'more' is a int, expected not there"),
    ],
)
def test_a_checkpoint_with_right_names_and_wrong_types(run, values, message):
    path = run / "checkpoint.safetensors"
    save_state(path, load_state(path) | values, "bc")
    refused(load_agent, run, match=message)


def test_a_checkpoint_is_in_single_or_double_precision(run):
    """A kind is that of real numbers, integers or booleans: another precision is no damage."""
    path = run / "checkpoint.safetensors"
    state = load_state(path)
    double = {k: v.double() if v.is_floating_point() else v for k, v in state.items()}
    before = load_agent(run).act(torch.ones(1, 3))
    save_state(path, double, "bc")
    assert torch.equal(load_agent(run).act(torch.ones(1, 3)), before)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9, 0.999])
def test_a_checkpoint_that_is_cut_short(run, share):
    path = run / "checkpoint.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    refused(load_agent, run, match="is not a whole safetensors file .*; train the run again")


@pytest.mark.parametrize("state", ["[]", "7", '{"dict": 7}', '{"dict": [[[], 1]]}', "[" * 10**5])
def test_a_checkpoint_that_describes_no_state(run, state):
    from safetensors.torch import save_file

    metadata = {"format": "recsim_drpo.agent/2", "state": state}
    path = run / "checkpoint.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata=metadata)
    refused(load_state, path, match="does not describe its tensors")


@pytest.fixture
def log():
    """Four transitions."""
    rows = torch.arange(4)
    return Transitions(
        torch.ones(5, 3), rows, torch.ones(4, 2), torch.ones(4), torch.ones(4, dtype=torch.bool), {}
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"every": 0}, "every=0"),
        ({"every": "2"}, "every='2'"),
        ({"plan": []}, r"plan=\[\]"),
        ({"log": None}, "log=None"),
    ],
)
def test_a_description_of_a_training_of_another_shape(tmp_path, log, values, message):
    unfinished = Unfinished.create(tmp_path, 2, {"dataset": "a-v0"}, log)
    path = unfinished.folder / "training.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    refused(Unfinished.open, tmp_path, match=f"does not describe a training .*{message}")
    refused(unfinished.check_log, log, "a-v0", match=message)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seeds": 7}, "--seeds is 7"),
        ({"steps": "9"}, "--steps is '9'"),
        ({"set": [1]}, r"--set is \[1\]"),
        ({"log_every": None}, "--log-every is None"),
    ],
)
def test_a_plan_with_another_type_at_a_key(values, message):
    kept = Plan("a-v0", "bc").as_dict()
    assert Plan.resumed(kept, Plan(None, None)) == Plan("a-v0", "bc")
    refused(Plan.resumed, kept | values, Plan(None, None), match=f"is damaged: its {message}")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learner": 7}, "AttributeError"),
        ({"means": {"sums": {}, "count": "x"}}, "its running means are none"),
        ({"means": {}}, "sums"),
        ({"histories": []}, "zip"),
        ({"histories": [[{"loss": 1.0}]]}, "a row of its history is {'loss': 1.0}"),
        ({"histories": [[{"step": "x"}]]}, "a row of its history"),
        ({"step": "x"}, "step='x'"),
        ({"step": -1}, "step=-1"),
    ],
)
def test_a_state_of_a_training_with_another_type_at_a_key(tmp_path, log, values, message):
    unfinished = Unfinished.create(tmp_path, 2, {}, log)
    fleet = Fleet("bc", seeds=[0], overrides=[{"hidden_dim": 4}], **DIMS)
    journal = Journal(fleet, [[{"step": 0.0}]], Checkpoint(unfinished, "a"))
    journal.keep(2)
    assert journal.restored(0, torch.device("cpu")) == 2
    kept = unfinished.load("a")
    assert kept is not None
    unfinished.save("a", kept | values)
    match = f"The checkpoint of 'a' is damaged or another's .*{message}"
    refused(journal.restored, 0, torch.device("cpu"), match=match)
