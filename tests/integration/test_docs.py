from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

import recsim_drpo
from recsim_drpo.cli import main
from recsim_drpo.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
# With code that is run, each page by itself: what it uses it imports, but for the dataset that the
# README's command makes. (The serving page is run beside the tests of exporting.)
PAGES = (
    "README.md",
    "docs/datasets.md",
    "docs/fleets.md",
    "docs/plugins.md",
    "docs/sessions.md",
    "docs/off_policy_evaluation.md",
    "docs/import.md",
    "docs/libraries/gymnasium.md",
    "docs/compare.md",
    "docs/scale.md",
)
# The same code, on less, or on a log that there is.
SMALLER = {
    "shop/may-v0": "recsim/extreme-v0",
    "shop/june-v0": "recsim/extreme-v0",
    "num_rounds=200_000": "num_rounds=2_000, card=False",
    "num_rounds=2_000, card=False, card=False": "num_rounds=2_000, card=False",
    'Session-v0", num': 'Session-v0", env_kwargs={"num_items": 300, "max_steps": 5}, num',
    "num_rounds=20_000": "num_rounds=2_000, card=False",
    "num_envs=1024": "num_envs=8",
    "seeds=[0, 1],\n    training": "seeds=[0, 1], num_test_users=200, num_validation_users=99,\n"
    "    training",
    "steps=300": "steps=3",
    "steps=100": "steps=3",
    "num_users=2_000": "num_users=200",
    "num_users=1_000": "num_users=100",
    "evaluate(agent)": "evaluate(agent, num_users=200)",
}


def python_blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def smaller(page: str) -> str:
    code = "\n".join(python_blocks(page))
    for large, small in SMALLER.items():
        code = code.replace(large, small)
    return code


@pytest.fixture(scope="module")
def readme_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of Minari datasets with the one that the README makes by a command."""
    root = tmp_path_factory.mktemp("minari")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(root))
        recsim_drpo.generate_dataset(
            "recsim/extreme-v0", scenario="extreme", num_rounds=2_000, card=False, progress=False
        )
    return root


def test_what_is_made_smaller_is_documented():
    everything = "\n".join(block for page in PAGES for block in python_blocks(page))
    for large in SMALLER:
        assert large in everything or "card=False, card=False" in large, f"{large} is nowhere"


@pytest.mark.usefixtures("clean_registry")
@pytest.mark.parametrize("page", PAGES)
def test_documented_code_runs(page, readme_dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "minari"
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    if page == "README.md":
        root.mkdir()
    else:
        shutil.copytree(readme_dataset, root)
    code = smaller(page)
    assert code
    exec(compile(code, page, "exec"), {"__name__": "documentation"})
    if "print(" in code:
        assert capsys.readouterr().out.strip()


WRITTEN = [
    "README.md",
    "CONTRIBUTING.md",
    *(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md")),
    *(str(p.relative_to(ROOT)) for p in ROOT.glob("examples/*/README.md")),
]


def anchors(page: Path) -> set[str]:
    """What links into a page may name: its headings, as they are made on the web."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", WRITTEN)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for name, anchor in re.findall(r"\]\(([^)#:]*)#?([^):]*)\)", text):
        target = (ROOT / page).parent / name if name else ROOT / page
        assert target.exists(), name
        assert not anchor or anchor in anchors(target), f"{name}#{anchor}"


def command_lines(page: str) -> list[list[str]]:
    """The words of each command line of ours in a page's blocks, without the program's name."""
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = []
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        parts = re.split(r"\n| \| | > ", block.replace("\\\n", " ")) if not language else []
        for part in parts:
            if "recsim-drpo " in part and "pip install" not in part:
                words = shlex.split(part.replace(" …", ""), comments=True)
                lines.append(words[words.index("recsim-drpo") + 1 :])
    # Whole ones in the text itself, as `recsim-drpo demo --embeddings texts.npz`.
    for line in re.findall(r"`recsim-drpo ([^`…]+ -[^`…]+)`", text):
        lines.append(shlex.split(line.replace("\n", " ")))
    return lines


def test_command_lines_are_found():
    assert [words[0] for words in command_lines("docs/libraries/d3rlpy.md")] == [
        *("train", "train", "evaluate")
    ]
    assert sum(len(command_lines(page)) for page in WRITTEN) > 70


@pytest.mark.parametrize("page", [page for page in WRITTEN if page != "docs/commands.md"])
def test_documented_command_lines_have_options_that_there_are(page):
    program = typer.main.get_command(app)
    for words in command_lines(page):
        if words[0].startswith("-"):  # --install-completion, --help
            assert words[0] in {option for one in program.params for option in one.opts}
        else:
            program.commands[words[0]].make_context(words[0], words[1:])


def scale_block(language: str) -> str:
    """What Slurm (bash) or Kubernetes (yaml) is given."""
    text = (ROOT / "docs/scale.md").read_text(encoding="utf-8")
    (block,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return str(block)


def assert_asks_ray(line: str) -> None:
    words = shlex.split(line)
    words = words[words.index("recsim-drpo") + 1 :]
    command = typer.main.get_command(app).commands[words[0]]
    assert command.make_context(words[0], words[1:]).params["engine"] == "ray"


def test_the_script_for_slurm_can_be_read():
    script = scale_block("bash")
    assert_asks_ray(script.replace("\\\n", " ").strip().splitlines()[-1])
    if bash := shutil.which("bash"):
        assert subprocess.run([bash, "-n"], input=script, text=True).returncode == 0


@pytest.mark.peer
def test_the_manifest_for_kubernetes_is_of_the_pinned_ray():
    yaml = pytest.importorskip("yaml", reason="PyYAML, which ray brings, is not installed")
    job = yaml.safe_load(scale_block("yaml"))
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert_asks_ray(job["spec"]["entrypoint"])
    cluster = job["spec"]["rayClusterSpec"]
    pinned = re.search(r"^ray==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert cluster["rayVersion"] == pinned[1]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    pods = [group["template"]["spec"] for group in groups]
    assert {pod["containers"][0]["image"] for pod in pods} == {"IMAGE"}
    for pod in pods:
        mounts = {m["name"] for m in pod["containers"][0].get("volumeMounts", [])}
        assert mounts == {volume["name"] for volume in pod.get("volumes", [])}


@pytest.mark.parametrize("page", WRITTEN)
def test_documented_modules_can_be_run(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for name in re.findall(r"python -m (recsim_drpo[\w.]*\w)", text):
        found = importlib.util.find_spec(name)
        assert found is not None, name
        assert "__main__" in Path(found.origin).read_text(encoding="utf-8"), name


def test_the_readmes_own_agent_goes_through_the_commands(
    readme_dataset, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(readme_dataset))
    monkeypatch.syspath_prepend(tmp_path)
    Path("mine.py").write_text(python_blocks("README.md")[0], encoding="utf-8")
    lines = [words for words in command_lines("README.md") if "recsim/extreme-v0" in words]
    assert [words[0] for words in lines] == ["generate", "train", "train", "sweep"]
    for words in lines[1:3]:
        assert main([*words, "--steps", "3"]) == 0
    comparison = next(words for words in command_lines("README.md") if words[0] == "evaluate")
    assert main([*comparison, "--num-users", "100"]) == 0
    printed = capsys.readouterr().out
    assert all(f"| runs/{name}/seed-{k} " in printed for name in ("mine", "drpo") for k in range(3))


def test_the_architecture_names_files_that_exist():
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    names = re.findall(r"`((?:\w+/)+\w+\.py)`", text)
    assert len(set(names)) > 30
    for name in names:
        assert (ROOT / name).exists(), name


def test_the_architecture_has_the_layers_that_are_checked():
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    contract = (ROOT / ".importlinter").read_text(encoding="utf-8")
    layers = contract.partition("layers =\n")[2].partition("exhaustive")[0].split("\n")
    checked = [set(line.split(" | ")) for line in map(str.strip, layers) if line]
    drawn: list[set[str]] = []
    for number, package in re.findall(r"^\| (\d?) +\| `(\w+)/`", text, re.MULTILINE):
        if number:
            drawn.append(set())
        drawn[-1].add(package)
    assert drawn == checked


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
