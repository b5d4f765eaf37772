"""Command lines that Typer's own parameters make, with values of every wrong kind, and variables.

Values are small where they are right, so that a command that does its work is quick.
"""

from __future__ import annotations

import pytest
import typer

pytest.importorskip("pyarrow")

from recsim_drpo.cli.app import app
from tests.faults.conftest import scaled, seeded
from tests.faults.doors import Case, check, commands
from tests.faults.samples import CONTEXTS, IMPORT, ITEMS, ROWS, written

pytestmark = pytest.mark.faults

COMMANDS = typer.main.get_command(app).commands
ANY = ["", " ", "-", "--", "x", "0", "-1", "1e400", "nan", "-inf", "null", "[]", "{}", "²", "１２"]
ANY += ["a=b", "=", "a=", "=b", "a=b=c", "*", "[", "../..", "/", ".", "~", "%s", "{0}", "$HOME"]
ANY += ["a\nb", "a\tb", "\x1b[31m", "é" * 300, "x" * 10_000, "a\0b", "\udcff", "\ud800", "a" * 300]
ANY += ["http://x/y", "con", "-v0", "a-v0", "a/b-v0", "a/b/c-v0", "\u202e", "🚀-v0"]
PATHS = ["empty", "folder", "unreadable", "nowhere/x", "file/x", "items.csv", "contexts.csv"]
PATHS += ["log.csv", "log.parquet", "/dev/null", "/dev/full", "/proc/self/mem", "a" * 300, "loop"]
INTEGERS = [
    "0",
    "-1",
    "1",
    "2",
    "3",
    "1.5",
    "1e3",
    "0x10",
    "1_0",
    " 3",
    "+2",
    "９",
    "x",
    "",
    "9" * 30,
]
INTEGERS += [str(10**12), str(10**15), str(2**31), str(2**63), str(-(2**63)), "9" * 5_000, "nan"]
FLOATS = [
    "0",
    "-1",
    "0.5",
    "1",
    "1.5",
    "nan",
    "inf",
    "-inf",
    "1e-400",
    "1e400",
    "x",
    "",
    "½",
    "1,5",
]
JSON = ["1", "-1", "1.5", "null", "true", "[]", "[[1]]", "{}", '{"a": 1}', '"x"', "x", "", "1e400"]
JSON += [str(10**12), str(10**30), "9" * 5_000, "[" * 3_000, "[" * 100_000, "NaN", "-Infinity"]
WORLD_NAMES = ["num_items", "embedding_dim", "num_topics", "context_dim", "delta", "embeddings"]
WORLD_NAMES += ["catalogue_seed", "topic_spread", "popularity_exponent", "normalize", "id_column"]
WORLD_NAMES += ["reward_noise", "interest_sharpness", "split", "render_mode", "device", "max_steps"]
AGENT_NAMES = ["hidden_dim", "learning_rate", "beta", "tau", "num_layers", "seed", "gamma", "name"]
TABLE = ["item_id", "reward", "propensity", "age", "device", "country", "time", "request", "user"]
NAMED = {
    "--weights": ["expert", "popularity", "random"],
    "--world": WORLD_NAMES,
    "--set": AGENT_NAMES,
    "--explore": ["epsilon", "temperature", "top", "seed"],
    "--hash": TABLE,
    "--transform": TABLE,
}
WORDS = {
    "--agent": [
        "bc",
        "drpo",
        "iql",
        "bcc",
        "json:loads",
        "os:system",
        "d3rlpy:IQL",
        "sb3:SAC",
        ":",
    ],
    "--device": ["cpu", "cuda", "cuda:99", "meta", "mps", "cpu:7", "tpu"],
    "--env": ["RecSimZipf-v0", "RecSimZipfSession-v0", "CartPole-v1"],
    "--scenario": ["medium", "extreme"],
    "--split": ["train", "test"],
    "--execution": ["auto", "eager", "graph"],
    "--precision": ["float32", "tf32", "bf16"],
    "--preset": ["vw", "open-bandit", "mind"],
    "--input-format": ["csv", "jsonl", "parquet", "arrow"],
    "--output-format": ["csv", "jsonl", "parquet"],
    "--dataset": ["own/log-v0", "sim/log-v0"],
    "--host": ["127.0.0.1", "localhost", "::1", "256.0.0.1", "nowhere.invalid", "0"],
    "--missing": ["code", "refuse"],
    "--infos": ["propensity", "item_id"],
}
VALUES = [*JSON, "log", "8"]
DATASETS = ["own/log-v0", "sim/log-v0", "new/log-v0"]
RUNS = ["RUN", "IMPORTED", "RUN", "folder"]
BASES = {
    "generate": ["--rounds", "20", "--no-card", "--world", "num_items=30", "embedding_dim=4"],
    "train": ["--steps", "2", "--batch-size", "4", "--dataset", "sim/log-v0", "--agent", "bc"],
    "evaluate": ["--num-users", "20"],
    "demo": ["--rounds", "100", "--steps", "2", "--seeds", "0"],
    "reproduce": ["--quick", "--seeds", "1", "--processes", "1"],
}
SLOW = {"demo", "reproduce", "report"}
"""Commands that do minutes of work where all is right: they get a word that is wrong."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    scene = tmp_path_factory.mktemp("commands") / "scene"
    scene.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(scene / "minari"))
        (scene / "log.csv").write_bytes(written(ROWS, ".csv"))
        (scene / "log.parquet").write_bytes(written(ROWS, ".parquet"))
        (scene / "items.csv").write_bytes(ITEMS)
        (scene / "contexts.csv").write_bytes(written(CONTEXTS, ".csv"))
        place = {name: str(scene / name) for name in ("log.csv", "items.csv")}
        steps = ["--steps", "2", "--batch-size", "4", "--log-every", "1", "--agent", "bc"]
        small = ["--world", "num_items=30", "embedding_dim=4", "context_dim=4"]
        out = ["--out", str(scene / "runs"), "--seeds"]
        made = commands(
            [
                Case(
                    ["import", "own/log-v0", place["log.csv"], "--items", place["items.csv"]]
                    + IMPORT
                ),
                Case(["generate", "sim/log-v0", "--rounds", "40", "--no-card", *small]),
                Case(["train", "--dataset", "sim/log-v0", *steps, *out, "0"]),
                Case(["train", "--dataset", "own/log-v0", *steps, *out, "1"]),
            ],
            scene,
        )
        assert [one.code for one in made] == [0, 0, 0, 0], made
        yield scene


def value(rng, option, kind, scene):
    """A word for an option, or for an argument."""
    runs = {"RUN": scene / "runs/seed-0", "IMPORTED": scene / "runs/seed-1"}
    is_path = kind == "path" or option in ("--embeddings", "--contexts", "--out", "LOG")
    pools = [
        (option in NAMED, [f"{name}={text}" for name in NAMED.get(option, ()) for text in VALUES]),
        (option in WORDS, WORDS.get(option, [])),
        (kind == "integer", INTEGERS),
        (kind == "number", FLOATS),
        (option in ("DATASET_ID", "LOG_A", "LOG_B", "DATASET"), DATASETS),
        (option == "RUN", [str(runs.get(name, name)) for name in RUNS]),
        (is_path, PATHS),
        (True, TABLE),
    ]
    pool = next(words for fits, words in pools if fits)
    return rng.choice(ANY if rng.random() < 0.2 else pool)


def kind_of(parameter):
    about = parameter.type_descriptor
    name = getattr(getattr(about.parameter_info, "parser", None), "__name__", "")
    return name or ("path" if "Path" in str(about.annotation) else "text")


def command_line(rng, name, scene):
    """Words for a command: its arguments, and some of its options."""
    command = COMMANDS[name]
    words: list[str] = []
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            label = {"dataset_id": "DATASET_ID", "log_a": "LOG_A", "log_b": "LOG_B"}.get(
                parameter.name, (parameter.metavar or parameter.name).strip("[]. ").upper()
            )
            words += [
                value(rng, label, kind_of(parameter), scene)
                for _ in range(rng.choice((1, 1, 1, 1, 0, 2)))
            ]
    base = list(BASES.get(name, []))
    options = [one for one in command.params if one.param_type_name == "option" and one.opts]
    chosen = rng.sample(options, min(len(options), rng.choice((0, 1, 1, 2, 3, 5))))
    if name in ("train", "export") and rng.random() < 0.9:
        base += ["--out", "out"]
    if name == "ope" and rng.random() < 0.9:
        base += ["--dataset", rng.choice(("own/log-v0", "sim/log-v0"))]
    if name == "import" and rng.random() < 0.8:
        base += ["--items", "items.csv", "--numbers", "age", "--max-refused", "1"]
    given = {option for one in chosen for option in one.opts}
    words += without(base, given)
    for one in chosen:
        option = max(one.opts, key=len)
        words.append(option)
        if not one.is_flag:
            count = one.nargs if one.nargs > 1 else rng.choice((1, 1, 1, 2, 0))
            words += [value(rng, option, kind_of(one), scene) for _ in range(count)]
    if name in SLOW and rng.random() < 0.95:
        words += [rng.choice(("--nonsense", "--device", "--seeds", "--results"))]
        words += [rng.choice(("tpu", "x", "", "-1", "\0"))]
    if rng.random() < 0.1:
        words.insert(rng.randrange(len(words) + 1), rng.choice(ANY))
    return [name, *words]


def without(base, given):
    """The words of ``base`` but those of options that are given anyway."""
    kept, keep = [], True
    for word in base:
        keep = word not in given if word.startswith("--") else keep
        kept += [word] if keep else []
    return kept


FILES = {
    "log.csv": written(ROWS, ".csv"),
    "log.parquet": written(ROWS, ".parquet"),
    "contexts.csv": written(CONTEXTS, ".csv"),
    "items.csv": ITEMS,
    "empty": b"",
    "file": b"x",
    "folder/x": b"x",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_command_lines(scene, name, monkeypatch):
    uvicorn = pytest.importorskip("uvicorn")
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    rng = seeded(f"commands {name}")
    count = {"import": 400, "train": 300, "recommend": 400, "generate": 300, "serve": 200}
    cases = [
        Case(command_line(rng, name, scene), FILES) for _ in range(scaled(count.get(name, 120)))
    ]
    check(cases, commands(cases, scene))


def test_words_before_any_command(scene):
    rng = seeded("words")
    cases = [
        Case(
            [
                rng.choice([*ANY, *COMMANDS, "--help", "--version", "--versio", "-h"])
                for _ in range(rng.choice((0, 1, 2, 3)))
            ]
        )
        for _ in range(scaled(200))
    ]
    cases = [case for case in cases if not {"demo", "reproduce"} & set(case.words)]
    check(cases, commands(cases, scene))


def test_variables_of_the_environment(scene):
    rng = seeded("variables")
    places = ["", " ", ".", "nowhere", "file", "file/x", "folder", "/dev/null", "x" * 300, "~", "é"]
    places += ["\udcff", "a\nb", "/proc", "relative"]
    run = str(scene / "runs/seed-0")
    lines = [
        ["train", "--dataset", "sim/log-v0", "--agent", "bc", "--steps", "2", "--out", "out"],
        ["generate", "x-v0", "--rounds", "9", "--no-card", "--world", "num_items=9"],
        ["compare", "sim/log-v0", "own/log-v0"],
        ["locate", "sim/log-v0"],
        ["import", "own/new-v0", "log.csv", "--items", "items.csv", "--numbers", "age"],
        ["recommend", run, "--contexts", "contexts.csv"],
        ["agents"],
    ]
    names = ["MINARI_DATASETS_PATH"] * 3 + [
        "TMPDIR",
        "HOME",
        "COLUMNS",
        "LANG",
        "TERM",
        "WANDB_MODE",
    ]
    names += ["RECSIM_DRPO_DATA", "OMP_NUM_THREADS", "PYTHONIOENCODING"]
    cases = [
        Case(
            rng.choice(lines),
            FILES,
            env={rng.choice(names): rng.choice([*places, "0", "-1", None])},
        )
        for _ in range(scaled(300))
    ]
    check(cases, commands(cases, scene))
