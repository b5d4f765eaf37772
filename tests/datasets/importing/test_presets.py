"""Presets on samples written by hand in each format: contexts, items and rewards by hand."""

from __future__ import annotations

import gzip
import json
import math
from dataclasses import replace

import minari
import numpy as np
import pytest

from recsim_drpo import load_transitions
from recsim_drpo.cli import main
from recsim_drpo.cli.import_log import PRESETS as NAMES
from recsim_drpo.datasets.import_log import import_log
from recsim_drpo.datasets.imported import imported_items, reward_unit
from recsim_drpo.datasets.importing.presets.registry import PRESETS, read_preset

pytest.importorskip("pyarrow")


@pytest.fixture
def load(minari_root):
    def load(name, *logs):
        preset = read_preset(name, logs)
        raw = dict.fromkeys(preset.columns.numbers, "none")  # so that they can be compared by hand
        dataset = import_log(
            "own/log-v0",
            preset.log,
            preset.items,
            replace(preset.columns, transforms=raw),
            notes=preset.notes,
            progress=False,
        )
        infos = [] if preset.columns.propensity is None else ["propensity"]
        infos += ["item_id", *preset.columns.keep]
        return dataset, load_transitions(dataset, infos=infos).as_batch()

    return load


def shown(dataset, log):
    """The ids of the items shown."""
    return imported_items(dataset)[1][log.infos["item_id"].numpy()].tolist()


def unit(*numbers):
    return (np.array(numbers) / np.linalg.norm(numbers)).astype(np.float32)


def test_the_command_line_knows_every_preset():
    assert set(NAMES) == {"open-bandit", *PRESETS}


RATINGS = [("1", "10", "5", "300"), ("1", "20", "2", "100"), ("2", "20", "4", "200")]
RATINGS += [("1", "30", "3.5", "400")]


def write_latest(folder):
    lines = ["userId,movieId,rating,timestamp", *map(",".join, RATINGS)]
    (folder / "ratings.csv").write_text("\n".join(lines) + "\n")
    films = ['10,"Heat, The (1995)",Action|Crime', "20,Babe (1995),Comedy", "30,Én (2000),Action"]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *films]) + "\n")
    return folder / "ratings.csv"


def write_1m(folder):
    (folder / "ratings.dat").write_text("\n".join(map("::".join, RATINGS)) + "\n")
    films = ["10::Heat::Action|Crime", "20::Babe::Comedy", "30::Én::Action"]
    (folder / "movies.dat").write_text("\n".join(films) + "\n", encoding="latin-1")
    (folder / "users.dat").write_text("1::F::25::10::48067\n2::M::50::16::70072\n")
    return folder / "ratings.dat"


def write_100k(folder):
    (folder / "u.data").write_text("\n".join(map("\t".join, RATINGS)) + "\n")
    flags = {"10": {1, 6}, "20": {5}, "30": {1}}  # Action, Comedy, Crime
    films = [
        f"{film}|Én|01-Jan-1995||http://x|" + "|".join(str(int(k in of)) for k in range(19))
        for film, of in flags.items()
    ]
    (folder / "u.item").write_text("\n".join(films) + "\n", encoding="latin-1")
    (folder / "u.user").write_text("1|25|F|writer|48067\n2|50|M|other|70072\n")
    return folder / "u.data"


@pytest.mark.parametrize("write", [write_latest, write_1m, write_100k])
def test_movielens(load, tmp_path, write):
    dataset, log = load("movielens", write(tmp_path))
    assert shown(dataset, log) == ["20", "20", "10", "30"]  # in the order of time
    told = reward_unit(dataset).to_tell(log.rewards.double().numpy())
    np.testing.assert_allclose(told, [2, 4, 5, 3.5], rtol=1e-6)
    assert log.infos["time"].tolist() == [100, 200, 300, 400]
    # Action, Comedy and Crime; then 20 got 2 of user 1, -1 from neutral, and 10 got 5, which is +2.
    who = [] if write is write_latest else [[25, 1, 0, 1, 0], [50, 0, 1, 0, 1]]
    if write is write_100k:  # "other" is before "writer"
        who = [[25, 1, 0, 0, 1], [50, 0, 1, 1, 0]]
    first, second = who or [[], []]
    expected = [
        [0, 0, 0, 0, *first],
        [0, 0, 0, 0, *second],
        [0, -1, 0, math.log(2), *first],
        [1, -0.5, 1, math.log(3), *first],
    ]
    np.testing.assert_allclose(log.observations, expected, rtol=1e-6)
    vectors, ids = imported_items(dataset)
    assert ids.tolist() == ["10", "20", "30"]
    np.testing.assert_array_equal(vectors, [unit(1, 0, 1), unit(0, 1, 0), unit(1, 0, 0)])
    counts = dataset.storage.metadata["import"]
    assert counts["propensities"] is None
    assert (counts["file"], counts["refused"]) == (log_name(write), {})


def log_name(write):
    return {write_latest: "ratings.csv", write_1m: "ratings.dat", write_100k: "u.data"}[write]


def test_mind(load, tmp_path):
    (tmp_path / "news.tsv").write_text(
        "N1\tnews\tworld\tTitle\tAbstract\thttps://x\t[]\t[]\n"
        "N2\tsports\tgolf\tTitle\t\thttps://x\t[]\t[]\n"
        "N3\tsports\tsoccer\tTitle\t\thttps://x\t\t\n"
    )
    (tmp_path / "behaviors.tsv").write_text(
        "1\tU1\t11/11/2019 9:05:58 AM\tN1 N2 N2 N9\tN3-1 N1-0\n"
        "2\tU2\t11/12/2019 12:00:00 AM\t\tN2-0\n"
    )
    dataset, log = load("mind", tmp_path / "behaviors.tsv")
    assert shown(dataset, log) == ["N3", "N1", "N2"]
    assert log.rewards.tolist() == [1, 0, 0]
    assert log.infos["request"].tolist() == [1, 1, 2]
    assert log.infos["time"].tolist() == [1573463158, 1573463158, 1573516800]
    hours = np.eye(24)
    expected = [[1 / 3, 2 / 3, math.log(4), *hours[9]]] * 2 + [[0, 0, 0, *hours[0]]]
    np.testing.assert_allclose(log.observations, expected, rtol=1e-6)
    # news, news/world, sports, sports/golf, sports/soccer
    vectors = [unit(1, 1, 0, 0, 0), unit(0, 0, 1, 1, 0), unit(0, 0, 1, 0, 1)]
    np.testing.assert_array_equal(imported_items(dataset)[0], vectors)
    minari.delete_dataset("own/log-v0")
    (tmp_path / "behaviors.tsv").write_text("1\tU1\t11/11/2019 9:05:58 AM\tN1\tN3 N1\n")
    with pytest.raises(ValueError, match=r"line 1: .*the test set has no clicks"):
        load("mind", tmp_path / "behaviors.tsv")


def user_features(user, degree):
    cells = [user, degree, "0", "1", "(0,10]", "0", "[1,5)", "31-60"]
    return ",".join(f'"{cell}"' for cell in cells) + "," * 15


USER_HEADER = (
    "user_id,user_active_degree,is_live_streamer,is_video_author,follow_user_num_range,"
    "fans_user_num_range,friend_user_num_range,register_days_range,"
    + ",".join(f"onehot_feat{k}" for k in (0, 1, 2, 4, 5, 6, *range(9, 18)))
)


@pytest.mark.parametrize("kind", ["random", "standard"])
def test_kuairand(load, tmp_path, kind):
    path = tmp_path / f"log_{kind}_4_22_to_5_08_1k.csv"
    path.write_text(
        "user_id,video_id,date,hourmin,time_ms,is_click,long_view,tab\n"
        "0,7,20220422,2300,1650639600500,1,0,1\n1,8,20220423,5,1650643200000,0,0,0\n"
    )
    rows = [USER_HEADER, user_features("0", "full_active"), user_features("1", "UNKNOWN")]
    (tmp_path / "user_features_1k.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "video_features_basic_1k.csv").write_text(
        "video_id,author_id,video_type,upload_type,music_type,tag\n"
        '7,1,NORMAL,Web,9,"3,12"\n8,2,AD,Web,,\n9,3,AD,Kmv,9,5\n'
    )
    dataset, log = load("kuairand", path)
    assert shown(dataset, log) == ["7", "8"]  # and 9 was not shown, so it is no item
    assert len(imported_items(dataset)[1]) == 2
    assert log.rewards.tolist() == [1, 0]
    assert log.infos["time"].tolist() == [1650639600.5, 1650643200]
    # The tab 0 or 1, the hour 0 or 23, how active the user is; all else has one value.
    assert log.observations[:, :6].tolist() == [[0, 1, 0, 1, 0, 1], [1, 0, 1, 0, 1, 0]]
    assert (log.observations[:, 6:] == 1).all()
    # music_type= and 9, tag 12 and 3, upload_type Web, video_type AD and NORMAL
    vectors = [unit(0, 1, 1, 1, 1, 0, 1), unit(1, 0, 0, 0, 1, 1, 0)]
    np.testing.assert_array_equal(imported_items(dataset)[0], vectors)
    if kind == "random":
        np.testing.assert_allclose(log.infos["propensity"], 1 / 7583)
    else:
        assert dataset.storage.metadata["import"]["propensities"] is None


def test_vowpal_wabbit_costs_actions_and_namespaces(load, tmp_path):
    text = "1:-1:0.4 | a c:2\n3:0.5:0.2 tag|u:2 a:0.5 b |v c\n| a\n\n2:-0.25:0.4 | c\n"
    (tmp_path / "log.vw.gz").write_bytes(gzip.compress(text.encode()))
    dataset, log = load("vw", tmp_path / "log.vw.gz")
    assert shown(dataset, log) == ["1", "3", "2"]
    told = reward_unit(dataset).to_tell(log.rewards.double().numpy())
    np.testing.assert_allclose(told, [1, -0.5, 0.25], rtol=1e-6)
    np.testing.assert_allclose(log.infos["propensity"], [0.4, 0.2, 0.4])
    # a, c, u^a, u^b, v^c
    assert log.observations.tolist() == [[1, 2, 0, 0, 0], [0, 0, 1, 2, 1], [0, 1, 0, 0, 0]]
    np.testing.assert_array_equal(imported_items(dataset)[0], np.eye(3))
    assert "[-0.5, 1], the range found" in dataset.storage.metadata["import"]["notes"][-1]


BY_ACTION = (
    "shared |User age:30 pro\n|Item sport\n0:-1:0.25 |Item news hot:3\n\n"
    "shared |User age:20\n0:0:0.75 |Item sport\n|Item news hot:3\n\n"
    "shared |User age:50\n|Item sport\n\n"
)


def as_dsjson():
    actions = [{"Item": {"sport": 1}}, {"Item": {"news": True, "hot": 3, "_tag": "n"}}]
    decisions = [
        (-1, 0.25, 2, {"age": 30, "pro": 1, "off": None}),
        (0, 0.75, 1, {"age": 20}),
    ]
    for cost, probability, action, user in decisions:
        yield {
            "_label_cost": cost,
            "_label_probability": probability,
            "_label_Action": action,
            "_labelIndex": action - 1,
            "o": [],
            "a": [action, 3 - action],
            "c": {"User": user, "_multi": actions},
            "p": [probability, 1 - probability],
        }
    yield {"RewardValue": 1, "EventId": "came later"}


@pytest.mark.parametrize("format", ["vw", "dsjson"])
def test_actions_with_features(load, tmp_path, format):
    text = BY_ACTION if format == "vw" else "".join(json.dumps(d) + "\n" for d in as_dsjson())
    (tmp_path / "log").write_text(text)
    dataset, log = load(format, tmp_path / "log")
    assert shown(dataset, log) == ["Item^hot:3 Item^news", "Item^sport"]
    assert log.rewards.tolist() == [1, 0]
    assert log.infos["propensity"].tolist() == [0.25, 0.75]
    assert log.observations.tolist() == [[30, 1], [20, 0]]
    # hot, news, sport
    np.testing.assert_array_equal(imported_items(dataset)[0], [unit(3, 1, 0), unit(0, 0, 1)])


def test_text_and_lists_in_dsjson(load, tmp_path):
    decision = next(as_dsjson()) | {"_labelIndex": None}
    decision["c"]["User"] = {"city": "Rome", "tags": ["x", "y"], "sizes": [2, 0.5]}
    (tmp_path / "log.json").write_text(json.dumps(decision) + "\n")
    preset = read_preset("dsjson", [tmp_path / "log.json"])
    names = ["User^city=Rome", "User^sizes[0]", "User^sizes[1]", "User^tags=x", "User^tags=y"]
    assert preset.columns.numbers == [f"x_{name}" for name in names]
    _, log = load("dsjson", tmp_path / "log.json")
    assert log.observations.tolist() == [[1, 2, 0.5, 1, 1]]


def test_criteo(load, tmp_path):
    (tmp_path / "log.txt").write_text(
        "example 6: abc 1 0.25 1 2 0:300 1:250 2:17\n1 exid:6 11:5 12:7\n0 exid:6 11:6 12:7\n"
        "example 7: def 0 0.01 2 2 0:300\n0 exid:7 11:5 12:7\n0 exid:7 11:9\n"
        "example 8: ghi 0 0.5 1 1 0:300 1:250 2:18\n0 exid:8 11:9\n"
    )
    dataset, log = load("criteo", tmp_path / "log.txt")
    assert shown(dataset, log) == ["11:5 12:7", "11:9"]  # the first candidates of one slot
    assert log.rewards.tolist() == [1, 0]
    assert log.infos["propensity"].tolist() == [0.25, 0.5]
    # 0:300 and 1:250 in both; 2:17 and 2:18 in one each.
    assert log.observations.shape == (2, 4)
    assert sorted(log.observations.abs().sum(dim=0).tolist()) == [1, 1, 2, 2]
    assert log.observations.abs().sum(dim=1).tolist() == [3, 3]
    vectors = imported_items(dataset)[0]
    assert vectors @ vectors.T == pytest.approx(np.eye(2))


@pytest.mark.parametrize(
    ("preset", "name", "text", "message"),
    [
        ("vw", "a.vw", "1:x:0.5 | a\n", r"'a.vw', line 1: '1:x:0.5' is no label"),
        ("vw", "a.vw", "1:1:0.5 2:1:0.5 | a\n", "is no label action:cost:probability"),
        ("vw", "a.vw", "1:1:0.5 | a:b\n", "'a.vw', line 1: could not convert"),
        ("vw", "a.vw", "0:1:0.5 | a\n| b\n", "need a shared line, which is their context"),
        ("vw", "a.vw", "| a\n", "no example with a label"),
        ("vw", "a.vw", "1:1:0.5 | \n", "contexts have no feature"),
        ("dsjson", "a.json", "{}\n{", "'a.json', line 2: no dsjson decision"),
        ("dsjson", "a.json", '{"_outcomes": []}\n', "it chose a slate"),
        ("criteo", "a.txt", "example 6: abc 1\n", "'a.txt', line 1: no example"),
        ("mind", "behaviors.tsv", "", "There is no news.tsv beside"),
        ("movielens", "ratings.csv", "userId\n", r"There is no movies.csv or u.item or movies.dat"),
        ("kuairand", "log_random_1k.csv", "x\n", "There is no user_features_1k.csv beside"),
    ],
)
def test_what_is_not_of_the_format_is_one_line(
    minari_root, tmp_path, capsys, preset, name, text, message
):
    (tmp_path / name).write_text(text)
    assert main(["import", "own/log-v0", str(tmp_path / name), "--preset", preset]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not minari.list_local_datasets()


def test_features_without_end_are_refused(load, tmp_path):
    lines = [f"1:0:0.5 | a{number}" for number in range(1_001)]
    (tmp_path / "log.vw").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="contexts have more than 1,000 different features"):
        load("vw", tmp_path / "log.vw")


def test_a_preset_takes_other_items(minari_root, tmp_path):
    path = write_latest(tmp_path)
    np.savez(tmp_path / "vectors.npz", embeddings=np.eye(3), item_ids=["10", "20", "30"])
    command = ["import", "own/log-v0", str(path), "--preset", "movielens"]
    assert main([*command, "--items", str(tmp_path / "vectors.npz")]) == 0
    np.testing.assert_array_equal(imported_items(minari.load_dataset("own/log-v0"))[0], np.eye(3))


def test_a_later_log_is_coded_like_the_first(minari_root, tmp_path):
    (tmp_path / "first.vw").write_text("1:0:0.5 | a b:2\n2:-1:0.5 | a\n")
    (tmp_path / "later.vw").write_text("2:-1:0.5 | b:3 new\n")
    command = ["--preset", "vw"]
    assert main(["import", "own/first-v0", str(tmp_path / "first.vw"), *command]) == 0
    first = minari_root / "own/first-v0"
    command += ["--columns", str(first / "columns.json"), "--items", str(first / "items.npz")]
    assert main(["import", "own/later-v0", str(tmp_path / "later.vw"), *command]) == 0
    log = load_transitions("own/later-v0", infos=["item_id"]).as_batch()
    # a: 1, 1 and b: 2, 0 in the first log: means 1 and 1, deviations none and 1.
    assert log.observations.tolist() == [[-1, 2]]
    assert log.infos["item_id"].tolist() == [1]


@pytest.mark.parametrize(
    ("write", "name", "content", "message"),
    [
        (
            write_1m,
            "users.dat",
            "1::F::25::10::1\n2::M::50",
            "'users.dat', user 2: no user, gender",
        ),
        (write_1m, "users.dat", "1::F::old::10::1", "'users.dat', user 1: no user, gender"),
        (write_1m, "ratings.dat", b"1::10::5::30\xff0\n", "'ratings.dat' is not UTF-8 text"),
        (write_100k, "u.item", "1|A|1995||x|0|1", "'u.item', film 1: not 19 flags"),
        (write_100k, "u.user", "1|25", "'u.user', user 1: no user, gender"),
    ],
)
def test_damaged_movielens_says_where(tmp_path, write, name, content, message):
    log = write(tmp_path)
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=message):
        read_preset("movielens", [log])


@pytest.mark.parametrize("cut", [5, 20, -9])
def test_a_packed_log_that_was_cut_is_damaged(tmp_path, cut):
    whole = gzip.compress(b"1:-1:0.4 | a c:2\n2:0:0.6 | c\n" * 9)
    (tmp_path / "log.vw.gz").write_bytes(whole[:cut])
    with pytest.raises(ValueError, match=r"'log.vw.gz' is cut off, damaged"):
        read_preset("vw", [tmp_path / "log.vw.gz"])


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(tmp_path):
    (tmp_path / "log.vw.gz").write_bytes(gzip.compress(b"1:-1:0.4 | a\n" + b"x" * 2**25))
    with pytest.raises(ValueError, match=r"'log.vw.gz', line 2: it has 16 MiB or more"):
        read_preset("vw", [tmp_path / "log.vw.gz"])


def test_an_error_in_a_line_is_one_line_without_arrows_own(minari_root, tmp_path, capsys):
    (tmp_path / "news.tsv").write_text("N1\tnews\tworld\tTitle\n")
    (tmp_path / "behaviors.tsv").write_text("1\tU1\tyesterday\tN1\tN1-0\n")
    assert main(["import", "own/log-v0", str(tmp_path / "behaviors.tsv"), "--preset", "mind"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'behaviors.tsv', line 1: no impression (time data 'yesterday'" in line
    assert "Traceback" not in line
    assert "Python" not in line


def test_kuairand_says_in_which_row_a_number_is_none(load, tmp_path):
    log = tmp_path / "log_random_4_22_to_5_08_1k.csv"
    log.write_text("user_id,video_id,hourmin,time_ms,is_click,tab\n0,7,2300,0,1,1\n0,7,x,0,1,1\n")
    (tmp_path / "user_features_1k.csv").write_text(f"{USER_HEADER}\n{user_features('0', 'full')}\n")
    (tmp_path / "video_features_basic_1k.csv").write_text(
        "video_id,video_type,upload_type,music_type,tag\n7,NORMAL,Web,9,3\n"
    )
    with pytest.raises(
        ValueError, match=r"5_08_1k.csv', row 2: hourmin, is_click or time_ms is no"
    ):
        load("kuairand", log)


@pytest.mark.parametrize("depth", [999, 100_000])
def test_a_dsjson_decision_that_is_nested_too_deeply_says_its_line(tmp_path, depth):
    text = json.dumps(next(as_dsjson()))
    (tmp_path / "log.json").write_text(f"{text}\n{text[:-1]}, {'[' * depth}\n")
    with pytest.raises(ValueError, match=r"'log.json', line 2: no dsjson decision"):
        read_preset("dsjson", [tmp_path / "log.json"])
