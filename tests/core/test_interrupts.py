from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of Unix")

WORDS = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
    signal.SIGHUP: "hung up",
}
GENERATE = [
    *("generate", "a-v0", "--rounds", "300"),
    *("--world", "num_items=300", "embedding_dim=16", "num_topics=5"),
]

# The program as its script starts it, hit by a signal at the beginning of its n-th import.
HIT_AT_AN_IMPORT = """
import os, sys

number, signum = int(sys.argv[1]), int(sys.argv[2])
sys.argv = ["recsim-drpo", *sys.argv[3:]]

class Hit:
    met = 0

    def find_spec(self, name, path=None, target=None):
        if Hit.met or name == "lazy_loader":  # what comes after the handlers
            Hit.met += 1
            if Hit.met == number:
                os.kill(os.getpid(), signum)
        return None

sys.meta_path.insert(0, Hit())
from recsim_drpo.cli import main
status = main()
print(Hit.met)
sys.exit(status)
"""


def hit(number: int, signum: int, root: Path) -> subprocess.CompletedProcess[str]:
    """``generate``, which imports torch and Minari, hit at an import."""
    command = [sys.executable, "-c", HIT_AT_AN_IMPORT, str(number), str(int(signum)), *GENERATE]
    environment = os.environ | {"MINARI_DATASETS_PATH": str(root), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def left(root: Path) -> list[Path]:
    """The files there, without the locks, which are empty and stay."""
    return [path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.fixture(scope="module")
def num_imports(tmp_path_factory) -> int:
    done = hit(-1, signal.SIGINT, tmp_path_factory.mktemp("whole"))
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


def assert_one_line(number: int, signum: int, root: Path) -> None:
    done = hit(number, signum, root)
    expected = f"recsim-drpo: {WORDS[signum]}; what was not complete is gone.\n"
    assert (done.stderr, done.returncode) == (expected, 128 + signum)
    assert not left(root)


@pytest.mark.parametrize(
    ("number", "signum"),
    [(1, signal.SIGINT), (30, signal.SIGTERM), (150, signal.SIGHUP), (700, signal.SIGTERM)],
)
def test_one_line_whichever_import_a_signal_meets(tmp_path, number, signum):
    assert_one_line(number, signum, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.3, 0.5, 0.95])
def test_one_line_whichever_share_of_all_imports_is_done(num_imports, tmp_path, share):
    assert num_imports > 1000, "torch is among them"
    assert_one_line(1 + int(share * num_imports), signal.SIGINT, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("signum", WORDS, ids=lambda signum: signum.name)
def test_no_traceback_at_any_moment(tmp_path, signum):
    """Twenty moments from the first lines of Python's own start, which no program can guard, on.

    A signal after the dataset was whole leaves it whole.
    """
    moments = random.Random(int(signum))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "recsim_drpo.cli", *GENERATE]
    started = time.monotonic()
    roots = tmp_path / "whole"
    subprocess.run(command, env=environment | {"MINARI_DATASETS_PATH": str(roots)}, check=True)
    whole = time.monotonic() - started
    complete = {path.relative_to(roots) for path in left(roots)}
    for number in range(20):
        root = tmp_path / str(number)
        own = environment | {"MINARI_DATASETS_PATH": str(root)}
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=own
        )
        time.sleep(moments.uniform(0.1, whole))
        process.send_signal(signum)
        _, said = process.communicate(timeout=300)
        assert "Traceback" not in said
        assert "Exception ignored" not in said
        assert process.returncode in (0, 128 + signum, -signum), said
        there = {path.relative_to(root) for path in left(root)}
        assert there == complete or (process.returncode and not there)


def test_an_interrupt_that_is_lost_in_a_destructor_comes_again():
    script = (
        "import os, signal, sys, time\n"
        "from recsim_drpo.core import interrupts\n"
        "class Lost:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        [None for _ in range(1000)]\n"
        "def command():\n"
        "    try:\n"
        "        Lost()\n"
        "        time.sleep(60)\n"
        "    except KeyboardInterrupt as interrupt:\n"
        "        return interrupts.status_of(interrupt)\n"
        "    return 0\n"
        "sys.exit(interrupts.run_program(command))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 143
    assert done.stderr == "recsim-drpo: terminated; what was not complete is gone.\n"


def test_what_a_library_made_of_an_interrupt_is_one(tmp_path):
    """Native code answers an exception that it did not expect with one of its own."""
    script = (
        "import os, signal, sys\n"
        "import recsim_drpo.agents\n"
        "from recsim_drpo.cli import main\n"
        "def names():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        [None for _ in range(1000)]\n"
        "    except KeyboardInterrupt as error:\n"
        "        raise SystemError('unexpected') from error\n"
        "recsim_drpo.agents.agent_names = names\n"
        "sys.argv = ['recsim-drpo', 'agents']\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 130
    assert done.stderr == "recsim-drpo: interrupted; what was not complete is gone.\n"


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("", "default_int_handler SIG_DFL"),
        ("sys.argv = ['recsim-drpo']", "_handle _handle"),
        ("sys.argv = ['recsim-drpo']; signal.signal(signal.SIGINT, signal.SIG_IGN)", "SIG_IGN _h"),
        ("sys.argv = ['/bin/recsim-drpo.exe']; sys.orig_argv.append('--multiprocessing-fork')", ""),
    ],
    ids=["imported", "program", "in the background", "a pool's process"],
)
def test_handlers_are_the_programs_alone(before, expected):
    script = (
        f"import signal, sys\n{before}\nimport recsim_drpo\n"
        "names = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]\n"
        "print(*(getattr(h, 'name', None) or h.__name__ for h in names))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.startswith(expected or "default_int_handler SIG_DFL"), done.stderr


def test_a_forked_child_has_the_handlers_of_before():
    script = (
        "import os, signal, sys\n"
        "sys.argv = ['recsim-drpo']\n"
        "import recsim_drpo\n"
        "reading, writing = os.pipe()\n"
        "if child := os.fork():\n"
        "    os.read(reading, 1)\n"
        "    os.kill(child, signal.SIGTERM)\n"
        "    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "else:\n"
        "    os.write(writing, b'!')\n"
        "    signal.pause()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("-15\n", "")
