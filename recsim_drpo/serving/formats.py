"""Formats of tables of contexts and of recommendations, and the suffixes that name them."""

from __future__ import annotations

FORMATS = ("csv", "jsonl", "parquet")

SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
