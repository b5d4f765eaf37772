"""Put full results where they are committed: ``python -m …reproduce.publish FOLDER``.

Numbers go into ``benchmarks/results/reproduce/NAME.json``, without learning curves; pictures into
``docs/images/reproduce``. ``docs/claims.md``, Table 1 in ``docs/reproduction.md``, the rules
in ``docs/when_to_filter.md`` and the README's headline are written anew from all results that are
there then, so that experiments can be published one at a time.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from recsim_drpo.benchmarks.reproduce.framework.compact import compacted, expanded
from recsim_drpo.benchmarks.reproduce.framework.documents import Findings
from recsim_drpo.benchmarks.reproduce.framework.estimates import rounded
from recsim_drpo.benchmarks.reproduce.publishing.claims import (
    claims_page,
    with_headline,
    with_rules,
    with_table,
)
from recsim_drpo.benchmarks.reproduce.runner import (
    EXPERIMENTS,
    PANELS,
    RESULT,
    draw,
    load_results,
)
from recsim_drpo.core import interrupts
from recsim_drpo.core.files import write_atomically
from recsim_drpo.core.provenance import revision
from recsim_drpo.core.validation import unknown_name

RESULTS = Path("benchmarks/results/reproduce")
PICTURES = Path("docs/images/reproduce")
CLAIMS = Path("docs/claims.md")
README = Path("README.md")
GUIDE = Path("docs/reproduction.md")
RULES = Path("docs/when_to_filter.md")

MOST_BYTES = 150_000
"""Of a picture: a larger SVG is left out; a larger PNG has 256 colours, or is refused."""

_DIGITS = 4


def publish(folder: Path, root: Path) -> list[Path]:
    """Publish every result in a folder; those of other experiments stay as they are.

    Args:
        folder: as ``recsim-drpo reproduce`` left it.
        root: of the checkout.

    Returns:
        the files that were written.

    Raises:
        ValueError: a result is quick, there is none, a picture is too large, or a page has no place
            for what is to be written. Nothing has been written then.
    """
    results = load_results(folder)
    quick = [result["experiment"] for result in results if result["quick"]]
    if quick:
        raise ValueError(
            f"{', '.join(quick)} in {str(folder)!r}: quick results are no evidence and are not "
            "published; run recsim-drpo reproduce without --quick."
        )
    by_name = {result["experiment"]: result for result in results}
    pictures = {name: _pictures(folder / name) for name in by_name}
    texts = {
        root / RESULTS / f"{name}.json": as_text(reduced(result, [*pictures[name]]))
        for name, result in by_name.items()
    }
    before = {result["experiment"]: result for result in published(root)}
    after = before | dict(zip(by_name, map(_as_read, texts.values()), strict=True))
    texts |= pages(root, list(after.values()))

    (root / RESULTS).mkdir(parents=True, exist_ok=True)
    (root / PICTURES).mkdir(parents=True, exist_ok=True)
    gone = {p for name in pictures if name in before for p in before[name]["pictures"]}
    kept = {p for result in after.values() for p in result["pictures"]}
    for name in gone - kept:
        (root / PICTURES / name).unlink(missing_ok=True)
    copies = {
        root / PICTURES / name: content
        for by_file in pictures.values()
        for name, content in by_file.items()
    }
    for path, content in copies.items():
        write_atomically(path, content)
    for path, text in texts.items():
        write_atomically(path, text)
    return [*copies, *texts]


def _as_read(text: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(text)
    return result | {"records": expanded(result["records"])}


def published(root: Path) -> list[dict[str, Any]]:
    """The results that are published in a checkout, if any."""
    return load_results(root / RESULTS) if any((root / RESULTS).glob("*.json")) else []


def judge_again(root: Path, names: Sequence[str] = ()) -> list[Path]:
    """Judge the published results of a checkout anew, as the code does now, and publish them.

    Nothing is trained: what changes is what records are said to mean, and what is drawn of that. A
    result says under ``judged`` at which revision it was judged.

    Args:
        root: of the checkout.
        names: of experiments; none are all whose records tell enough.

    Returns:
        the files that were written.

    Raises:
        ValueError: a name is of no published result that can be judged.
    """
    judges = {name: one.judge for name, one in EXPERIMENTS.items() if one.judge is not None}
    there = {r["experiment"]: r for r in published(root) if r["experiment"] in judges}
    for name in names:
        if name not in there:
            raise unknown_name("result that can be judged anew", name, there)
    with TemporaryDirectory() as temporary:
        for name in names or there:
            findings = judges[name](there[name])
            result = _judged(there[name], findings)
            folder = Path(temporary) / name
            folder.mkdir()
            draw(EXPERIMENTS[name], result, folder)
            write_atomically(folder / RESULT, json.dumps(result) + "\n")
        return publish(Path(temporary), root)


def _judged(result: Mapping[str, Any], findings: Findings) -> dict[str, Any]:
    """A result with new verdicts, data where there is any, and tables in place of their former."""
    new = {table.title: table.as_dict() for table in findings.tables}
    kept = [new.pop(table["title"], table) for table in result["tables"]]
    return {
        **result,
        "verdicts": [verdict.as_dict() for verdict in findings.verdicts],
        "tables": [*kept, *new.values()],
        "data": dict(findings.data) or result["data"],
        "judged": revision(),
    }


def pages(root: Path, results: Sequence[Mapping[str, Any]]) -> dict[Path, str]:
    """Texts of a checkout's README, guides and claims page once these results are published."""
    readme, guide, rules = (
        (root / page).read_text(encoding="utf-8") for page in (README, GUIDE, RULES)
    )
    return {
        root / README: with_headline(readme, results),
        root / GUIDE: with_table(guide, results),
        root / RULES: with_rules(rules, results),
        root / CLAIMS: claims_page(results),
    }


def _pictures(folder: Path) -> dict[str, bytes]:
    """PNGs by name, and SVGs that are not too large."""
    pictures = {path.name: _small(path) for path in sorted(folder.glob("*.png"))}
    for path in sorted(folder.glob("*.svg")):
        if path.stat().st_size <= MOST_BYTES:
            pictures[path.name] = path.read_bytes()
    return pictures


def _small(picture: Path) -> bytes:
    """The bytes of a PNG, with fewer colours if it is too large."""
    content = picture.read_bytes()
    if len(content) > MOST_BYTES:
        content = _with_a_palette(content)
    if len(content) > MOST_BYTES:
        raise ValueError(
            f"{str(picture)!r} has {len(content):,} bytes, even with 256 colours; at most "
            f"{MOST_BYTES:,} are published. Draw it smaller."
        )
    return content


def _with_a_palette(content: bytes) -> bytes:
    from PIL import Image  # which matplotlib brings along

    small = io.BytesIO()
    Image.open(io.BytesIO(content)).convert("RGB").quantize(256).save(small, "PNG", optimize=True)
    return small.getvalue()


def reduced(result: Mapping[str, Any], pictures: Sequence[str]) -> dict[str, Any]:
    """A result with the names of its pictures, its numbers rounded and its records compact."""
    kept = {key: value for key, value in result.items() if key not in ("records", PANELS)}
    numbers: dict[str, Any] = rounded(kept | {"pictures": list(pictures)}, _DIGITS)
    # Plans exactly: by them runs are taken over.
    exact = {"plans": result["plans"], "records": compacted(result["records"])}
    return numbers | exact


def as_text(result: Mapping[str, Any]) -> str:
    """JSON with a line for each item, so that it is small and a change can be seen."""
    return _lines(result, 3) + "\n"


def _lines(value: Any, depth: int) -> str:
    """JSON with containers down to a depth spread over lines."""
    short = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if depth == 0 or not isinstance(value, dict | list) or len(short) < 100:
        return short
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}:{_lines(item, depth - 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(items) + "\n}"
    return "[\n" + ",\n".join(_lines(item, depth - 1) for item in value) + "\n]"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(description="Publish full results in the checkout.")
    parser.add_argument(
        "folder", type=Path, nargs="?", help="where recsim-drpo reproduce left results"
    )
    parser.add_argument(
        "--judge-again",
        nargs="*",
        metavar="NAME",
        help="in place of a folder: judge published results anew, without training (default all)",
    )
    root = Path(__file__).resolve().parents[2]
    parser.add_argument("--root", type=Path, default=root, help="of the checkout")
    options = parser.parse_args(arguments)
    if (options.folder is None) == (options.judge_again is None):
        parser.error("name a folder of results, or say --judge-again")
    try:
        if options.folder is None:
            written = judge_again(options.root, options.judge_again)
        else:
            written = publish(options.folder, options.root)
    except (ValueError, OSError) as error:
        print(f"publish: error: {error}", file=sys.stderr)
        return 2
    print("\n".join(str(path) for path in written))
    return 0


if __name__ == "__main__":
    sys.exit(interrupts.run_program(main))
