"""Command lines are read as they were by argparse, which wrote down what is expected here."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from recsim_drpo.cli import main
from recsim_drpo.cli.app import app
from recsim_drpo.cli.arguments import (
    assignments,
    is_count,
    one_option_a_value,
    run_folder,
    run_folders,
)

DEFAULTS: dict[str, dict[str, Any]] = {
    "generate": {
        "--env": "RecSimZipf-v0",
        "--scenario": None,  # medium, where there are no weights
        "--weights": None,
        "--rounds": 100000,
        "--seed": 0,
        "--no-card": False,
        "--embeddings": None,
        "--normalize": False,
        "--world": None,
        "--device": "cpu",
    },
    "import": {
        "--items": None,
        "--normalize": False,
        "--item-ids": None,
        "--id-column": None,
        "--vector-columns": None,
        "--preset": None,
        "--columns": None,
        "--item": None,
        "--reward": None,
        "--propensity": None,
        "--no-propensity": False,
        "--numbers": None,
        "--categories": None,
        "--hash": None,
        "--transform": None,
        "--missing": None,
        "--keep": None,
        "--reward-range": None,
        "--clip-rewards": False,
    },
    "train": {
        "--seeds": None,
        "--steps": 5000,
        "--batch-size": 320,
        "--log-every": 100,
        "--evaluate-every": 250,
        "--set": None,
        "--fleet-size": None,
        "--infos": None,
        "--held-out": None,
        "--precision": "float32",
        "--execution": "auto",
        "--tracker": None,
        "--device": "cpu",
        "--init": None,
        "--checkpoint-every": None,
        "--threads": 1,
        "--resume": None,
    },
    "evaluate": {
        "--num-users": 10000,
        "--seed": 0,
        "--split": "test",
        "--out": None,
        "--device": "cpu",
    },
    "recommend": {
        "--contexts": None,
        "--out": "-",
        "-k": 10,
        "--columns": None,
        "--id-column": None,
        "--input-format": None,
        "--output-format": None,
        "--embeddings": None,
        "--normalize": False,
        "--explore": None,
        "--seed": None,  # 0; None tells that it was not said
        "--exclude-seen": None,
        "--allow": None,
        "--deny": None,
        "--candidates": None,
        "--max-per": None,
        "--device": "cpu",
    },
    "serve": {
        "--host": "127.0.0.1",
        "--port": 8000,
        "-k": 10,
        "--max-k": 100,
        "--max-contexts": 1024,
        "--max-bytes": 2**20,
        "--max-waiting": 64,
        "--timeout": 5.0,
        "--grace": 10.0,
        "--explore": None,
        "--seed": None,
        "--allow": None,
        "--deny": None,
        "--max-per": None,
        "--embeddings": None,
        "--normalize": False,
        "--device": "cpu",
    },
    "export": {"--embeddings": None, "--normalize": False},
    "ope": {
        "--samples": 0,
        "--clusters": None,
        "--embeddings": None,
        "--normalize": False,
        "--seed": 0,
        "--out": None,
        "--device": "cpu",
    },
    "agents": {},
    "reproduce": {
        "--processes": None,
        "--quick": False,
        "--out": None,
        "--seeds": None,
        "--execution": "auto",
        "--device": "cpu",
        "--engine": "local",
        "--address": None,
        "--gpus-per-task": None,
    },
    "compare": {"--out": None},
    "locate": {"--results": None},
    "report": {"--results": Path("reproduction"), "--out": Path("report.html")},
    "demo": {
        "--quick": False,
        "--out": None,
        "--scenario": "extreme",
        "--rounds": None,
        "--steps": None,
        "--seeds": None,
        "--embeddings": None,
        "--normalize": False,
        "--world": None,
        "--device": "cpu",
    },
}
"""Values of options that are not named; those that must be, and positional ones, are not here."""

READ: list[tuple[str, dict[str, Any]]] = [
    ("generate a-v0", {"dataset_id": "a-v0"}),
    (
        "generate a-v0 --scenario extreme --rounds 500 --seed 3 --no-card",
        {
            "dataset_id": "a-v0",
            "--scenario": "extreme",
            "--rounds": 500,
            "--seed": 3,
            "--no-card": True,
        },
    ),
    (
        "generate --scenario=extreme a-v0 --rounds=500 --seed=-3",
        {"dataset_id": "a-v0", "--scenario": "extreme", "--rounds": 500, "--seed": -3},
    ),
    (
        "generate a-v0 --weights expert=0.5 random=0.5 --normalize --embeddings v.npy",
        {
            "dataset_id": "a-v0",
            "--weights": ["expert=0.5", "random=0.5"],
            "--embeddings": "v.npy",
            "--normalize": True,
        },
    ),
    (
        "generate a-v0 --weights expert=0.5 --weights random=0.5 popularity=0",
        {"dataset_id": "a-v0", "--weights": ["expert=0.5", "random=0.5", "popularity=0"]},
    ),
    ("generate --weights expert=1 -- a-v0", {"dataset_id": "a-v0", "--weights": ["expert=1"]}),
    (
        "generate a-v0 --world num_items=300 embedding_dim=16 --device cuda:0 --world delta=0.5",
        {
            "dataset_id": "a-v0",
            "--world": ["num_items=300", "embedding_dim=16", "delta=0.5"],
            "--device": "cuda:0",
        },
    ),
    (
        "generate a-v0 --world=delta=0.5 --env RecSimZipfSession-v0",
        {"dataset_id": "a-v0", "--env": "RecSimZipfSession-v0", "--world": ["delta=0.5"]},
    ),
    ("generate a-v0 --seed 1 --seed 2", {"dataset_id": "a-v0", "--seed": 2}),
    (
        "import shop/clicks-v0 log.csv --items v.npz --numbers age 'score_*' --categories country",
        {
            "dataset_id": "shop/clicks-v0",
            "log": ["log.csv"],
            "--items": Path("v.npz"),
            "--numbers": ["age", "score_*"],
            "--categories": ["country"],
        },
    ),
    (
        "import shop/clicks-v0 log.csv --items v.npz --item item --reward click --propensity p "
        "--keep a b --keep c",
        {
            "dataset_id": "shop/clicks-v0",
            "log": ["log.csv"],
            "--items": Path("v.npz"),
            "--item": "item",
            "--reward": "click",
            "--propensity": "p",
            "--keep": ["a", "b", "c"],
        },
    ),
    (
        "import shop/clicks-v0 log.csv --items v.npz --hash user=64 ip=8 "
        "--transform age=log 'x_*=none' --missing refuse",
        {
            "dataset_id": "shop/clicks-v0",
            "log": ["log.csv"],
            "--items": Path("v.npz"),
            "--hash": ["user=64", "ip=8"],
            "--transform": ["age=log", "x_*=none"],
            "--missing": "refuse",
        },
    ),
    (
        "import shop/clicks-v0 log.csv --items v.npz --no-propensity --reward-range -1 5 "
        "--clip-rewards",
        {
            "dataset_id": "shop/clicks-v0",
            "log": ["log.csv"],
            "--items": Path("v.npz"),
            "--no-propensity": True,
            "--reward-range": [-1.0, 5.0],
            "--clip-rewards": True,
        },
    ),
    (
        "import shop/clicks-v0 log.csv --items v.npz --reward-range -.5 1e3 --normalize "
        "--item-ids ids.npy",
        {
            "dataset_id": "shop/clicks-v0",
            "log": ["log.csv"],
            "--items": Path("v.npz"),
            "--normalize": True,
            "--item-ids": Path("ids.npy"),
            "--reward-range": [-0.5, 1000.0],
        },
    ),
    (
        "import shop/clicks-v0 log.csv --preset open-bandit",
        {"dataset_id": "shop/clicks-v0", "log": ["log.csv"], "--preset": "open-bandit"},
    ),
    (
        "import shop/clicks-v0 log.csv --columns c.json --items v.csv --id-column id "
        "--vector-columns 'emb_*'",
        {
            "dataset_id": "shop/clicks-v0",
            "log": ["log.csv"],
            "--items": Path("v.csv"),
            "--id-column": "id",
            "--vector-columns": "emb_*",
            "--columns": Path("c.json"),
        },
    ),
    ("compare a b --out c", {"log_a": "a", "log_b": "b", "--out": Path("c")}),
    (
        "train --dataset d-v0 --agent bc --out runs",
        {"--dataset": ["d-v0"], "--agent": "bc", "--out": Path("runs")},
    ),
    (
        "train --dataset d-v0 --agent bc --out runs --seeds 0 1 2",
        {"--dataset": ["d-v0"], "--agent": "bc", "--out": Path("runs"), "--seeds": [0, 1, 2]},
    ),
    (
        "train --seeds 0 1 --dataset d-v0 --seeds 2 --agent bc --out runs",
        {"--dataset": ["d-v0"], "--agent": "bc", "--out": Path("runs"), "--seeds": [0, 1, 2]},
    ),
    (
        "train --dataset=d-v0 --agent=bc --out=runs --seeds=4 --steps=7",
        {
            "--dataset": ["d-v0"],
            "--agent": "bc",
            "--out": Path("runs"),
            "--seeds": [4],
            "--steps": 7,
        },
    ),
    (
        "train --data d-v0 --ag bc --ou runs --batch 8 --log 2 --eval 3 --prec tf32 --exec eager",
        {
            "--dataset": ["d-v0"],
            "--agent": "bc",
            "--out": Path("runs"),
            "--batch-size": 8,
            "--log-every": 2,
            "--evaluate-every": 3,
            "--precision": "tf32",
            "--execution": "eager",
        },
    ),
    (
        "train --dataset d-v0 --agent drpo --out runs --set a=1 b=2 "
        "--set 'policy_kwargs={\"log_std_init\": -2}'",
        {
            "--dataset": ["d-v0"],
            "--agent": "drpo",
            "--out": Path("runs"),
            "--set": ["a=1", "b=2", 'policy_kwargs={"log_std_init": -2}'],
        },
    ),
    (
        "train --dataset d-v0 --agent drpo --out runs --set alpha=-1 "
        "--infos propensity item_id --infos reward",
        {
            "--dataset": ["d-v0"],
            "--agent": "drpo",
            "--out": Path("runs"),
            "--set": ["alpha=-1"],
            "--infos": ["propensity", "item_id", "reward"],
        },
    ),
    (
        "train --dataset d-v0 --agent drpo --out runs --fleet-size 4 --held-out 0.2 "
        "--tracker wandb --device cuda",
        {
            "--dataset": ["d-v0"],
            "--agent": "drpo",
            "--out": Path("runs"),
            "--fleet-size": 4,
            "--held-out": 0.2,
            "--tracker": "wandb",
            "--device": "cuda",
        },
    ),
    (
        "train --dataset d-v0 --agent module:Class --out runs --seeds -1 5 --held-out -0.5",
        {
            "--dataset": ["d-v0"],
            "--agent": "module:Class",
            "--out": Path("runs"),
            "--seeds": [-1, 5],
            "--held-out": -0.5,
        },
    ),
    (
        "train --dataset d-v0 --agent bc --out runs --seeds=-1",
        {"--dataset": ["d-v0"], "--agent": "bc", "--out": Path("runs"), "--seeds": [-1]},
    ),
    (
        "train --dataset d-v0 --agent bc --out runs --set '--looks like=an option' '- x=1'",
        {
            "--dataset": ["d-v0"],
            "--agent": "bc",
            "--out": Path("runs"),
            "--set": ["--looks like=an option", "- x=1"],
        },
    ),
    (
        "train --dataset d-v0 --agent bc --out runs --seeds 1_000 ' 7 '",
        {"--dataset": ["d-v0"], "--agent": "bc", "--out": Path("runs"), "--seeds": [1000, 7]},
    ),
    (
        "train --dataset d-v0 --agent bc --out runs --held-out 1e-2",
        {"--dataset": ["d-v0"], "--agent": "bc", "--out": Path("runs"), "--held-out": 0.01},
    ),
    (
        "train --dataset d-v0 --agent bc --out '' --set ''",
        {"--dataset": ["d-v0"], "--agent": "bc", "--out": Path(), "--set": [""]},
    ),
    ("evaluate a", {"runs": [Path("a")]}),
    (
        "evaluate a b c --num-users 50 --seed 7 --split validation --out e --device cpu",
        {
            "runs": [Path("a"), Path("b"), Path("c")],
            "--num-users": 50,
            "--seed": 7,
            "--split": "validation",
            "--out": Path("e"),
        },
    ),
    ("evaluate --out e a b", {"runs": [Path("a"), Path("b")], "--out": Path("e")}),
    ("evaluate --num-users 50 -- a -b", {"runs": [Path("a"), Path("-b")], "--num-users": 50}),
    ("evaluate -1 -2.5", {"runs": [Path("-1"), Path("-2.5")]}),
    ("recommend r", {"run": Path("r")}),
    (
        "recommend r -k 5 --contexts c.csv --out top.parquet",
        {"run": Path("r"), "--contexts": ["c.csv"], "--out": "top.parquet", "-k": 5},
    ),
    ("recommend r -k5 --contexts - --out -", {"run": Path("r"), "-k": 5, "--contexts": ["-"]}),
    (
        "recommend r -k=5 --columns a 'ctx_*' --columns b --id-column user",
        {"run": Path("r"), "-k": 5, "--columns": ["a", "ctx_*", "b"], "--id-column": "user"},
    ),
    (
        "recommend --columns a b --input-format csv r",
        {"run": Path("r"), "--columns": ["a", "b"], "--input-format": "csv"},
    ),
    (
        "recommend r --embeddings v.npy --normalize --device cuda",
        {"run": Path("r"), "--embeddings": "v.npy", "--normalize": True, "--device": "cuda"},
    ),
    (
        "recommend r --cont c.csv --col a --id u --input csv",
        {
            "run": Path("r"),
            "--contexts": ["c.csv"],
            "--columns": ["a"],
            "--id-column": "u",
            "--input-format": "csv",
        },
    ),
    (
        "recommend r --explore temperature=0.1 top=5 --seed 3 --max-per c.csv=2 --deny d.txt",
        {
            "run": Path("r"),
            "--explore": ["temperature=0.1", "top=5"],
            "--seed": 3,
            "--max-per": "c.csv=2",
            "--deny": Path("d.txt"),
        },
    ),
    (
        "serve r --port 0 --timeout 0.5 --explore epsilon=0.1",
        {"run": Path("r"), "--port": 0, "--timeout": 0.5, "--explore": ["epsilon=0.1"]},
    ),
    ("recommend r -k -3", {"run": Path("r"), "-k": -3}),
    ("export r --out o", {"run": Path("r"), "--out": Path("o")}),
    (
        "export r --out o --embeddings v.npy --normalize",
        {"run": Path("r"), "--out": Path("o"), "--embeddings": "v.npy", "--normalize": True},
    ),
    ("ope a b --dataset d-v0", {"runs": [Path("a"), Path("b")], "--dataset": "d-v0"}),
    (
        "ope a --dataset d-v0 --samples 4 --clusters 7 --embeddings v.npy --normalize --seed 3 "
        "--out o --device cuda",
        {
            "runs": [Path("a")],
            "--dataset": "d-v0",
            "--samples": 4,
            "--clusters": 7,
            "--embeddings": "v.npy",
            "--normalize": True,
            "--seed": 3,
            "--out": Path("o"),
            "--device": "cuda",
        },
    ),
    ("ope --dataset d-v0 a", {"runs": [Path("a")], "--dataset": "d-v0"}),
    ("agents", {}),
    ("reproduce table1", {"names": ["table1"]}),
    (
        "reproduce table1 figure3 --quick --out o --processes 3 --seeds 3 --execution eager "
        "--device cuda",
        {
            "names": ["table1", "figure3"],
            "--quick": True,
            "--out": Path("o"),
            "--processes": 3,
            "--seeds": 3,
            "--execution": "eager",
            "--device": "cuda",
        },
    ),
    (
        "reproduce table1 --engine ray --address a:1 --gpus-per-task 0.25",
        {
            "names": ["table1"],
            "--engine": "ray",
            "--address": "a:1",
            "--gpus-per-task": 0.25,
        },
    ),
    ("reproduce --quick all", {"names": ["all"], "--quick": True}),
    ("locate d-v0", {"datasets": ["d-v0"]}),
    ("locate d-v0 --results r", {"datasets": ["d-v0"], "--results": Path("r")}),
    ("report", {}),
    ("report --results r --out o.html", {"--results": Path("r"), "--out": Path("o.html")}),
    ("demo", {}),
    ("demo --quick", {"--quick": True}),
    (
        "demo --out d --scenario medium --rounds 300 --steps 5 --seeds 4 --world a=1 b=2",
        {
            "--out": Path("d"),
            "--scenario": "medium",
            "--rounds": 300,
            "--steps": 5,
            "--seeds": [4],
            "--world": ["a=1", "b=2"],
        },
    ),
    (
        "demo --seeds 1 2 --seeds 3 --embeddings v.npy --normalize --device cuda",
        {"--seeds": [1, 2, 3], "--embeddings": "v.npy", "--normalize": True, "--device": "cuda"},
    ),
]
REFUSED = [
    "",
    "nonsense",
    "--nonsense",
    "train",
    "train --dataset d-v0 --agent bc",
    "train --dataset d-v0 --agent bc --out runs extra",
    "train --dataset d-v0 --agent bc --out runs --seeds",
    "train --dataset d-v0 --agent bc --out runs --seeds --steps 3",
    "train --dataset d-v0 --agent bc --out runs --seeds a",
    "train --dataset d-v0 --agent bc --out runs --seeds 1.5",
    "train --dataset d-v0 --agent bc --out runs --seeds=0 1",
    "train --dataset d-v0 --agent bc --out runs --steps 1.5",
    "train --dataset d-v0 --agent bc --out --steps",
    "train --dataset d-v0 --agent bc --out runs --held-out much",
    "train --dataset d-v0 --agent bc --out runs --s 3",
    "train --dataset d-v0 --agent bc --out runs --unknown 3",
    "train --dataset d-v0 --agent bc --out runs --set -- a=1",
    "generate",
    "generate a-v0 b-v0",
    "generate a-v0 --scenario medium --weights expert=1",
    "generate a-v0 --weights expert=1 --scenario extreme",
    "generate --weights expert=1 a-v0",
    "generate a-v0 --no-card=1",
    "generate a-v0 --rounds",
    "import a-v0",
    "import a-v0 log.csv --reward-range 1",
    "import a-v0 log.csv --reward-range 0 x",
    "evaluate",
    "evaluate -x",
    "recommend",
    "recommend a b",
    "recommend r --o x",
    "recommend --columns a b r",
    "export r",
    "ope a",
    "ope --dataset d-v0",
    "agents x",
    "compare a",
    "compare a b c",
    "reproduce",
    "reproduce --quick",
    "locate",
    "report x",
    "demo x",
    "demo --seeds",
    "generate a-v0 --sc extreme --ro 10 --no",
    "recommend --columns a b --input-format csv r2 -- r",
]


def read(line: str) -> tuple[str, dict[str, Any]]:
    """The command and the values that a command line has, by the options' longest names."""
    name, *words = shlex.split(line)
    command = typer.main.get_command(app).commands[name]
    context = command.make_context(name, words)
    values = {}
    for param in command.params:
        value = context.params[param.name]
        value = list(value) if isinstance(value, tuple) else value
        values[max(param.opts, key=len)] = None if value == [] else value
    return name, values


@pytest.mark.parametrize(("line", "expected"), READ)
def test_what_is_read(line, expected):
    """Options of former versions are read as they were; there may be further ones."""
    name, values = read(line)
    expected = DEFAULTS[name] | expected
    assert {option: values.get(option) for option in expected} == expected


@pytest.mark.parametrize("line", REFUSED)
def test_what_cannot_be_read_is_refused(line, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(shlex.split(line))
    assert stopped.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("recsim-drpo: error: ")
    assert printed.err.count("\n") == 1


def test_what_a_training_needs_is_named(capsys):
    needed = {"--dataset": "d-v0", "--agent": "bc", "--out": "runs"}
    for name in needed:
        words = [word for pair in needed.items() if pair[0] != name for word in pair]
        with pytest.raises(SystemExit):
            main(["train", *words])
        said = f"recsim-drpo: error: {name} is needed, or --resume of a training.\n"
        assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("option", "word", "message"),
    [
        ("--seeds", "1.0", "'1.0' is no integer."),
        ("--steps", "1e3", "'1e3' is no integer."),
        ("--held-out", "much", "'much' is no number."),
    ],
)
def test_a_refused_number_is_named(option, word, message, capsys):
    with pytest.raises(SystemExit):
        main(["train", "--dataset", "d-v0", "--agent", "bc", "--out", "runs", option, word])
    assert f"Invalid value for '{option}': {message}" in capsys.readouterr().err


COUNTS = {"--seeds": (1, math.inf), "--steps": (1, 1), "--range": (2, 2), "--quick": (0, 0)}
COUNTS |= {"-k": (1, 1)}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("a --seeds 0 1 --qu b", "--seeds 0 --seeds 1 --quick -- a b"),
        ("--seeds 0 --seeds 1 2 -- --steps", "--seeds 0 --seeds 1 --seeds 2 -- --steps"),
        ("--seeds=0 1", "--seeds 0 -- 1"),
        ("--seeds -1 -.5 --range -1 2 3", "--seeds -1 --seeds -.5 --range -1 2 -- 3"),
        ("--seeds - -k3 -5", "--seeds - -k 3 -- -5"),
        ("--steps=--odd -k=-2", "--steps --odd -k -2 --"),
        ("--unknown 3 --quick=1", "--unknown --quick=1 -- 3"),
    ],
)
def test_values_each_follow_their_option(words, expected):
    assert one_option_a_value(words.split(), COUNTS) == expected.split()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--s 1", "'--s' is ambiguous: it could be --seeds, --steps"),
        ("--seeds", "Option '--seeds' needs a value"),
        ("--steps --quick", "Option '--steps' needs a value"),
        ("--range 1", "Option '--range' needs 2 values"),
    ],
)
def test_too_few_values_and_ambiguous_names(words, message):
    with pytest.raises(typer.TyperException) as refused:
        one_option_a_value(words.split(), COUNTS)
    assert message in refused.value.message


def test_assignments_are_json_where_they_can_be():
    pairs = ["a=1", "b=[1, 2]", "c=text", "d=x=y", "e=", "f=true"]
    expected = {"a": 1, "b": [1, 2], "c": "text", "d": "x=y", "e": "", "f": True}
    assert assignments(pairs) == expected
    assert assignments(None) == {}
    for wrong in (["a"], ["=1"], ["a=1", "a=1"]):
        with pytest.raises(ValueError, match=r"NAME=VALUE|given twice"):
            assignments(wrong)


@pytest.mark.parametrize(
    ("word", "expected"),
    [("0", True), ("16384", True), ("9" * 18, True), ("9" * 19, False), ("9" * 5_000, False)]
    + [("", False), ("-1", False), ("1.0", False), ("²", False)],
)
def test_a_count_has_digits_alone_and_few_of_them(word, expected):
    assert is_count(word) is expected


def test_a_folder_stands_for_the_runs_below_it(tmp_path):
    for name in ("seed-10", "seed-9", "b/seed-0"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.json").touch()
    found = run_folders([tmp_path / "runs", tmp_path / "elsewhere"])
    names = [path.relative_to(tmp_path).as_posix() for path in found]
    assert names == ["runs/b/seed-0", "runs/seed-9", "runs/seed-10", "elsewhere"]
    assert run_folder(tmp_path / "runs" / "b") == tmp_path / "runs" / "b" / "seed-0"
    with pytest.raises(ValueError, match="There are 3 runs"):
        run_folder(tmp_path / "runs")
    with pytest.raises(ValueError, match="named twice"):
        run_folders([tmp_path / "runs", tmp_path / "runs" / "seed-9"])
