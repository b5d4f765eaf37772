"""What the page's script writes as CSV: by Node.js, with the rule of the other CSV files."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from recsim_drpo.benchmarks.reproduce.publishing import report
from recsim_drpo.core.spreadsheets import plain_cell

NODE = shutil.which("node")
SCRIPT = Path(report.__file__).with_name("page") / "downloads.js"
TEXTS = [
    *(
        "=HYPERLINK(A1)",
        "+cmd",
        "-cmd",
        "@SUM(A1)",
        "\tx",
        "\rx",
        "\nx",
        "＝1",
        "＋1",
        "－1",
        "＠x",
    ),
    *("-7", "+7", "-.5e3", "+1.", "1e5", "-Infinity", "--1", "-1-1", "-7\n", "+", "-1e"),
    *("bc", "", "a=b", " =1", "'=1", "κ 0.5, learned", 'say "hi"', "é"),
]


def downloaded(experiment: dict[str, Any]) -> list[list[str]]:
    """The rows of the CSV of an experiment, as the page has it."""
    assert NODE is not None
    program = f"{SCRIPT.read_text(encoding='utf-8')}\nconst given = {json.dumps(experiment)};"
    program += "\nprocess.stdout.write(csv(given));"
    done = subprocess.run([NODE, "-"], input=program.encode(), capture_output=True, check=True)
    return list(csv.reader(io.StringIO(done.stdout.decode(), newline="")))


@pytest.mark.skipif(NODE is None, reason="no Node.js on this machine")
def test_no_text_of_a_downloaded_csv_is_a_formula_and_every_number_stays():
    run = {"variant": 0, "seed": 3, "diverged_at": None, "validation": -0.5, "offline": None}
    records = [
        {
            **run,
            "condition": text,
            "agent": text,
            "overrides": {text: text},
            "test": {text: -0.25},
            "curve": [[100, -1e-7]],
            "log": {text: -3},
        }
        for text in TEXTS
    ]
    rows = downloaded({"name": "=1+1", "records": records})[1:]
    assert len(rows) == 4 * len(TEXTS)
    for place, text in enumerate(TEXTS):
        test, validation, curve, log = rows[4 * place : 4 * place + 4]
        for row in (test, validation, curve, log):
            told = plain_cell(text)
            assert row[:3] == ["'=1+1", told, told]
            assert json.loads(row[4]) == {text: text}
            assert (row[3], row[5], row[6]) == ("0", "3", "")
        assert test[7:] == [plain_cell(text), "", "-0.25"]
        assert validation[7:] == ["validation", "", "-0.5"]
        assert curve[7:9] == ["validation", "100"]
        assert float(curve[9]) == -1e-7
        assert log[7:] == [f"log {text}", "", "-3"]
