from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("agents", "datasets", "benchmarks")


def modules() -> list[str]:
    """Every Python file of the package, as it lies in a distribution."""
    own = [path.relative_to(ROOT) for path in (ROOT / "recsim_drpo").glob("**/*.py")]
    linked = [
        Path("recsim_drpo") / path.relative_to(ROOT)
        for folder in PACKAGES
        for path in (ROOT / folder).glob("**/*.py")
    ]
    return sorted({path.as_posix() for path in (*own, *linked)})


# A module called __main__ is a command and not to be imported.
NAMES = ["recsim_drpo.datasets"] + [
    name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    for name in modules()
    if not name.endswith("__main__.py")
]
# One of each folder that a link leads to; they import no torch.
SOME = [
    "recsim_drpo.datasets",
    "recsim_drpo.datasets.root",
    "recsim_drpo.agents.builtin",
    "recsim_drpo.benchmarks.suites",
]


def imports(names: list[str]) -> str:
    """A script that imports them beside the stand-in."""
    return f"""
import datasets
assert datasets.WHO == "stand-in", datasets
import importlib, pathlib, sys
here = pathlib.Path(sys.prefix).resolve()
for name in {names!r}:
    module = importlib.import_module(name)
    if module.__file__ is not None:
        assert here in pathlib.Path(module.__file__).resolve().parents, (name, module.__file__)
import gymnasium
assert "RecSimZipf-v0" in gymnasium.registry
print("imported")
"""


def run(*command: object, cwd: Path) -> str:
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist of the checkout, and the wheel that is built from that sdist."""
    pytest.importorskip("build")
    out = tmp_path_factory.mktemp("dist")
    source = tmp_path_factory.mktemp("source") / "checkout"
    # A copy, so that the build's own folders do not land in the checkout; links stay links.
    ignored = ("-not", "-path", "./.git/*", "-not", "-path", "./.venv/*")
    files = run("find", ".", *ignored, "(", "-type", "f", "-o", "-type", "l", ")", cwd=ROOT)
    for name in files.splitlines():
        if any(
            part.startswith((".mypy", ".ruff", ".pytest", ".hypo")) for part in Path(name).parts
        ):
            continue
        if name.endswith((".pyc", ".hdf5")) or ".egg-info" in name:
            continue
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink():
            target.symlink_to((ROOT / name).readlink())
        else:
            target.write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source, cwd=out)
    (sdist,) = out.glob("*.tar.gz")
    (wheel,) = out.glob("*.whl")
    return sdist, wheel


NOT_SHIPPED = ("benchmarks/leaderboard", "benchmarks/results")
"""What no command reads but in a checkout; of the results, but those of ``reproduce``."""


def data_files() -> list[str]:
    """What lies beside the modules and is no Python, as a distribution has it."""
    names = [
        path.relative_to(ROOT)
        for folder in ("recsim_drpo", *PACKAGES)
        for path in (ROOT / folder).glob("**/*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    return [
        str(name if name.parts[0] == "recsim_drpo" else "recsim_drpo" / name)
        for name in names
        if name.is_relative_to("benchmarks/results/reproduce")
        or not any(name.is_relative_to(folder) for folder in NOT_SHIPPED)
    ]


@pytest.mark.slow
def test_distributions_hold_every_module_once(distributions: tuple[Path, Path]) -> None:
    sdist, wheel = distributions
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = archive.namelist()
    with tarfile.open(sdist) as archive:
        in_sdist = [name.split("/", 1)[-1] for name in archive.getnames()]
    for names in (in_wheel, in_sdist):
        assert len(names) == len(set(names))
        assert set(modules()) <= set(names)
        assert set(data_files()) <= set(names)
    for name in (
        "py.typed",
        "benchmarks/results/reproduce/phase-map.json",
        "benchmarks/suites/data/zipf-1.json",
        "benchmarks/reproduce/framework/thresholds.json",
        "benchmarks/reproduce/publishing/page/report.html",
    ):
        assert f"recsim_drpo/{name}" in {*data_files()} & {*in_wheel}
    # A top-level `datasets` or `agents` in site-packages would shadow other people's.
    tops = {name.split("/")[0] for name in in_wheel}
    assert tops == {
        "recsim_drpo",
        f"recsim_drpo-{importlib.metadata.version('recsim-drpo')}.dist-info",
    }


@pytest.mark.slow
def test_wheel_beside_another_package_called_datasets(
    distributions: tuple[Path, Path], tmp_path: Path
) -> None:
    _, wheel = distributions
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    run(
        sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps",
        "--no-index", wheel, cwd=tmp_path,
    )  # fmt: skip
    # The dependencies, from this environment; a plain path does not run its .pth files, so the
    # checkout, if it is installed here as editable, stays out.
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    (site / "datasets").mkdir()
    (site / "datasets" / "__init__.py").write_text('WHO = "stand-in"\n')
    assert run(python, "-c", imports(NAMES), cwd=tmp_path) == "imported\n"
    assert set(SOME) <= set(NAMES)
    script = tmp_path / "script.py"
    script.write_text(imports(SOME))
    assert run(python, script, cwd=tmp_path) == "imported\n"
    # From the repository root the checkout itself comes first on the path, as it does for any
    # project, and the stand-in must still win over the folder `datasets`.
    checkout = imports(SOME).replace("assert here in", "assert pathlib.Path.cwd() in")
    assert run(python, "-c", checkout, cwd=ROOT) == "imported\n"
    assert run(python, script, cwd=ROOT) == "imported\n"
    assert run(tmp_path / "venv" / "bin" / "recsim-drpo", "agents", cwd=tmp_path).startswith("bc")


def test_editable_checkout_from_the_root_and_elsewhere(tmp_path: Path) -> None:
    script = "import recsim_drpo.datasets.root as m, recsim_drpo.agents; print(m.__name__)"
    for cwd in (ROOT, tmp_path):
        assert run(sys.executable, "-c", script, cwd=cwd) == "recsim_drpo.datasets.root\n"


def test_links_are_relative_and_datasets_has_no_init() -> None:
    for folder in PACKAGES:
        link = ROOT / "recsim_drpo" / folder
        assert link.is_symlink()
        assert link.readlink() == Path("..") / folder
    assert not (ROOT / "datasets" / "__init__.py").exists()
