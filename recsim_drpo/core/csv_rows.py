"""Delimited text as whole rows, in blocks of bytes, with damaged rows taken out.

A cell that begins with a double quote ends at the next one that is not doubled (or, in the other
dialect, not escaped), and may hold delimiters and line breaks (RFC 4180). Readers of CSV take what
follows that quote for more of the cell, and so swallow the next row where the dialect is another;
here such a row is refused and reading goes on with the next line. A quote inside a cell that began
without one is a character like any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from recsim_drpo.core.messages import shown
from recsim_drpo.core.table_headers import DELIMITERS, split_header

BLOCK_BYTES = 2**20
MAX_ROW_BYTES = 2**24
"""How long a row can be, and how far a quote is sought that closes a cell."""

_QUOTE = b'"'
_STAND_IN = "\x1a"
_SHOWN = 200
_AFTER_QUOTE = "text after a closing quote"
_OPEN_QUOTE = "a quote that is never closed"
_UNCLEAR = "a quote after a backslash that may or may not close its cell"
_SAY_ESCAPE = " (is the backslash an escape? --escape '\\')"


def check_escape(escape: str | None) -> None:
    """Raise ``ValueError`` unless it can escape a quote: one character of ASCII, or ``None``."""
    if escape is not None and (len(escape) != 1 or not "!" <= escape <= "~" or escape.isalnum()):
        raise ValueError(
            f"escape={shown(escape)} is not one sign such as a backslash, which goes before a "
            "quote inside a quoted cell, or a double quote, where such a quote is doubled."
        )


class Fault(NamedTuple):
    """Why a row was taken out, and its text, which begins with the number of its line."""

    reason: str
    text: str


class _Grammar:
    """What a row is, for a delimiter and a line break.

    Attributes:
        row: matches a row and its line break.
        cells: matches the cells of a row that a delimiter ends.
        quoted: matches a quoted cell.
        opening: matches a quote that begins a cell, and what is before it.
        unclear: matches what, in a row over several lines, may have ended a cell.
        beside_quotes: bool (256,), bytes that can stand outside a quoted cell beside its quotes,
            and the quote, where two stand for one.
    """

    def __init__(self, delimiter: bytes, line_break: bytes) -> None:
        mark = re.escape(delimiter)
        quoted = rb'"(?:[^"]++|"")*+"'
        cell = rb'(?:%b|[^"\r\n%b][^\r\n%b]*+|)' % (quoted, mark, mark)
        self.row = re.compile(rb"%b(?:%b%b)*+(?:\r\n?|\n)" % (cell, mark, cell))
        self.cells = re.compile(rb"(?:%b%b)*+" % (cell, mark))
        self.quoted = re.compile(quoted)
        self.opening = re.compile(rb'[\r\n%b]"' % mark)
        self.unclear = re.compile(rb'\\""[\r\n%b]' % mark)
        self.line_break = line_break
        self.beside_quotes = np.zeros(256, dtype=np.bool_)
        self.beside_quotes[list(b'\r\n"' + delimiter)] = True


class CsvRows:
    """The rows of delimited text, which begins with a header line.

    Args:
        read: gives at most so many further bytes; none at the end.
        name: of the text, for messages.
        escape: the sign that goes before a quote inside a quoted cell; a double quote where such
            quotes are doubled; ``None`` likewise, and rows that would be something else with a
            backslash are refused.
        delimiters: those that it can have.
        block_bytes: how much is read at a time.

    Attributes:
        columns: names in the header; none where there is no header.
        delimiter: the delimiter.
        escape: the sign that a reader has to be told, ``None`` where quotes are doubled.
        faults: why rows were taken out, by the text of the row that stands in their place. It is
            one of another length than the header, so that every reader refuses it, under the
            number of that line.
        done: bytes read.
        num_lines: line breaks read, the header's too.
        ended: whether the last line had a line break.

    Raises:
        UnicodeDecodeError: the header is not UTF-8.
        ValueError: there is no line break for 16 MiB; ``escape`` is no sign.
    """

    def __init__(
        self,
        read: Callable[[int], bytes],
        name: str,
        *,
        escape: str | None = None,
        delimiters: Sequence[str] = DELIMITERS,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        check_escape(escape)
        self._read, self._name, self._block_bytes = read, name, block_bytes
        self._escape = escape
        self.escape = None if escape == '"' else escape
        self._escaped = (
            None
            if self.escape is None
            else re.compile(re.escape(self.escape).encode() + b".", re.DOTALL)
        )
        self.faults: dict[str, Fault] = {}
        self.done, self.num_lines, self.ended = 0, 0, True
        start = b""
        while not re.search(rb"[\r\n].", start, re.DOTALL) and (
            more := self._more(len(start))  # twice as much each time, as below
        ):
            start += more
            self._check_length(start, 1)
        found = re.search(rb"\r\n?|\n", start)
        header, self._rest = (
            (start[: found.start()], start[found.end() :]) if found else (start, b"")
        )
        line_break = b"\r" if found and found.group() == b"\r" else b"\n"
        # utf-8-sig: a byte order mark is no part of the first column's name.
        self.delimiter, self.columns = split_header(header.decode("utf-8-sig"), delimiters)
        self._grammar = _Grammar(self.delimiter.encode(), line_break)
        self._line = 2

    def _more(self, size: int = 0) -> bytes:
        data = self._read(max(size, self._block_bytes))
        self.done += len(data)
        self.num_lines += _count(data, b"\n")
        self.ended = data.endswith((b"\n", b"\r")) if data else self.ended
        return data

    def __iter__(self) -> Iterator[bytes]:
        """Blocks of whole rows, each with its line break."""
        rest, end = self._rest, False
        while not end:
            # Twice as much each time, so that a long row is not gone through again and again.
            more = self._more(len(rest)) if len(rest) < MAX_ROW_BYTES else b""
            end = not more and len(rest) < MAX_ROW_BYTES
            data = rest + more
            if end and data and (self.escape or not self.ended):
                # A second one, which makes a blank line, where the first may be escaped.
                data += self._grammar.line_break * (2 if self.escape else 1)
            rows, used = self._whole_rows(data, end or len(data) >= MAX_ROW_BYTES)
            rest = data[used:]
            if not used:
                self._check_length(data, self._line)
            self._line += _count(memoryview(data)[:used], self._grammar.line_break)
            if rows:
                yield rows

    def _check_length(self, data: bytes, line: int) -> None:
        if len(data) >= MAX_ROW_BYTES:
            raise ValueError(
                f"{self._name!r}, line {line}: it has more than {MAX_ROW_BYTES / 2**20:g} MiB and "
                "is no row of a table."
            )

    def _whole_rows(self, data: bytes, last: bool) -> tuple[bytes, int]:
        """The whole rows that data begin with, and how many bytes of it they are.

        Args:
            data: from the beginning of a row.
            last: a quoted cell that is open at the end of data is not to be waited for.
        """
        grammar = self._grammar
        scan = data if self._escaped is None else self._escaped.sub(b"xx", data)
        if _QUOTE not in scan:
            used = scan.rfind(grammar.line_break) + 1
            return data[:used], used
        quotes = np.flatnonzero(np.frombuffer(scan, np.uint8) == _QUOTE[0])
        padded = np.frombuffer(b"\n%b\n" % scan, np.uint8)
        sound = (
            # Every other quote opens a cell, or is the second of two that stand for one.
            grammar.beside_quotes[padded[quotes[0::2]]].all()
            and grammar.beside_quotes[padded[quotes[1::2] + 2]].all()
            and not (last and len(quotes) % 2)
            and (self._escape is not None or b'\\""' not in scan)
        )
        if not sound:
            return self._without_faults(data, scan, last)
        breaks = np.flatnonzero(padded[1:-1] == grammar.line_break[0])
        outside = breaks[np.searchsorted(quotes, breaks) % 2 == 0]
        used = int(outside[-1]) + 1 if len(outside) else 0
        return data[:used], used

    def _without_faults(self, data: bytes, scan: bytes, last: bool) -> tuple[bytes, int]:
        """As :meth:`_whole_rows`, row by row for those with a quoted cell."""
        grammar, line_break = self._grammar, self._grammar.line_break
        unclear = self._escape is None and b'\\""' in scan
        parts: list[bytes] = []
        copied = at = 0
        line = self._line
        while (quote := self._next_quoted(scan, at)) >= 0:
            row = max(at, scan.rfind(line_break, at, quote) + 1)
            match = grammar.row.match(scan, row)
            if match is not None and not (unclear and self._is_unclear(match.group())):
                at = match.end()
                continue
            reason = _UNCLEAR if match else self._fault(scan, row, last)
            line_end = data.find(line_break, row) + 1
            if not reason or not line_end:
                at = row
                break
            line += data.count(line_break, copied, row)
            parts += [data[copied:row], self._stand_in(reason, line, data[row:line_end])]
            line += 1
            copied = at = line_end
        else:
            at = max(at, scan.rfind(line_break) + 1)
        return b"".join([*parts, data[copied:at]]), at

    def _next_quoted(self, scan: bytes, at: int) -> int:
        """Where the next quote is that begins a cell, or -1, from the beginning of a row on."""
        if scan.startswith(_QUOTE, at):
            return at
        found = self._grammar.opening.search(scan, at)
        return found.end() - 1 if found else -1

    def _is_unclear(self, row: bytes) -> bool:
        """Whether a row is another in the dialect with backslashes, where it ends sooner."""
        return len(row.splitlines()) > 1 and self._grammar.unclear.search(row) is not None

    def _fault(self, scan: bytes, row: int, last: bool) -> str:
        """What is wrong with a row; nothing where it is not known before more of it is read."""
        found = self._grammar.cells.match(scan, row)
        at = found.end() if found else row
        quoted = self._grammar.quoted.match(scan, at)
        if quoted is not None and quoted.end() < len(scan):
            return _AFTER_QUOTE
        return _OPEN_QUOTE if last else ""

    def _stand_in(self, reason: str, line: int, row: bytes) -> bytes:
        text = row[:_SHOWN].decode(errors="replace").rstrip("\r\n")
        if self._escape is None and b'\\"' in row:
            reason += _SAY_ESCAPE
        stand_in = f"{self.delimiter * len(self.columns)}{_STAND_IN}{line}"
        self.faults[stand_in] = Fault(reason, f"line {line}: {text}")
        return stand_in.encode() + self._grammar.line_break


def _count(data: bytes | memoryview, sign: bytes) -> int:
    """How often one byte is in data; several times as fast as ``bytes.count``."""
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == sign[0]))
