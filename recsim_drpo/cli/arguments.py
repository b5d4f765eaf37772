"""What commands share of their arguments: how words are read, and options that several have."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from recsim_drpo.agents.engine.options import EXECUTIONS
from recsim_drpo.core.executor import ENGINES, Engine
from recsim_drpo.core.json_text import json_value
from recsim_drpo.core.messages import shown

_COUNT_DIGITS = 18
_NEGATIVE_NUMBER = re.compile(r"-\d+$|-\d*\.\d+$")


class Command(TyperCommand):
    """A command whose options may take several values after one name: ``--seeds 0 1 2``.

    Typer reads ``--seeds 0 --seeds 1`` alone. Options may be abbreviated, as ``--data``.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words that follow the command's name."""
        if not ctx.resilient_parsing:  # where a shell asks for completions, words are incomplete
            counts = {
                name: _counts(option)
                for option in self.get_params(ctx)
                if option.param_type_name == "option"
                for name in option.opts
            }
            args = one_option_a_value(args, counts)
        return super().parse_args(ctx, args)


def _counts(option: Any) -> tuple[int, float]:
    """The fewest and the most values that may follow an option's name."""
    if option.is_flag:
        return 0, 0
    return option.nargs, math.inf if option.multiple else option.nargs


def one_option_a_value(words: Sequence[str], counts: Mapping[str, tuple[int, float]]) -> list[str]:
    """Command-line words with each value behind its option, and what is no option at the end.

    ``a --seeds 0 1 --ou b`` becomes ``--seeds 0 --seeds 1 --out b -- a``. What looks like a
    negative number, or has a space in it, is a value.

    Args:
        words: as they are typed.
        counts: the fewest and the most values that may follow, by the option's name.

    Raises:
        typer.TyperException: an option with too few values, or an ambiguous abbreviation.
    """
    rest = list(words)
    options: list[str] = []
    others: list[str] = []
    while rest:
        word = rest.pop(0)
        if word == "--":
            others += rest
            break
        option = _as_option(word, counts)
        if option is None:
            others.append(word)
            continue
        name, attached = option
        if name not in counts or (counts[name] == (0, 0) and attached is not None):
            options.append(word)  # to be refused
            continue
        fewest, most = counts[name]
        values = [] if attached is None else [attached]
        while rest and attached is None and len(values) < most:
            if rest[0] == "--" or _as_option(rest[0], counts) is not None:
                break
            values.append(rest.pop(0))
        if len(values) < fewest:
            wanted = f"{fewest} values" if fewest > 1 else "a value"
            raise typer.TyperException(f"Option '{name}' needs {wanted}.")
        for start in range(0, max(len(values), 1), max(fewest, 1)):
            options += [name, *values[start : start + fewest]]
    return [*options, "--", *others]


def _as_option(word: str, names: Iterable[str]) -> tuple[str, str | None] | None:
    """The name and the attached value of an option, ``None`` of a word that is none."""
    if not word.startswith("-") or word == "-":
        return None
    if word in names:
        return word, None
    if not word.startswith("--") and word[:2] in names:
        return word[:2], word[2:].removeprefix("=")
    start, equals, value = word.partition("=")
    matches = [start] if start in names else [n for n in names if n.startswith(start)]
    if len(matches) > 1:
        raise typer.TyperException(f"'{start}' is ambiguous: it could be {', '.join(matches)}.")
    if matches:
        return matches[0], value if equals else None
    return None if _NEGATIVE_NUMBER.match(word) or " " in word else (word, None)


def integer(text: str) -> int:
    """The integer that a word is; ``typer.BadParameter`` for any other word, 1.0 included."""
    try:
        return int(text)
    except ValueError as error:
        raise typer.BadParameter(f"{shown(text)} is no integer.") from error


def number(text: str) -> float:
    """The number that a word is; ``typer.BadParameter`` for any other word."""
    try:
        return float(text)
    except ValueError as error:
        raise typer.BadParameter(f"{shown(text)} is no number.") from error


def is_count(text: str) -> bool:
    """Whether a word is a whole number without a sign, of at most 18 digits."""
    return text.isdecimal() and len(text) <= _COUNT_DIGITS


def one_of(names: Iterable[str]) -> Callable[[], list[str]]:
    """What completes an option's value in a shell: these names."""

    def complete() -> list[str]:
        return list(names)

    return complete


RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")]
RunFolders = Annotated[
    list[Path],
    typer.Argument(metavar="RUN", help="Run folders, or folders of them."),
]
Device = Annotated[str, typer.Option("--device", help="Where it is computed: cpu, cuda, …")]
Execution = Annotated[
    str,
    typer.Option(
        "--execution",
        help=f"How a training step is run: {', '.join(EXECUTIONS)}.",
        autocompletion=one_of(EXECUTIONS),
    ),
]
EngineName = Annotated[
    str,
    typer.Option(
        "--engine",
        help=f"What computes: {', '.join(ENGINES)} (extra ray).",
        autocompletion=one_of(ENGINES),
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help="Of the Ray cluster, or auto on one of its nodes.",
        show_default="RAY_ADDRESS, else a Ray of its own",
    ),
]
GpusPerTask = Annotated[
    float | None,
    typer.Option(
        "--gpus-per-task",
        parser=number,
        metavar="NUMBER",
        help="GPUs that Ray gives each fleet, a share of one too.",
        show_default="1 with --device cuda, else 0",
    ),
]
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="PATH_OR_URI",
        help="Where datasets are in place of this machine: a folder, s3://…, gs://…, hdfs://….",
        show_default="MINARI_DATASETS_PATH here",
    ),
]
Normalize = Annotated[
    bool,
    typer.Option("--normalize", help="Scale item vectors to unit length.", show_default="off"),
]
CatalogueVectors = Annotated[
    str | None,
    typer.Option(
        "--embeddings",
        help="File of real item vectors for the catalogue (in the demo, scaled to unit length).",
        show_default="drawn at random",
    ),
]
ReplacedVectors = Annotated[
    str | None,
    typer.Option(
        "--embeddings",
        help="File of item vectors in place of the catalogue that the log was of.",
        show_default="that catalogue",
    ),
]
Decoder = Annotated[
    str | None,
    typer.Option(
        "--decoder",
        help="How items are found: exact, auto, faiss:IVF4096,Flat?nprobe=32, index:FOLDER.",
        show_default="as the log's world says, else exact",
    ),
]
Escape = Annotated[
    str | None,
    typer.Option(
        "--escape",
        metavar="CHAR",
        help="Of CSV, what goes before a quote inside a quoted cell: a backslash, for example.",
        show_default="such quotes are doubled",
    ),
]
ExcelSafe = Annotated[
    bool,
    typer.Option(
        "--excel-safe",
        help="Of CSV: an apostrophe before text that a spreadsheet would run as a formula.",
        show_default="off",
    ),
]
World = Annotated[
    list[str] | None,
    typer.Option(
        "--world", metavar="NAME=VALUE...", help="Other world parameters.", show_default="none"
    ),
]


def engine_of(
    name: str, processes: int | None, address: str | None, gpus: float | None, device: str
) -> Engine:
    """The engine that options ask for, once the device is known to be there or of its workers.

    Args:
        name: of the engine.
        processes: that compute at once here, each on one CPU; ``None``: as many as there are CPUs.
        address: of a Ray cluster.
        gpus: for each task; ``None``: what the device needs.
        device: where a task computes.

    Raises:
        ValueError: options that contradict one another, or a device that is not there.
    """
    from recsim_drpo.core.torch_settings import resolve_device

    here = processes if processes is not None else os.cpu_count() or 1
    if name != "ray":
        own = Engine(name, here, address, gpus or 0.0)
        resolve_device(device)
        return own if device == "cpu" else Engine()
    if device not in ("cpu", "cuda"):
        raise ValueError(
            f"device={shown(device)}: a task of Ray sees its own GPUs alone; take cpu or cuda."
        )
    if device == "cpu" and gpus:
        raise ValueError(f"--gpus-per-task {gpus:g} would not be used: add --device cuda.")
    if device == "cuda" and gpus == 0:
        raise ValueError("--gpus-per-task 0 leaves --device cuda without one; take 0.25, 1 or so.")
    if processes is not None and (address or os.environ.get("RAY_ADDRESS")):
        raise ValueError(
            f"--processes {processes} is for this machine; a cluster's CPUs decide, leave it out."
        )
    share = gpus if gpus is not None else float(device == "cuda")
    return Engine(name, here, address, share)


def assignments(pairs: Sequence[str] | None) -> dict[str, Any]:
    """Values by name of NAME=VALUE pairs; a value is JSON where it can be, else text."""
    values: dict[str, Any] = {}
    for pair in pairs or ():
        name, separator, text = pair.partition("=")
        if not separator or not name:
            raise ValueError(f"{shown(pair)} is not of the form NAME=VALUE.")
        if name in values:
            raise ValueError(f"{shown(name)} is given twice; once is clear.")
        try:
            values[name] = json_value(text)
        except ValueError:
            values[name] = text
    return values


def world_parameters(
    pairs: Sequence[str] | None, embeddings: str | None, normalize: bool
) -> dict[str, Any]:
    """Keyword arguments of an environment: ``--world``, ``--embeddings`` and ``--normalize``."""
    parameters = assignments(pairs)
    if embeddings is not None:
        parameters["embeddings"] = embeddings
    if normalize:
        parameters["normalize"] = True
    return parameters


def run_folders(paths: Sequence[Path]) -> list[Path]:
    """Folders of the runs named: one that is no run stands for all the runs below it.

    What a killed command left of one, or another is writing, is none.

    Raises:
        ValueError: a run is named twice.
    """
    from recsim_drpo.core.files import is_staged, sweep
    from recsim_drpo.runs.folder import CONFIG

    folders: list[Path] = []
    for path in paths:
        sweep(path)
        sweep(path.parent)
        found = {
            file.parent for file in path.rglob(CONFIG) if not is_staged(file.relative_to(path))
        }
        below = sorted(found, key=_natural_order)
        folders += below if below and path not in below else [path]
    if len(set(folders)) < len(folders):
        raise ValueError(f"A run is named twice among {', '.join(map(str, folders))}.")
    return folders


def run_folder(path: Path) -> Path:
    """Folder of the one run at or below a path.

    Raises:
        ValueError: there are several.
    """
    folders = run_folders([path])
    if len(folders) > 1:
        raise ValueError(f"There are {len(folders)} runs in {str(path)!r}; name one of them.")
    return folders[0]


def _natural_order(path: Path) -> list[tuple[int, str]]:
    return [(len(part), part) if part.startswith("seed-") else (0, part) for part in path.parts]
