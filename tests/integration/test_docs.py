from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# With code that is run.
PAGES = (
    "README.md",
    "docs/datasets.md",
    "docs/fleets.md",
    "docs/plugins.md",
    "docs/sessions.md",
    "docs/off_policy_evaluation.md",
    "docs/import.md",  # last: it binds names anew
)
# The same code, on less.
SMALLER = {
    "num_rounds=200_000": "num_rounds=2_000",
    "range(5_000)": "range(5)",
    "1024": "8",
    "steps=300": "steps=3",
    "steps=500": "steps=3",
    "steps=100": "steps=3",
    "num_users=2_000": "num_users=200",
}


def python_blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def test_pages_have_code():
    assert all(python_blocks(page) for page in PAGES)


@pytest.mark.usefixtures("clean_registry")
def test_documented_code_runs(minari_root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = [block for page in PAGES for block in python_blocks(page)]
    code = "\n".join(blocks)
    for large, small in SMALLER.items():
        assert large in code, f"{large} is documented nowhere any more"
        code = code.replace(large, small)
    exec(compile(code, "documentation", "exec"), {})
    assert "[" in capsys.readouterr().out  # the value with its interval


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "CONTRIBUTING.md",
        *(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md")),
    ],
)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert ((ROOT / page).parent / target).exists(), target


def test_documented_modules_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]+`) \|", text, re.MULTILINE)
    assert len(rows) > 10
    for row in rows:
        folder = ""
        for name in re.findall(r"`([^`]+)`", row):
            folder = name.rsplit("/", 1)[0] if "/" in name else folder
            path = ROOT / (name if "/" in name else f"{folder}/{name}")
            assert path.exists(), path


# A page on each library that plugs in: run where the library is there.
LIBRARIES = {
    "docs/libraries/d3rlpy.md": "d3rlpy",
    "docs/libraries/stable-baselines3.md": "stable_baselines3",
    "docs/libraries/torchrl.md": "torchrl",
    "docs/libraries/pytorch.md": "minari",
}
LESS = {
    "num_rounds=200_000": "num_rounds=1_000, card=False",
    "n_steps=300, n_steps_per_epoch=300": "n_steps=2, n_steps_per_epoch=2",
    "steps=300": "steps=2",
    "12_800": "128",
    "agent).ecpm": "agent, num_users=100).ecpm",
    "num_envs=64": "num_envs=16",
    "(2_000, 320)": "(20, 320)",
}


@pytest.mark.usefixtures("clean_registry")
@pytest.mark.parametrize(("page", "library"), LIBRARIES.items())
def test_what_is_documented_of_a_library_runs(
    page, library, minari_root, tmp_path, monkeypatch, capsys
):
    pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    code = "\n".join(python_blocks(page))
    assert any(large in code for large in LESS)
    for large, small in LESS.items():
        code = code.replace(large, small)
    namespace = {"__name__": "documentation"}
    exec(compile(code, page, "exec"), namespace)
    assert "[" in capsys.readouterr().out  # the value with its interval
    assert callable(namespace["agent"].act)


@pytest.mark.parametrize("page", LIBRARIES)
def test_links_of_library_pages_lead_somewhere(page):
    test_links_lead_somewhere(page)
