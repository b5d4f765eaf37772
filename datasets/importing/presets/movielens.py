"""MovieLens ratings (Harper and Konstan, 2015): ``ratings.csv``, ``u.data`` and ``ratings.dat``.

Users chose what they rated: there are no propensities, and none are made up. A context is what the
user has rated before, by genre, and who the user is where the data say so; an item is its genres.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.core.messages import one_line, shown
from recsim_drpo.datasets.importing.columns import Columns
from recsim_drpo.datasets.importing.presets.base import (
    Preset,
    beside,
    cells_of,
    one_file,
    one_hot,
    stream,
    unit_vectors,
)

_FLAGS = (
    "unknown|Action|Adventure|Animation|Children's|Comedy|Crime|Documentary|Drama|Fantasy|"
    "Film-Noir|Horror|Musical|Mystery|Romance|Sci-Fi|Thriller|War|Western"
)
_NEUTRAL = 3.0
_NOTE = (
    "Rounds are in the order of time. Users chose what they rated: there are no propensities. A "
    "context is (rating - 3) by genre, on average over the user's earlier ratings, and the "
    "logarithm of 1 + their number."
)

Users = dict[str, tuple[float, str, str]]


def movielens(logs: Sequence[str | Path], columns: Columns | None = None) -> Preset:
    """Ratings from 0.5 to 5 as rewards, with the films' and the users' files that lie beside them.

    Those are ``movies.csv``; or ``u.item`` and ``u.user``; or ``movies.dat`` and ``users.dat``.
    Ratings are held in memory. ``columns`` are those of another such log, in place of the usual.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged.
    """
    path = one_file(logs, "movielens")
    ids, films, genres = _films(beside(path, ["movies.csv", "u.item", "movies.dat"]))
    users = _users(path)
    likes = [f"likes_{genre}" for genre in genres]
    meaning = columns or Columns(
        numbers=[*likes, "num_rated", *(["age"] if users else [])],
        categories=dict.fromkeys(["gender", "occupation"], ()) if users else {},
        item="movie",
        reward="rating",
        propensity=None,
        keep=["time"],
        reward_range=(0.5, 5.0),
    )
    known = [("age", "float64"), ("gender", "string"), ("occupation", "string")] if users else []
    numbers = [(name, "float64") for name in ["rating", "time", *likes, "num_rated"]]
    rows = _rounds(_ratings(path), dict(zip(ids, films, strict=True)), users)
    table = stream(path.name, [("movie", "string"), *numbers, *known], rows)
    return Preset(table, meaning, (unit_vectors(films), np.array(ids)), (_NOTE,))


def _ratings(path: Path) -> list[list[str]]:
    """Users, films, ratings and times, as text, in the order of time."""
    names = ["userId", "movieId", "rating", "timestamp"]
    if path.suffix == ".csv":
        columns = list(cells_of(path, names).values())
    else:
        mark = "::" if path.suffix == ".dat" else "\t"
        lines = [line.split(mark) for line in _utf8(path).splitlines() if line]
        bad = next((number for number, row in enumerate(lines, 1) if len(row) != 4), None)
        if bad is not None or not lines:
            raise ValueError(
                f"{path.name!r}, line {bad or 1}: not a user, a film, a rating and a time, each "
                f"after {shown(mark)}."
            )
        columns = [list(column) for column in zip(*lines, strict=True)]
    try:
        order = np.argsort(np.array(columns[3], dtype=np.float64), kind="stable").tolist()
        np.array(columns[2], dtype=np.float64)
    except ValueError as error:
        raise ValueError(
            f"{path.name!r}: a rating or a time is no number ({one_line(error)})."
        ) from error
    return [[column[row] for row in order] for column in columns]


def _rounds(
    ratings: list[list[str]], films: dict[str, NDArray[Any]], users: Users
) -> Iterator[Sequence[Any]]:
    sums: dict[str, NDArray[Any]] = {}
    counts: dict[str, int] = {}
    nothing = np.zeros(len(next(iter(films.values()))))
    for user, film, rating, time in zip(*ratings, strict=True):
        count, total = counts.get(user, 0), sums.get(user, nothing)
        who = users.get(user, (None, None, None)) if users else ()
        profile = (total / max(1, count)).tolist()
        yield [film, float(rating), float(time), *profile, float(np.log1p(count)), *who]
        counts[user] = count + 1
        sums[user] = total + (float(rating) - _NEUTRAL) * films.get(film, nothing)


def _films(path: Path) -> tuple[list[str], NDArray[Any], list[str]]:
    """Ids, genres as zeros and ones, and their names."""
    if path.suffix == ".csv":
        cells = cells_of(path, ["movieId", "genres"])
        ids, genres = cells["movieId"], [text.split("|") for text in cells["genres"]]
    else:
        mark = "::" if path.suffix == ".dat" else "|"
        lines = [line.split(mark) for line in _latin(path)]
        ids = [row[0] for row in lines]
        if path.suffix == ".dat":
            genres = [row[-1].split("|") for row in lines]
        else:
            names = _FLAGS.split("|")
            flags = [row[-len(names) :] for row in lines]
            short = next((n for n, row in enumerate(flags, 1) if len(row) < len(names)), None)
            if short is not None:
                raise ValueError(f"{path.name!r}, film {short}: not {len(names)} flags of genres.")
            genres = [
                [name for name, flag in zip(names, row, strict=True) if flag == "1"]
                for row in flags
            ]
    rows, names = one_hot(genres)
    if not names:
        raise ValueError(f"{path.name!r} has no film with a genre.")
    return ids, rows, names


def _users(path: Path) -> Users:
    """Age, gender and occupation by user; none where no file says it."""
    users: Users = {}
    if path.suffix == ".csv":
        return users
    file = path.with_name("users.dat" if path.suffix == ".dat" else "u.user")
    for number, line in enumerate(_latin(file) if file.is_file() else [], start=1):
        try:
            if file.suffix == ".dat":
                user, gender, age, occupation = line.split("::")[:4]
            else:
                user, age, gender, occupation = line.split("|")[:4]
            users[user] = (float(age), gender, occupation)
        except ValueError as error:
            what = "no user, gender, age and occupation"
            raise ValueError(
                f"{file.name!r}, user {number}: {what} ({one_line(error)})."
            ) from error
    return users


def _utf8(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name!r} is not UTF-8 text ({one_line(error)}).") from error


def _latin(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="latin-1").split("\n") if line]
