"""The names of decoders, which survive JSON and a command line: exact, auto, faiss:…, index:….

A name is ``KIND[:WHAT][?NAME=VALUE,…]``:

* ``exact``: every item is scored;
* ``auto``: exact for few items, else an inverted file that is tuned to ``recall``, 0.99 by default;
* ``faiss:FACTORY``: an index of faiss in `its own words
  <https://github.com/facebookresearch/faiss/wiki/The-index-factory>`_, for example
  ``faiss:IVF4096,Flat?nprobe=32``; what comes behind the question mark are faiss's parameters of
  searching, or ``recall=0.99``, which chooses them; what is not said is faiss's default;
* ``index:FOLDER``: an index that was written before, by ``recsim-drpo export``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recsim_drpo.core.messages import shown
from recsim_drpo.core.validation import check_number, nearest_name, repeated_values

EXACT, AUTO, FAISS, INDEX = "exact", "auto", "faiss", "index"
KINDS = (EXACT, AUTO, f"{FAISS}:FACTORY", f"{INDEX}:FOLDER")
WANTED_RECALL = 0.99
"""The recall@1 that ``auto`` is tuned to on sampled queries."""

_RECALL = "recall"


@dataclass(frozen=True)
class DecoderName:
    """A decoder's name, read.

    Attributes:
        kind: ``"exact"``, ``"auto"``, ``"faiss"`` or ``"index"``.
        what: of ``"faiss"`` the factory string, of ``"index"`` an absolute path; else empty.
        parameters: faiss's parameters of searching by name, in the order given.
        recall: the recall@1 in (0, 1] that they are chosen for; ``None``: they are as given.
    """

    kind: str
    what: str = ""
    parameters: dict[str, float] = field(default_factory=dict)
    recall: float | None = None

    def __str__(self) -> str:
        base = f"{self.kind}:{self.what}" if self.what else self.kind
        settings = [f"{name}={value:g}" for name, value in self.parameters.items()]
        if self.recall is not None and (self.kind, self.recall) != (AUTO, WANTED_RECALL):
            settings.append(f"{_RECALL}={self.recall:g}")
        return f"{base}?{','.join(settings)}" if settings else base


def parse_decoder(name: Any) -> DecoderName:
    """Read a decoder's name; what faiss makes of it is not looked at.

    Args:
        name: text as the module's docstring says.

    Raises:
        ValueError: it is none; the nearest is named where one is near.
    """
    if not isinstance(name, str):
        raise ValueError(f"decoder={shown(name)} is no text; it is {', '.join(KINDS)}.")
    base, question, tail = name.strip().partition("?")
    kind, colon, what = base.partition(":")
    if kind in (EXACT, AUTO) and not colon:
        parsed = _with_settings(name, kind, "", tail if question else None)
        if kind == EXACT and question:
            raise ValueError(f"decoder={shown(name)}: exact search has no parameters.")
        return parsed
    if kind in (FAISS, INDEX) and what.strip():
        where = str(Path(what).absolute()) if kind == INDEX else what.replace(" ", "")
        return _with_settings(name, kind, where, tail if question else None)
    raise ValueError(f"Unknown decoder {shown(name)}.{_hint(base)} Known: {', '.join(KINDS)}.")


def _hint(base: str) -> str:
    """What may have been meant by a name that is none."""
    if base.split(",")[0].rstrip("0123456789_") in ("IVF", "HNSW", "PQ", "Flat", "OPQ", "SQ"):
        return f" Did you mean '{FAISS}:{base[:60]}'?"
    return nearest_name(base.partition(":")[0], (EXACT, AUTO, *KINDS[2:]))


def _with_settings(name: str, kind: str, what: str, tail: str | None) -> DecoderName:
    """The name with what stands behind its question mark."""
    settings: list[tuple[str, float]] = []
    for part in [] if tail is None else tail.split(","):
        key, equals, text = part.partition("=")
        try:
            settings.append((key.strip(), float(text)))
        except ValueError:
            equals = ""
        if not equals or not key.strip():
            raise ValueError(
                f"decoder={shown(name)}: {shown(part)} is not of the form NAME=NUMBER; "
                f"'?nprobe=32' and '?{_RECALL}={WANTED_RECALL:g}' are."
            )
    if len(repeated := repeated_values([key for key, _ in settings])):
        raise ValueError(f"decoder={shown(name)} names {str(repeated[0])!r} twice.")
    values = dict(settings)
    recall = values.pop(_RECALL, WANTED_RECALL if kind == AUTO else None)
    if recall is not None:
        check_number(f"{_RECALL} of decoder {shown(name)}", recall, 0.0, 1.0, include_low=False)
        if values:
            chooses = f"the {_RECALL} that is wanted chooses {', '.join(values)}"
            raise ValueError(f"decoder={shown(name)}: {chooses}; leave one of them out.")
    return DecoderName(kind, what, values, recall)
