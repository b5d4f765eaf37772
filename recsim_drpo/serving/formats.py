"""Formats of tables of recommendations, and the suffixes that name them."""

from __future__ import annotations

from pathlib import Path

from recsim_drpo.core.validation import unknown_name

FORMATS = ("csv", "jsonl", "parquet")

SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}

STREAM = Path("-")
"""The path that stands for standard output."""


def format_of(path: Path, named: str | None, option: str) -> str:
    """The format of a file: the one named, else by its suffix; a stream's is CSV by default.

    Raises:
        ValueError: neither says it, or Parquet is to be streamed, whose end has to be read first.
    """
    if named is not None and named not in FORMATS:
        raise unknown_name(option, named, FORMATS)
    if path == STREAM:
        if named == "parquet":
            raise ValueError(f"{option} 'parquet' needs a file; streams are csv or jsonl.")
        return named or "csv"
    if named is None and path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"{path.name!r} has suffix {path.suffix!r}; known: {', '.join(SUFFIXES)}. "
            f"Or name its format by {option}: {', '.join(FORMATS)}."
        )
    return named or SUFFIXES[path.suffix.lower()]
