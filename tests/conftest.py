from __future__ import annotations

import gc
import importlib
import signal
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType

import pytest
import torch

from recsim_drpo import World, make_world
from recsim_drpo.agents.registry import restored_registry
from recsim_drpo.datasets.generation import sessions

# The tests' arrays are small: a second thread costs more than it gives, and where tests share a
# machine it costs a lot.
torch.set_num_threads(1)

# A shell without job control has what it runs in the background ignore SIGINT, and so whatever that
# starts: the tests of what an interrupt does would wait for one that never comes.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SMALL_WORLD = {"num_items": 300, "embedding_dim": 16, "num_topics": 5}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skipped-peers",
        action="store_true",
        help="fail where another implementation is not installed, in place of skipping",
    )


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Have the garbage collector pass over what collecting leaves, which stays to the end.

    These are a million objects, of modules and of tests.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


# Folders whose tests share what takes seconds to make: libraries, and the theorems' quick run.
TOGETHER = ("tests/adapters/", "tests/benchmarks/reproduce/theory/")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object | None:
    """Of ``--dist loadfile``: files each to one process, and these folders as if they were one."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFolderOrFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = super()._split_scope(nodeid)
            return next((folder for folder in TOGETHER if path.startswith(folder)), path)

    return ByFolderOrFile(config, log)


@pytest.fixture
def import_peer(request: pytest.FixtureRequest) -> Callable[[str], ModuleType]:
    """What imports another implementation, and skips the test where it is not installed."""
    if request.config.getoption("--no-skipped-peers"):
        return importlib.import_module
    return lambda module: pytest.importorskip(module, exc_type=ImportError)


@pytest.fixture
def minari_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for Minari datasets."""
    root = tmp_path / "minari"
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    return root


@pytest.fixture
def indexes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for indexes of faiss, which is installed."""
    pytest.importorskip("faiss", exc_type=ImportError)
    root = tmp_path / "indexes"
    monkeypatch.setenv("RECSIM_DRPO_INDEXES", str(root))
    return root


@pytest.fixture(scope="session", autouse=True)
def usual_reference_users() -> Iterator[int]:
    """As many users as the reference scores of a dataset of sessions are of, of fewer in tests.

    The scores take a second else, ten times as long as the sessions of a small log.
    """
    usual = sessions._REFERENCE_USERS
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sessions, "_REFERENCE_USERS", 50)
        yield usual


@pytest.fixture(scope="session")
def small_kwargs() -> Mapping[str, int]:
    """Arguments of a world that is quick to compute."""
    return MappingProxyType(SMALL_WORLD)


@pytest.fixture
def small_world() -> World:
    return make_world(**SMALL_WORLD)


@pytest.fixture
def clean_registry() -> Iterator[None]:
    """Take back what a test registers, or loads from entry points."""
    with restored_registry():
        yield
