"""Valid files of every format that a log, items, contexts or rules can come in, all small."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow
from pyarrow import feather, ipc, parquet

ITEMS = b"item_id,e0,e1,e2\n10,1,0,0\n11,0,1,0\n12,0,0,1\n13,0.6,0.8,0\n"
_COUNTRIES = ("Köln", "a,b", 'say "x"', "", "北京")

ROWS: list[dict[str, Any]] = [
    {
        "item_id": 10 + n % 4,
        "reward": float(n % 3 == 0),
        "propensity": round(0.2 + 0.1 * (n % 5), 1),
        "age": 20.5 + n if n % 7 else None,
        "device": ("phone", "tablet")[n % 2],
        "country": _COUNTRIES[n % 5] or None,
        "time": 1_700_000_000 + 60 * n,
        "request": n // 2,
    }
    for n in range(40)
]
"""Rounds of a shop."""

IMPORT = ["--numbers", "age", "--categories", "device", "--hash", "country=8"]
IMPORT += ["--time", "time", "--keep", "request", "--max-refused", "1"]
"""What their columns mean."""

CONTEXTS: list[dict[str, Any]] = [
    {"user": f"u{n}", **{f"context_{i}": round(0.1 * (n - i), 2) for i in range(4)}}
    for n in range(12)
]
"""Contexts of four dimensions, with ids."""


def written(rows: Sequence[Mapping[str, Any]], suffix: str) -> bytes:
    """Rows as a file with this suffix."""
    packing = suffix.rpartition(".")[2]
    if packing in ("gz", "zst"):
        data = written(rows, suffix.rpartition(".")[0])
        if packing == "gz":
            return gzip.compress(data, mtime=0)
        return bytes(pyarrow.compress(data, codec="zstd", asbytes=True))
    if suffix in (".csv", ".tsv"):
        text = io.StringIO(newline="")
        mark = "," if suffix == ".csv" else "\t"
        writer = csv.DictWriter(text, list(rows[0]), delimiter=mark, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode()
    if suffix == ".jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    table = pyarrow.Table.from_pylist(list(rows))
    sink = io.BytesIO()
    if suffix == ".parquet":
        parquet.write_table(table, sink, row_group_size=15)
    elif suffix == ".feather":
        feather.write_feather(table, sink)
    elif suffix == ".stream.arrow":
        with ipc.new_stream(sink, table.schema) as writer_:
            writer_.write_table(table, 15)
    else:
        with ipc.new_file(sink, table.schema) as writer_:
            writer_.write_table(table, 15)
    return sink.getvalue()


_DECISION = {
    "_label_cost": -1,
    "_label_probability": 0.25,
    "_label_Action": 2,
    "_labelIndex": 1,
    "o": [],
    "a": [2, 1],
    "c": {
        "User": {"age": 30, "city": "Rome", "sizes": [2, 0.5]},
        "_multi": [{"Item": {"sport": 1}}, {"Item": {"news": True, "hot": 3, "_tag": "n"}}],
    },
    "p": [0.25, 0.75],
}
_USER_COLUMNS = (
    "user_id,user_active_degree,is_live_streamer,is_video_author,follow_user_num_range,"
    "fans_user_num_range,friend_user_num_range,register_days_range,"
    + ",".join(f"onehot_feat{k}" for k in (0, 1, 2, 4, 5, 6, *range(9, 18)))
)
_USERS = [
    ",".join(f'"{cell}"' for cell in (user, "full", "0", "1", "(0,10]", "0", "[1,5)", "31-60"))
    + "," * 15
    for user in ("0", "1")
]
_FILMS = "".join(
    f"{film}|Én|01-Jan-1995||http://x|" + "|".join(str(int(k == film)) for k in range(19)) + "\n"
    for film in (1, 2, 3)
)

PRESETS: dict[str, tuple[str, str, dict[str, bytes]]] = {
    "vw": ("vw", "log.vw", {"log.vw": b"1:-1:0.4 | a c:2\n3:0.5:0.2 tag|u:2 a:0.5 b |v c\n| a\n"}),
    "vw by action": (
        "vw",
        "log.vw",
        {
            "log.vw": b"shared |User age:30 pro\n|Item sport\n0:-1:0.25 |Item news hot:3\n\n"
            b"shared |User age:20\n0:0:0.75 |Item sport\n|Item news hot:3\n\n"
        },
    ),
    "vw packed": ("vw", "log.vw.gz", {"log.vw.gz": gzip.compress(b"1:-1:0.4 | a c:2\n", mtime=0)}),
    "dsjson": ("dsjson", "log.json", {"log.json": (json.dumps(_DECISION) + "\n").encode() * 3}),
    "criteo": (
        "criteo",
        "log.txt",
        {
            "log.txt": b"example 6: abc 1 0.25 1 2 0:300 1:250 2:17\n1 exid:6 11:5 12:7\n"
            b"0 exid:6 11:6 12:7\nexample 8: ghi 0 0.5 1 1 0:300 2:18\n0 exid:8 11:9\n"
        },
    ),
    "movielens": (
        "movielens",
        "ratings.csv",
        {
            "ratings.csv": b"userId,movieId,rating,timestamp\n1,10,5,300\n1,20,2,100\n2,20,4,200\n",
            "movies.csv": b'movieId,title,genres\n10,"Heat, (1995)",Action|Crime\n20,B,Comedy\n',
        },
    ),
    "movielens 1m": (
        "movielens",
        "ratings.dat",
        {
            "ratings.dat": b"1::10::5::300\n1::20::2::100\n2::20::4::200\n",
            "movies.dat": b"10::Heat::Action|Crime\n20::\xc9n::Comedy\n",
            "users.dat": b"1::F::25::10::48067\n2::M::50::16::70072\n",
        },
    ),
    "movielens 100k": (
        "movielens",
        "u.data",
        {
            "u.data": b"1\t1\t5\t300\n1\t2\t2\t100\n2\t3\t4\t200\n",
            "u.item": _FILMS.encode("latin-1"),
            "u.user": b"1|25|F|writer|48067\n2|50|M|other|70072\n",
        },
    ),
    "mind": (
        "mind",
        "behaviors.tsv",
        {
            "news.tsv": b"N1\tnews\tworld\tTitle\tAbstract\thttps://x\t[]\t[]\n"
            b"N2\tsports\tgolf\tTitle\t\thttps://x\t[]\t[]\n",
            "behaviors.tsv": b"1\tU1\t11/11/2019 9:05:58 AM\tN1 N2 N2 N9\tN2-1 N1-0\n"
            b"2\tU2\t11/12/2019 12:00:00 AM\t\tN2-0\n",
        },
    ),
    "kuairand": (
        "kuairand",
        "log_random_4_22_to_5_08_1k.csv",
        {
            "log_random_4_22_to_5_08_1k.csv": b"user_id,video_id,date,hourmin,time_ms,is_click,"
            b"long_view,tab\n0,7,20220422,2300,1650639600500,1,0,1\n1,8,20220423,5,1650643200000,"
            b"0,0,0\n",
            "user_features_1k.csv": "\n".join([_USER_COLUMNS, *_USERS, ""]).encode(),
            "video_features_basic_1k.csv": b"video_id,author_id,video_type,upload_type,music_type,"
            b'tag\n7,1,NORMAL,Web,9,"3,12"\n8,2,AD,Web,,\n9,3,AD,Kmv,9,5\n',
        },
    ),
    "open-bandit": (
        "open-bandit",
        "men_random.csv",
        {
            "men_random.csv": b",timestamp,item_id,position,click,propensity_score,user_feature_0,"
            b"user-item_affinity_0\n0,t,1,3,0,0.5,u,0.5\n1,t,0,1,1,0.5,v,0\n",
            "men_bts.csv": b",timestamp,item_id,position,click,propensity_score,user_feature_0,"
            b"user-item_affinity_0\n0,t,0,2,0,0.9,w,2\n",
            "men_item_context.csv": b",item_id,item_feature_0,item_feature_1,item_feature_2,"
            b"item_feature_3\n0,1,1,a,x,p\n1,0,-1,b,x,q\n2,2,0,b,x,p\n",
        },
    ),
}
"""A log of each known format: the preset, the log's name, the files."""

COLUMNS = {
    "numbers": ["age"],
    "categories": {"device": ["phone", "tablet"]},
    "item": "item_id",
    "reward": "reward",
    "propensity": "propensity",
    "keep": ["request"],
    "reward_range": [0, 1],
    "hashes": {"country": 8},
    "transforms": {"age": "standardise"},
    "missing": "code",
    "coding": {
        "numbers": {"age": {"transform": "standardise", "mean": 1.0, "deviation": 2.0}},
        "extra": {"device": ["other", "missing"]},
        "strict": False,
    },
}
"""What columns mean, as JSON."""
