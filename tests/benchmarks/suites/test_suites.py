from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from recsim_drpo import make_agent
from recsim_drpo.benchmarks.reproduce.framework.conditions import Condition
from recsim_drpo.benchmarks.reproduce.framework.settings import Scale
from recsim_drpo.benchmarks.reproduce.framework.study import Study
from recsim_drpo.benchmarks.reproduce.publishing import report
from recsim_drpo.benchmarks.reproduce.results import read_result
from recsim_drpo.benchmarks.suites import (
    leaderboard,
    page,
    run as run_module,
    suite as suites,
    tables,
)
from recsim_drpo.benchmarks.suites.make import MAP_LOGS, PUBLISHED, make
from recsim_drpo.benchmarks.suites.result import read
from recsim_drpo.benchmarks.suites.run import Entry, run, verify
from recsim_drpo.benchmarks.suites.suite import facts_of, first_facts, load_suite, names
from recsim_drpo.cli import benchmark as cli, main
from recsim_drpo.training.config import TrainingConfig
from tests.benchmarks.reproduce.publishing.example import HOSTILE
from tests.benchmarks.reproduce.publishing.test_report import Reader
from tests.benchmarks.suites.small import suite_text

WORLD = {"num_items": 200, "embedding_dim": 16, "num_topics": 5}
MIXED = {"random": 0.5, "popularity": 0.4, "expert": 0.1}
CONDITIONS = [
    Condition("clear", MIXED, {**WORLD, "reward_noise": 0.05}, {}, 3_000),
    Condition("noisy", MIXED, {**WORLD, "reward_noise": 0.8}, {}, 2_500),
]
SEEDS = [0, 1, 2]
TRAINING = TrainingConfig(steps=30, batch_size=32)
USERS = {"num_test_users": 300, "num_validation_users": 50}


STUDY = Study(
    "small",
    CONDITIONS,
    {"bc": [{}], "asymre": [{}]},
    SEEDS,
    replace(TRAINING, evaluate_every=30),
    **USERS,
)


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    return STUDY.run(tmp_path_factory.mktemp("references"), progress=False)


@pytest.fixture(scope="module")
def content(references):
    return suite_text("small-1", STUDY, references)


@pytest.fixture
def file(content, tmp_path):
    path = tmp_path / "small-1.json"
    path.write_text(content)
    return path


@pytest.fixture
def suite(file):
    return load_suite(str(file))


@pytest.fixture(scope="module")
def written(content, tmp_path_factory):
    """The file that a run of the suite leaves."""
    folder = tmp_path_factory.mktemp("result")
    (folder / "small-1.json").write_text(content)
    suite = load_suite(str(folder / "small-1.json"))
    entry = Entry("drpo", {"initial_kappa": 0.4}, "mine", "logs")
    run(suite, entry, folder / "pieces", command="recsim-drpo benchmark", progress=False).write(
        folder / "results.json"
    )
    return folder / "results.json"


@pytest.fixture
def result(written, tmp_path):
    """What was written, read from a copy of the test's own."""
    return read(shutil.copy(written, tmp_path / "results.json"))


def test_the_first_rounds_of_a_log_are_those_of_a_longer_one():
    condition = CONDITIONS[0]
    assert facts_of(condition.log(1)) == first_facts(condition, 1)
    assert first_facts(condition, 1) != first_facts(condition, 2)
    assert first_facts(condition, 1).sha256 != first_facts(CONDITIONS[1], 1).sha256


OUT = {
    "zipf-1": "622fb7684385be75204668f423ff6f7fbf0624d15ce6fcc38c7af5e240caff0f",
    "zipf-map-1": "fa78a7c551368e3ea3954a961565b3d9f0cbd591cb0754bf0fcf1d576fa18b00",
    "zipf-robust-1": "a56014677adf44c6cedbd465a28302c0f34f973212a6121c8f56d7d0554521c0",
    "zipf-sessions-1": "07e5d3d6710c18baa5d5f573da048b5de16fe7ada4fd28520b00048405280eca",
}


def test_a_suite_that_is_out_never_changes():
    """Results are of these bytes: what differs by one of them is another suite, with a new name."""
    assert {name: load_suite(name).sha256 for name in names()} == OUT


@pytest.mark.parametrize("name", names())
def test_a_suite_that_is_out_is_whole(name):
    found = load_suite(name)
    assert found.name == name
    places = {(label, seed) for label in found.labels for seed in found.seeds}
    assert {(c, s) for c, by in found.logs.items() for s in by} == places
    agents = {record["agent"] for record in found.references}
    assert {"bc", "drpo"} <= agents
    for agent in agents:
        own = [(r["condition"], r["seed"]) for r in found.references if r["agent"] == agent]
        assert len(own) == len(set(own))
        assert set(own) == places
    found.check_log(found.labels[-1], found.seeds[0])  # or it raises


def test_the_map_of_a_suite_is_balanced():
    points = [dict(part.rsplit(" ", 1) for part in label.split(", ")) for label in MAP_LOGS]
    for axis, each in (("noise_share", 3), ("reward_noise", 4), ("popularity_bias", 6)):
        values = [point[axis] for point in points]
        assert {value: values.count(value) for value in values} == dict.fromkeys(values, each)
    assert [point["rounds"] for point in points].count("5000") == 6


def test_an_agent_that_is_a_reference_is_level_with_it(suite, tmp_path):
    found = run(suite, Entry("bc"), tmp_path, progress=False)
    assert found.exact_logs
    assert f"revision {found.revision}" in tables.as_text(suite, found)
    assert found.versions["recsim_drpo"] in tables.as_text(suite, found)
    scores = tables.scores_of(suite, found)
    assert set(scores.earned) == {"bc", "bc (reference)", "asymre"}
    np.testing.assert_allclose(scores.earned["bc"], scores.earned["bc (reference)"], atol=1e-4)
    own = {(r["condition"], r["seed"]): r["test"]["ecpm"] for r in suite.references}
    assert scores.earned["asymre"][2, 1] == pytest.approx(own["noisy", 2])


def test_a_result_is_the_same_when_it_is_read(suite, result):
    assert (result.label, result.agent, result.tuned_by) == ("mine", "drpo", "logs")
    assert result.hyperparameters == {"initial_kappa": 0.4}
    assert {record["agent"] for record in result.records} == {"drpo"}
    text = tables.as_text(suite, result)
    assert "mine was trained at hyper-parameters chosen by logs alone on the 2 logs" in text
    own = np.array([r["test"]["ecpm"] for r in result.records])
    assert f"| mine   | {own.mean():.2f}" in text
    latex = tables.as_latex(suite, result)
    assert latex.count(r"\\") == 4
    assert "&" in latex


def test_learning_curves_are_kept_and_followed_without_changing_what_is_learnt(
    suite, result, tmp_path
):
    curves = {(r["condition"], r["seed"]): r["curve"] for r in result.records}
    assert {tuple(step for step, _ in curve) for curve in curves.values()} == {
        tuple(range(0, 31, 3))
    }
    learnt = tables.learning(suite, result)
    assert list(learnt) == ["mine"]  # of the references none are stored
    steps, values = learnt["mine"]
    assert steps == list(range(0, 31, 3))
    by_hand = [(curves["clear", seed][4][1] + curves["noisy", seed][4][1]) / 2 for seed in SEEDS]
    assert values[:, 4] == pytest.approx(by_hand)
    says = tables.about_curves(suite, result)
    assert says == (
        "Learning curves, on validation users, are of mine. None are stored of bc, asymre."
    )
    assert says in tables.as_text(suite, result)
    unfollowed = Study(
        "x", CONDITIONS, {"drpo": [{"initial_kappa": 0.4}]}, SEEDS,
        replace(TRAINING, evaluate_every=30), **USERS,
    ).run(tmp_path / "unfollowed", progress=False)  # fmt: skip
    for one, other in zip(result.records, unfollowed, strict=True):
        assert one["test"]["ecpm"] == pytest.approx(other["test"]["ecpm"], rel=1e-5)


def test_a_result_of_before_has_no_curves_and_is_read(suite, result, tmp_path):
    content = json.loads((tmp_path / "results.json").read_text())
    del content["records"]["curves"]
    (tmp_path / "before.json").write_text(json.dumps(content))
    before = read(tmp_path / "before.json")
    assert tables.learning(suite, before) == {}
    assert "No learning curves are stored of this result." in tables.as_text(suite, before)
    assert set(page.as_experiment(suite, before)["records"][0]["test"]) == {
        "ecpm", "distance", "normalized", "reward", "coverage",
    }  # fmt: skip


def test_the_page_has_the_agent_and_the_references_in_every_figure(suite, result, tmp_path):
    pytest.importorskip("plotly")
    pytest.importorskip("matplotlib")
    figures = tables.draw(suite, result, tmp_path)
    assert {"ecpm.png", "leads.png", "profiles.png", "curves.png"} <= {
        path.name for path in tmp_path.iterdir()
    }
    hostile = replace(result, label=HOSTILE)
    for one in (result, hostile):
        page.write(tmp_path / "report.html", suite, one, figures)
        read_page = Reader((tmp_path / "report.html").read_text(encoding="utf-8"))
        text = "".join(read_page.text)
        assert tables.sentence(suite, one, tables.scores_of(suite, one)) in text
        assert "None are stored of bc, asymre." in text
        assert "recsim-drpo benchmark" in text
        assert "claims" not in text
        (shown,) = json.loads(read_page.data)["experiments"]
        agents = list(dict.fromkeys(record["agent"] for record in shown["records"]))
        assert agents == [one.label, "bc", "asymre"]
        assert [bool(r["curve"]) for r in shown["records"]] == [True] * 6 + [False] * 12
    (panel,) = shown["panels"]
    assert [line["name"] for line in panel["lines"]] == [
        "mine",
        *sorted(agents[1:], key=lambda n: -tables.scores_of(suite, result).earned[n].mean()),
    ]


def test_a_quick_page_is_marked_and_names_no_log_of_the_suite(suite, tmp_path):
    scale = Scale(max_rounds=500, steps=5, num_test_users=50, num_validation_users=20)
    quick = run(suite, Entry("awr"), tmp_path / "p", quick=True, progress=False, scale=scale)
    text = report.page([page.as_experiment(suite, quick)])
    assert "Only the full run is evidence" in text
    assert "Logs of" not in text
    learnt = tables.learning(suite, quick)
    assert list(learnt) == ["awr", "bc", "drpo"]


def test_what_a_result_says_is_checked(suite, result, tmp_path):
    said = verify(suite, result, tmp_path / "a", again=2)
    assert said[0] == "6 runs on 2 logs, none missing."
    assert len(said) == 3
    assert all("Made again" in sentence for sentence in said[1:])
    better = [{**r, "test": {**r["test"], "ecpm": r["test"]["ecpm"] + 0.1}} for r in result.records]
    with pytest.raises(ValueError, match=r"made again differs by 0\.1"):
        verify(suite, replace(result, records=better), tmp_path / "b")
    with pytest.raises(ValueError, match="'noisy', seed 2 is missing"):
        verify(suite, replace(result, records=result.records[:-1]), tmp_path / "c")
    with pytest.raises(ValueError, match="checksum"):
        verify(suite, replace(result, sha256="0"), tmp_path / "d")
    with pytest.raises(ValueError, match=r"seeds \[0, 1\], the suite of \[0, 1, 2\]"):
        verify(suite, replace(result, seeds=(0, 1)), tmp_path / "d", again=0)
    shared = [
        {**r, "test": {**r["test"], "normalized": r["test"]["normalized"] + 0.1}}
        for r in result.records
    ]  # eCPM as it was, its place on the scale embellished
    with pytest.raises(ValueError, match=r"made again differs by 0\.1"):
        verify(suite, replace(result, records=shared), tmp_path / "f")
    with pytest.raises(ValueError, match="quick run"):
        verify(suite, replace(result, quick=True), tmp_path / "e")


class Online:
    """An agent that has users to learn from."""

    num_envs = 4

    def __init__(self, observation_dim, action_dim, seed, device):
        self.dims = observation_dim, action_dim

    def learn(self, env, config, on_step):
        raise AssertionError("no user is met")

    def act(self, observations):
        raise AssertionError

    def update(self, batch):
        raise AssertionError

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        raise AssertionError


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (Entry(f"{__name__}:Online"), "learns online"),
        (Entry("bc", {"kappa": 1}), "Unknown hyper-parameter"),
        (Entry("drpp"), "Unknown agent"),
    ],
)
def test_who_cannot_take_part_is_told_before_any_log_is_drawn(
    suite, tmp_path, entry, says, monkeypatch
):
    monkeypatch.setattr(run_module, "_check_logs", lambda *_: pytest.fail("logs are drawn"))
    with pytest.raises((ValueError, TypeError), match=says):
        run(suite, entry, tmp_path / "pieces", progress=False)
    assert not (tmp_path / "pieces").exists()


def test_another_log_is_refused(file, tmp_path):
    content = json.loads(file.read_text())
    content["logs"]["noisy"]["1"]["sha256"] = "0"
    file.write_text(json.dumps(content))
    assert not load_suite(str(file)).check_log("noisy", 1)  # other bytes, the same statistics
    content["logs"]["noisy"]["1"]["mean_reward"] += 0.01
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"'noisy' of seed 1 is not that of small-1"):
        run(load_suite(str(file)), Entry("bc"), tmp_path / "pieces", progress=False)
    assert not (tmp_path / "pieces").exists()


def test_a_quick_run_has_rivals_of_its_own(suite, tmp_path):
    scale = Scale(max_rounds=500, steps=5, num_test_users=50, num_validation_users=20)
    quick = run(suite, Entry("awr"), tmp_path / "pieces", quick=True, progress=False, scale=scale)
    text = tables.as_text(suite, quick)
    assert "NO EVIDENCE" in text
    assert "| bc " in text
    assert "asymre" not in text


def test_the_leaderboard_has_entries_and_references(suite, result, monkeypatch):
    monkeypatch.setattr(leaderboard, "names", lambda: ["small-1"])
    monkeypatch.setattr(leaderboard, "load_suite", lambda name: suite)
    text = leaderboard.page([result])
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    values = [float(line.split("|")[2].split("[")[0]) for line in rows]
    assert values == sorted(values, reverse=True)
    (own,) = (line for line in rows if line.startswith("| mine"))
    assert "`recsim-drpo benchmark`" in own
    assert "logs" in own
    assert len(rows) == 3
    cells = [cell.strip() for cell in own.split("|")[1:-1]]
    assert cells[3:6] == ["strict", "logs", "rewards"]
    alone = leaderboard.page([])
    assert len([line for line in alone.splitlines() if line.startswith("| ")]) == 2 + 2


def test_the_leaderboard_says_what_chose_and_what_is_read(suite, result, monkeypatch):
    """Two entries of one label are two rows, and text of whoever made them stays in its cell."""
    monkeypatch.setattr(leaderboard, "names", lambda: ["small-1"])
    monkeypatch.setattr(leaderboard, "load_suite", lambda name: suite)
    tuned = replace(result, tuned_by="true-reward", reads=["propensity", "catalogue"])
    outside = replace(
        result, agent="mine:Agent", reads=None, label="x|<b>", command="a `b`\n| c",
        records=[{**r, "agent": "mine:Agent"} for r in result.records],
    )  # fmt: skip
    text = leaderboard.page([result, tuned, outside])
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if line.startswith("| ")
    ][2:]
    assert {len(row) for row in rows} == {7}
    told = sorted(tuple(row[3:6]) for row in rows if row[0] == "mine")
    assert told == [
        ("strict", "logs", "rewards"),
        ("users chose", "true-reward", "rewards, propensity, catalogue"),
    ]
    (other,) = (row for row in rows if row[0] == "x&#124;&lt;b&gt;")
    assert other[5] == "not stated"
    assert other[6].startswith("`a 'b' &#124; c`")


def test_what_a_result_reads_of_a_log_is_checked(suite, result, tmp_path):
    assert result.reads == []
    assert run_module.reads_of("softmax-pg", {}) == ("propensity", "catalogue")
    with pytest.raises(ValueError, match="says that drpo reads"):
        verify(suite, replace(result, reads=["propensity"]), tmp_path)


def test_a_page_is_written_from_a_folder_that_is_there_and_sound_or_not_at_all(
    tmp_path, monkeypatch
):
    """Elsewhere it would be a page without entries, in a folder that nobody asked for."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"no folder 'benchmarks/leaderboard' here.*checkout"):
        leaderboard.main()
    assert not list(tmp_path.iterdir())
    leaderboard.FOLDER.mkdir(parents=True)
    (leaderboard.FOLDER / "mine.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"mine\.json' is no result of a benchmark"):
        leaderboard.main()
    assert not leaderboard.PAGE.exists()


def test_an_entry_that_is_not_whole_is_refused_by_its_name(suite, result, tmp_path, monkeypatch):
    monkeypatch.setattr(leaderboard, "load_suite", lambda name: suite)
    folder = tmp_path / "board"
    folder.mkdir()
    result.write(folder / "mine.json")
    assert [one.label for one in leaderboard.load(folder)] == ["mine"]
    replace(result, quick=True).write(folder / "quick.json")
    with pytest.raises(ValueError, match=r"quick\.json' cannot be an entry: .*quick run"):
        leaderboard.load(folder)


def test_the_published_page_is_what_the_files_make():
    """Whoever adds a file, or a suite, makes the page as well."""
    made = leaderboard.page(leaderboard.load(leaderboard.FOLDER))
    assert leaderboard.PAGE.read_text(encoding="utf-8") == made


def test_the_published_picture_is_what_the_files_make(tmp_path):
    """The README begins with it."""
    results = leaderboard.load(leaderboard.FOLDER)
    figure = leaderboard.draw(results, tmp_path / "board.svg")
    published = leaderboard.PICTURE.with_suffix(".svg")
    texts = [
        [text.text for text in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]
        for path in (tmp_path / "board.svg", published)
    ]
    assert texts[0] == texts[1]
    made = matplotlib.image.imread(published.with_suffix(".png"))
    assert made.shape[1] == figure.get_figwidth() * 120
    # What is drawn are the page's numbers, suite by suite.
    sections = leaderboard.PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
    for axes, section in zip(figure.axes, sections, strict=True):
        assert axes.get_title().startswith(section.split("\n")[0])
        values = re.findall(r"^\| [^|]+ \| +([\d.]+) \[", section, re.MULTILINE)
        assert sorted(values) == sorted(f"{bar.get_width():.2f}" for bar in axes.patches)
        assert sorted(values) == sorted(text.get_text() for text in axes.texts)


def test_of_entries_with_one_label_the_best_is_drawn(suite, result, tmp_path, monkeypatch):
    monkeypatch.setattr(leaderboard, "names", lambda: ["small-1"])
    monkeypatch.setattr(leaderboard, "load_suite", lambda name: suite)
    worse = replace(
        result,
        records=[{**r, "test": {**r["test"], "ecpm": 0.01}} for r in result.records],
    )
    figures = [
        leaderboard.draw(entries, tmp_path / "board.svg")
        for entries in ([result], [worse, result], [result, worse])
    ]
    drawn = [[bar.get_width() for bar in figure.axes[0].patches] for figure in figures]
    assert len(drawn[0]) == 3
    assert drawn[0] == drawn[1] == drawn[2]


def test_the_entry_of_two_towers_is_table_1s_default():
    """Table 1 ran them on these logs at these seeds, so that nothing had to be trained again."""
    table = read_result(PUBLISHED / "table1.json")
    entry = read(leaderboard.FOLDER / "two-tower-zipf-1.json")
    assert (entry.hyperparameters, entry.revision) == ({}, table["revision"])
    penalty = make_agent("two-tower", observation_dim=2, action_dim=2, seed=0).config.penalty
    runs = {
        (r["condition"], r["seed"]): r["test"]["ecpm"]
        for r in table["records"]
        if (r["agent"], r["overrides"]) == ("two-tower", {"penalty": penalty})
    }
    assert {(r["condition"], r["seed"]): r["test"]["ecpm"] for r in entry.records} == runs
    assert len(runs) == 40


def test_what_to_take_says_what_two_towers_earn_on_the_map():
    result = read(leaderboard.FOLDER / "two-tower-zipf-map-1.json")
    scores = tables.scores_of(load_suite(result.suite), result)
    means = {name: earned.mean(axis=0) for name, earned in scores.earned.items()}
    own, others = means.pop("two-tower"), means
    text = " ".join(Path("docs/when_to_filter.md").read_text(encoding="utf-8").split())
    assert f"it is {own.mean():.2f} and {others['drpo'].mean():.2f}." in text


def test_a_suite_is_made_of_a_published_result(tmp_path, references, monkeypatch):
    study = Study("table1", CONDITIONS, {"bc": [{}], "asymre": [{}]}, SEEDS, TRAINING, **USERS)
    kept = {"plans": [study.plan()], "records": references, "revision": "abc"}
    monkeypatch.setattr("recsim_drpo.benchmarks.suites.make.read_result", lambda path: kept)
    make("zipf-1", tmp_path, tmp_path / "zipf-1.json")
    made = load_suite(str(tmp_path / "zipf-1.json"))
    assert made.labels == ["clear", "noisy"]
    assert made.seeds == (0, 1, 2)
    assert len(made.references) == len(references)
    with pytest.raises(FileExistsError):
        make("zipf-1", tmp_path, tmp_path / "zipf-1.json")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["zipf-0", "--agent", "bc"], "Unknown suite 'zipf-0'"),
        (["zipf-map-1", "--agent", "bc", "--tuned-by", "luck"], "Unknown --tuned-by 'luck'"),
        (["zipf-map-1", "verify", "it"], "neither a suite"),
        (["verify", "nothing.json"], "nothing.json"),
        (["verify"], "verify takes one file"),
        (["verify", "a.json", "b.json"], "verify takes one file"),
        (["verify", "a.json", "--quick"], "--quick is of a suite; verify takes"),
        (["verify", "a.json", "--device", "cuda"], "--device is of a suite; verify takes"),
        (["verify", "a.json", "--set", "x=1"], "--set is of a suite; verify takes"),
        (["--agent", "bc"], "which is to be named: zipf-1, zipf-map-1, "),
        (["zipf-1"], "--agent is needed: a name that `recsim-drpo agents` lists"),
        (["zipf-1", "--agent", "bc", "--draw", "0"], "--draw is of verify"),
        (["zipf-1", "--agent", "bc", "--again", "0"], "--again is of verify"),
    ],
)
def test_bad_input_is_one_line(words, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["benchmark", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert not list(tmp_path.iterdir())


VALUES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Cc"])),
    st.sampled_from(["true", "1", "null", '"quoted"', "[1]", "NaN", "a b", "x=y", ""]),
    st.integers(-(10**9), 10**9),
    st.floats(allow_nan=False),
    st.booleans(),
    st.none(),
    st.lists(st.integers(0, 9), max_size=3),
)


@given(
    hyperparameters=st.dictionaries(st.sampled_from(["alpha", "sigma"]), VALUES),
    label=st.sampled_from(["", "mine:Agent", "My agent's", "$HOME"]),
    tuned_by=st.sampled_from(["nothing", "logs", "true-reward"]),
    source=st.sampled_from(["", "https://a.org/b?c=d&e"]),
    quick=st.booleans(),
    execution=st.sampled_from(["auto", "compile"]),
)
@settings(max_examples=40, deadline=None)
def test_the_command_of_an_entry_gives_that_entry(
    hyperparameters, label, tuned_by, source, quick, execution
):
    entry = Entry("mine:Agent", hyperparameters, label, tuned_by, source)
    told = {"quick": quick, "execution": execution, "device": "cpu"}
    program, *words = shlex.split(entry.command("zipf-1", **told))
    with pytest.MonkeyPatch.context() as patch:
        read = []
        patch.setattr(cli, "_run", lambda *found: read.append(found))
        assert main(words) == 0
    ((suite, again, _, how),) = read
    assert (program, suite.name) == ("recsim-drpo", "zipf-1")
    assert again == replace(entry, label=label or "mine:Agent")
    assert {name: how[name] for name in told} == told


def test_what_no_number_depends_on_is_not_published(suite, tmp_path, monkeypatch):
    """A folder of one's machine, or the address of one's cluster, is of no use to a reader."""
    monkeypatch.setattr("recsim_drpo.benchmarks.suites.suite.load_suite", lambda name: suite)
    out = tmp_path / "out"
    words = ["benchmark", "small-1", "--agent", "bc", "--set", "hidden_dim=8", "--label", "small"]
    assert main([*words, "--processes", "1", "--out", str(out)]) == 0
    assert read(out / "results.json").command == shlex.join(["recsim-drpo", *words])


def test_a_result_is_verified_by_the_folder_that_it_was_left_in(
    suite, result, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("recsim_drpo.benchmarks.suites.suite.load_suite", lambda name: suite)
    result.write(tmp_path / "results.json")
    assert main(["benchmark", "verify", str(tmp_path), "--again", "0"]) == 0
    assert "results.json is a sound result of small-1" in capsys.readouterr().out


def test_the_suites_are_listed(capsys):
    assert main(["benchmark"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in names())


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda r: r["rows"][0].__setitem__(3, ["high", 1.0, 1.0]), r"rows\[0\]"),
        (lambda r: r["rows"][0].__setitem__(3, [float("nan"), 1.0, 1.0]), r"rows\[0\]"),
        (lambda r: r["rows"][0].__setitem__(3, [1.0]), "other numbers of values than of seeds"),
        (lambda r: r["rows"][1].__setitem__(0, 7), "names place 7 of 2"),
        (lambda r: r["columns"].remove("ecpm"), "lack"),
        (lambda r: r["curves"].pop(), "curves are not one for each"),
        (lambda r: r["curves"][0][0].pop(), "not as many steps as values"),
        (lambda r: r["curves"][0][0].__setitem__(0, [None] * 11), "not as many steps as values"),
    ],
)
def test_numbers_of_another_shape_are_refused_as_they_are_read(result, tmp_path, spoil, says):
    path = tmp_path / "results.json"
    content = json.loads(path.read_text())
    spoil(content["records"])
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"no result of a benchmark: .*{says}") as refusal:
        read(path)
    assert "\n" not in str(refusal.value)


def test_text_in_latex_is_what_was_given():
    given = r"a_b & 50% \x{y} #1 $2 ~3 ^4 <5>"
    assert tables._escaped(given) == (
        r"a\_b \& 50\% \textbackslash{}x\{y\} \#1 \$2 \textasciitilde{}3 \textasciicircum{}4 "
        r"\textless{}5\textgreater{}"
    )


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"schema_name": "other"}'])
def test_a_file_of_another_shape_is_no_result(text, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="no result of a benchmark") as refusal:
        read(path)
    assert "\n" not in str(refusal.value)
    with pytest.raises(ValueError, match="no suite"):
        suites.load_suite(str(path))
