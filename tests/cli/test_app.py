from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from importlib.metadata import version

import minari
import pytest
import typer

from recsim_drpo.agents.builtin import BUILT_IN
from recsim_drpo.cli.app import app

COMMANDS = typer.main.get_command(app).commands
HEAVY = (
    "torch",
    "minari",
    "scipy",
    "sklearn",
    "matplotlib",
    "pyarrow",
    "pandas",
    "rich",
    "pydantic",
)
WORLD = ["--world", "num_items=300", "embedding_dim=16", "num_topics=5"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", "bad", *WORLD], "is not a Minari id"),
        (["generate", "a-v0", "--scenario", "extrem"], "Did you mean 'extreme'"),
        (["generate", "a-v0", "--weights", "expert=2"], "weight of 'expert'=2"),
        (["generate", "a-v0", "--weights", "expert"], "not of the form NAME=VALUE"),
        (["generate", "a-v0", "--rounds", "0"], "num_rounds=0"),
        (["generate", "a-v0", "--world", "dleta=1"], "Did you mean 'delta'"),
        (["generate", "a-v0", "--world", "delta=abc"], "delta='abc'"),
        (["generate", "a-v0", "--embeddings", "nowhere.npy"], "no embeddings file"),
        (["generate", "a-v0", "--device", "cuda:9"], "device='cuda:9'"),
        (["train", "--dataset", "none-v0", "--agent", "bc", "--out", "OUT"], "none-v0"),
        (["train", "--dataset", "DATA", "--agent", "bcc", "--out", "OUT"], "Did you mean 'bc'"),
        (
            ["train", "--dataset", "DATA", "--agent", "bc", "--out", "OUT", "--set", "lr=1"],
            "learning_rate",
        ),
        (
            ["train", "--dataset", "DATA", "--agent", "bc", "--out", "OUT", "--steps", "0"],
            "steps=0",
        ),
        (
            ["train", "--dataset", "DATA", "--agent", "bc", "--out", "OUT", "--seeds", "1", "1"],
            "must be different seeds",
        ),
        (["train", "--dataset", "DATA", "--agent", "bc", "--out", "TAKEN"], "is there already"),
        (["evaluate", "nowhere"], "There is no run in"),
        (["evaluate", "nowhere", "--num-users", "0"], "--num-users=0"),
        (["evaluate", "nowhere", "--num-users", f"{10**15}"], "from 1 to 100000000."),
        (["ope", "nowhere", "--dataset", "DATA", "--samples", f"{10**12}"], "from 0 to 100000."),
        (["reproduce", "table2", "--processes", f"{10**12}"], "from 1 to 1024."),
        (["reproduce", "table2", "--seeds", f"{10**12}"], "from 1 to 100000."),
        (["generate", "a\nb" * 2_000], "is not a Minari id; write (namespace/)name-v0"),
        (["generate", "a-v0", "--world", "x" * 9_000], "…' is not of the form NAME=VALUE."[2:]),
        (["generate", "a-v0", "--weights", "expert=" + "[" * 99_999], "expert"),
        (["evaluate", "nowhere", "--out", "OUT"], "There is no run in"),
        (
            ["train", "--dataset", "none-v0", "--agent", "bc", "--out", "OUT"],
            "recsim-drpo generate",
        ),
        (["demo", "--out", "OUT", "--seeds", "0", "0"], "must be different seeds"),
        (["generate", "a-v0", "--world", "split=test"], "'split' is not part of it"),
        (["generate", "a-v0", "--world", "decoder=abc"], "Unknown decoder 'abc'"),
        (["generate", "a-v0", "--world", "interest_sharpness=1e300"], "interest_sharpness=1e+300"),
        (["generate", "a-v0", "--world", "delta=1e-25"], "delta=1e-25"),
        (
            ["train", "--dataset", "DATA", "--agent", "bc", "--out", "OUT", "--set", "seed=3"],
            "--set seed=",
        ),
        (["demo", "--out", "HERE"], "is no demo's folder"),
        (["demo", "--out", "OUT", "--steps", "0"], "steps=0"),
        (["demo", "--out", "OUT", "--scenario", "extrem"], "Did you mean 'extreme'"),
        (["demo", "--out", "OUT", "--embeddings", "nowhere.npy"], "no embeddings file"),
    ],
)
def test_one_clear_line_and_nothing_left(run, dataset, tmp_path, capsys, arguments, message):
    capsys.readouterr()
    out = tmp_path / "out"
    (tmp_path / "taken" / "seed-0").mkdir(parents=True)
    names = {"OUT": out, "HERE": tmp_path, "TAKEN": tmp_path / "taken", "DATA": dataset}
    before = set(tmp_path.iterdir())
    assert run(*(names.get(argument, argument) for argument in arguments)) == 2
    printed = capsys.readouterr().err.strip().splitlines()
    assert len(printed) == 1
    assert printed[0].startswith("recsim-drpo: error: ")
    assert message in printed[0]
    assert set(tmp_path.iterdir()) == before
    assert list(minari.list_local_datasets()) == [dataset]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_there_for_every_command(run, command, capsys):
    for option in ("--help", "-h"):
        with pytest.raises(SystemExit) as stopped:
            run(*command.split(), option)
        assert stopped.value.code == 0
        text = capsys.readouterr().out
        assert text.startswith(f"Usage: recsim-drpo {command}".rstrip())


def test_help_lists_the_commands_each_in_a_whole_sentence(run, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        run("--help")
    listed = capsys.readouterr().out.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == list(COMMANDS)
    assert all(line.endswith(".") and not line.endswith("...") for line in listed)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_of_every_option_what_it_is_and_its_default(name):
    command = COMMANDS[name]
    context = command.make_context(name, [], resilient_parsing=True)
    for param in command.params:
        _, text = param.get_help_record(context)
        assert re.search(r"\w\W+\[(default: .+|required)\]$", text), param.name


def test_the_version(run, capsys):
    with pytest.raises(SystemExit) as stopped:
        run("--version")
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"recsim-drpo {version('recsim-drpo')}\n"


def test_help_the_version_and_mistakes_import_nothing_heavy():
    """What is asked for most takes a quarter of a second, not the two that torch takes."""
    lines = ["--help", "--version", "nonsense", *(f"{name} --help" for name in COMMANDS)]
    script = (
        "import sys\n"
        "from recsim_drpo.cli import main\n"
        f"for line in {lines!r}:\n"
        "    try:\n"
        "        main(line.split())\n"
        "    except SystemExit:\n"
        "        pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def complete(words: str) -> list[str]:
    """What is offered in a shell where these words are typed."""
    environment = {
        "_RECSIM_DRPO_COMPLETE": "complete_bash",
        "COMP_WORDS": f"recsim-drpo {words}",
        "COMP_CWORD": str(len(words.split(" "))),
    }
    command = [sys.executable, "-m", "recsim_drpo.cli"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", list(COMMANDS)),
        ("re", ["recommend", "reproduce", "report"]),
        ("train --seeds 0 1 --agent drpo", [n for n in BUILT_IN if n.startswith("drpo")]),
        ("train --agent bc --exec", ["--execution"]),
        ("generate a-v0 --scenario e", ["extreme"]),
        ("evaluate runs --split ", ["train", "validation", "test"]),
    ],
)
def test_a_shell_is_offered_commands_options_and_names(words, expected):
    assert complete(words) == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_shown_for_each_shell(shell):
    environment = os.environ | {"_RECSIM_DRPO_COMPLETE": f"source_{shell}"}
    command = [sys.executable, "-m", "recsim_drpo.cli"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0
    assert "recsim-drpo" in done.stdout
    assert "_RECSIM_DRPO_COMPLETE" in done.stdout


def test_an_interrupt(run, capsys, monkeypatch):
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("recsim_drpo.agents.agent_names", interrupt)
    assert run("agents") == 130
    assert capsys.readouterr().err == ("recsim-drpo: interrupted; what was not complete is gone.\n")


def test_a_reader_that_has_had_enough():
    command = f"{shlex.quote(sys.executable)} -m recsim_drpo.cli agents"
    piped = ["bash", "-c", f"{command} | true; echo ${{PIPESTATUS[0]}}"]
    done = subprocess.run(piped, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Missing command. `recsim-drpo --help` says what there is."),
        (
            ["reproduce"],
            "Missing argument 'NAME'. `recsim-drpo reproduce --help` says what there is.",
        ),
        (["generate", "a-v0", "b-v0"], "Got unexpected extra argument(s) (b-v0)"),
    ],
)
def test_what_is_missing_is_said_with_what_says_more(run, capsys, words, message):
    with pytest.raises(SystemExit) as stopped:
        run(*words)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == f"recsim-drpo: error: {message}\n"


@pytest.mark.parametrize(("ending", "printed"), [("", 1), ("raise ValueError('too cold')", 0)])
def test_warnings_of_arithmetic_do_not_come_before_an_error(ending, printed):
    script = (
        "import sys, warnings\n"
        "from recsim_drpo.cli import agents, app\n"
        "def lists():\n"
        "    warnings.warn('overflow in exp', RuntimeWarning)\n"
        "    warnings.warn('few rows', UserWarning)\n"
        f"    {ending}\n"
        "app.app.registered_commands[:] = []\n"
        "app.app.command('lists')(lists)\n"
        "app.app.command('other')(lists)\n"
        "sys.exit(app.main(['lists']))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == (2 if ending else 0)
    assert done.stderr.count("overflow in exp") == printed
    assert done.stderr.count("few rows") == 1
    assert done.stderr.count("recsim-drpo: error: too cold\n") == 1 - printed
