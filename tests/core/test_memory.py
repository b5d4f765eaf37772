from __future__ import annotations

import ast
import os
import platform
import re
import subprocess
import sys

import pytest

from recsim_drpo.core import memory
from recsim_drpo.core.memory import available_memory, check_memory, in_units, keep_freed_memory


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1.02e+03 B"),
        (1024, "1 KiB"),
        (1.5 * 2**30, "1.5 GiB"),
        (2**70, "1.02e+03 EiB"),
        (10**400, "over 1.05e+06 EiB"),
    ],
)
def test_sizes_in_words(num_bytes, text):
    assert in_units(num_bytes) == text


def test_what_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 2**20)
    check_memory("A thing", 2**20, "make it smaller")
    message = "A thing would take 1.5 MiB of memory, and there are 1 MiB; make it smaller."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        check_memory("A thing", 2**20 + 2**19, "make it smaller")
    monkeypatch.setattr(memory, "available_memory", lambda: None)
    check_memory("A thing", 2**70, "make it smaller")


def test_a_container_and_a_limit_of_the_process_count(monkeypatch):
    files = {
        "/proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    4096 kB\n",
        "/proc/self/cgroup": "0::/of/us\n",
        "/sys/fs/cgroup/of/us/memory.max": "3145728\n",
        "/sys/fs/cgroup/of/us/memory.current": "1048576\n",
    }
    monkeypatch.setattr(memory, "_text", lambda path: files.get(path, ""))
    assert available_memory() == 2 * 2**20
    files["/sys/fs/cgroup/of/us/memory.max"] = "max\n"
    assert available_memory() == 4 * 2**20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_limit_of_address_space_is_kept_to():
    script = (
        "import resource\n"
        "from recsim_drpo.core.memory import available_memory\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))\n"
        "before = available_memory()\n"
        "held = bytearray(2**28)\n"
        "print(before <= 2**33, 2**27 < before - available_memory() < 2**30)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "True True\n", done.stderr


ROUNDS = """
import resource, sys
import numpy as np
from recsim_drpo.core.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [np.ones(2**18) for _ in range(10)]
    del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print([faults() for _ in range(4)])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc takes the request")
def test_freed_memory_is_not_fetched_anew_page_by_page():
    def last_rounds(how):
        command = [sys.executable, "-c", ROUNDS, how]
        plain = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=plain)
        return ast.literal_eval(done.stdout)[1:]

    assert min(last_rounds("not")) > 2_000  # of 5,120 pages
    assert max(last_rounds("keep")) < 500


def test_settings_of_the_environment_are_left_alone(monkeypatch):
    def fails(*names):
        raise AssertionError("asked the C library")

    monkeypatch.setattr(memory.ctypes, "CDLL", fails)
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        with monkeypatch.context() as patched:
            patched.setenv(name, "1")
            keep_freed_memory.__wrapped__()
