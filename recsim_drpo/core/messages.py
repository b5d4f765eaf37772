"""How a value and another library's error are said in one line of an error of ours."""

from __future__ import annotations

VALUE_WIDTH = 80
"""The characters of a value that an error shows at most."""

REASON_WIDTH = 200
"""The characters of another library's error that an error of ours repeats at most."""

LINE_WIDTH = 400
"""The characters of a whole error that a user is shown at most."""

_PREVIEW = 10_000
"""The characters that are looked at, so that a text of gigabytes is not copied to be cut."""


def shown(value: object) -> str:
    """Return a value as an error shows it: its repr on one line, at most 80 characters long.

    Args:
        value: anything. Of text and bytes only the beginning is looked at; NumPy's numbers are
            shown as Python's; a value whose ``repr`` raises is shown by its type.
    """
    if isinstance(value, str | bytes | bytearray):
        value = value[:_PREVIEW]
    try:
        if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
            value = value.item()  # type: ignore[attr-defined]  # 0.5, as np.float64(0.5) is new
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return _cut(text, VALUE_WIDTH)


def shown_path(path: object) -> str:
    """Return a path as an error shows it: as :func:`shown`, but of a long one the end.

    Args:
        path: of a file or a folder.
    """
    text = str(path)
    return shown(text if len(text) < VALUE_WIDTH - 2 else f"…{text[3 - VALUE_WIDTH :]}")


def one_line(error: BaseException | str, width: int = REASON_WIDTH) -> str:
    """Return another library's error on one line, at most 200 characters, or else its type.

    Args:
        error: the error, or its text.
        width: the most characters.
    """
    text = _cut(str(error), width)
    return text or type(error).__name__


def _cut(text: str, width: int) -> str:
    line = " ".join(text[:_PREVIEW].split())
    return line if len(line) <= width else line[: width - 1] + "…"


def short_line(text: str) -> str:
    """Return an error on one line of at most 400 characters, without its middle if it is longer.

    Errors begin with what is wrong and end with what to do; between are values of any length.

    Args:
        text: of the error.
    """
    line = " ".join(text.split())
    if len(line) <= LINE_WIDTH:
        return line
    end = LINE_WIDTH // 4
    return f"{line[: LINE_WIDTH - end - 3]} … {line[-end:]}"
