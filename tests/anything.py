"""What somebody may give in place of a number, a truth, a name or a path; and what answers it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

LONGEST_ERROR = 300

_NUMBERS = st.one_of(
    st.integers(),
    st.sampled_from([0, 1, 2, 3, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**400]),
    st.floats(),
    st.sampled_from([0.5, 5e-324, 1e-300, 1e300]),
    st.sampled_from(
        [
            np.int8(3),
            np.int64(5),
            np.uint64(2**63),
            np.float32(0.25),
            np.float64("nan"),
            np.array(5),
            np.array(0.5),
            torch.tensor(3),
            torch.tensor(0.5),
            Fraction(1, 3),
            Decimal("0.5"),
            1 + 2j,
        ]
    ),
)
_OTHERS = st.sampled_from(
    [
        *(None, True, False, np.True_, object(), range(3), slice(1), type, b"x"),
        *([], [1], {}, {"a": 1}, set(), {1}, (), (1,)),
        *(np.array([1, 2]), torch.tensor([1, 2]), np.array(["a"]), [[1], [1, 2]]),
        *("1", "cpu", "cuda:99", "meta", "train", "rgb_array", "true", "x" * 5_000, "a\nb", "\0"),
        *("\ud800", "/", "."),
    ]
)
ANYTHING = st.one_of(_NUMBERS, _OTHERS, st.text(max_size=20))


def refused_in_one_line(attempt: Callable[[], Any]) -> bool:
    """Whether an attempt is refused: by ``ValueError`` or ``FileNotFoundError``, in one line.

    Any other error, an error of several lines or of more than 300 characters fails the test.
    """
    try:
        attempt()
    except Exception as error:
        text, kind = str(error), type(error)
    else:
        return False
    assert kind in (ValueError, FileNotFoundError), f"{kind.__name__}: {text}"
    assert text
    assert "\n" not in text
    assert len(text) <= LONGEST_ERROR, text
    return True


@contextmanager
def a_machine_of(num_bytes: int) -> Iterator[None]:
    """Let there be so much memory: sizes between it and the true one cost time to be tried."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recsim_drpo.core.memory._of_machine", lambda: num_bytes)
        yield
