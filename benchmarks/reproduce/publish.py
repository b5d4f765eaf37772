"""Put full results where they are committed: ``python -m …reproduce.publish FOLDER``.

Numbers go into ``benchmarks/results/reproduce/NAME.json``, without learning curves; pictures into
``docs/images/reproduce``. ``docs/claims.md`` and the README's headline are written anew from all
results that are there then, so that experiments can be published one at a time.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recsim_drpo.benchmarks.reproduce.claims import claims_page, with_headline
from recsim_drpo.benchmarks.reproduce.results import rounded
from recsim_drpo.benchmarks.reproduce.runner import load_results
from recsim_drpo.benchmarks.reproduce.store import write_aside

RESULTS = Path("benchmarks/results/reproduce")
PICTURES = Path("docs/images/reproduce")
CLAIMS = Path("docs/claims.md")
README = Path("README.md")

METRICS = ("ecpm", "reward", "distance", "normalized", "coverage")
"""What is kept of a run's test metrics."""

_DIGITS = 5


def publish(folder: Path, root: Path) -> list[Path]:
    """Publish every result in a folder.

    Args:
        folder: as ``recsim-drpo reproduce`` left it.
        root: of the checkout.

    Returns:
        the files that were written.

    Raises:
        ValueError: a result is quick, there is none, or the README has no place for a headline.
    """
    results = load_results(folder)
    quick = [result["experiment"] for result in results if result["quick"]]
    if quick:
        raise ValueError(
            f"{', '.join(quick)} in {str(folder)!r}: quick results are no evidence and are not "
            "published; run recsim-drpo reproduce without --quick."
        )
    (root / RESULTS).mkdir(parents=True, exist_ok=True)
    (root / PICTURES).mkdir(parents=True, exist_ok=True)
    written = []
    for result in results:
        name = result["experiment"]
        pictures = sorted((folder / name).glob("*.png"))
        written += [root / PICTURES / picture.name for picture in pictures]
        for picture in pictures:
            shutil.copyfile(picture, root / PICTURES / picture.name)
        path = root / RESULTS / f"{name}.json"
        write_aside(path, as_text(reduced(result, [picture.name for picture in pictures])))
        written.append(path)
    published = load_results(root / RESULTS)
    readme = with_headline((root / README).read_text(encoding="utf-8"), published)
    write_aside(root / README, readme)
    write_aside(root / CLAIMS, claims_page(published))
    return [*written, root / README, root / CLAIMS]


def reduced(result: Mapping[str, Any], pictures: Sequence[str]) -> dict[str, Any]:
    """A result with the names of its pictures, and of every run no more than its headlines."""
    kept = {key: value for key, value in result.items() if key != "records"}
    records = [
        {key: value for key, value in record.items() if key != "curve"}
        | {"test": {metric: record["test"][metric] for metric in METRICS}}
        for record in result["records"]
    ]
    numbers: dict[str, Any] = rounded(
        kept | {"pictures": list(pictures), "records": records}, _DIGITS
    )
    return numbers


def as_text(result: Mapping[str, Any]) -> str:
    """JSON with a line for each record: small, and a change can be seen."""
    lines = [json.dumps(record) for record in result["records"]]
    frame = json.dumps({**result, "records": []}, indent=1)
    records = "[\n  " + ",\n  ".join(lines) + "\n ]" if lines else "[]"
    head, _, tail = frame.rpartition('"records": []')
    return f'{head}"records": {records}{tail}\n'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(description="Publish full results in the checkout.")
    parser.add_argument("folder", type=Path, help="where recsim-drpo reproduce left results")
    root = Path(__file__).resolve().parents[2]
    parser.add_argument("--root", type=Path, default=root, help="of the checkout")
    options = parser.parse_args(arguments)
    try:
        written = publish(options.folder, options.root)
    except (ValueError, OSError) as error:
        print(f"publish: error: {error}", file=sys.stderr)
        return 2
    print("\n".join(str(path) for path in written))
    return 0


if __name__ == "__main__":
    sys.exit(main())
