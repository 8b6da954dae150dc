"""What a program writes to its output: lines as a terminal would show them, and the metrics in them."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping

from cifarsweep.spec.program import ReadRule
from cifarsweep.spec.types import MetricRow

#: Control sequences of terminals (ECMA-48): colours, moves of the cursor, titles of windows.
_CONTROL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
#: Characters of a line that are looked at, and lines that are kept for people.
LONGEST_LINE, _KEPT_LINES, _KEPT_CHARACTERS = 1 << 14, 200, 40_000
#: The last line of a traceback, before which PyTorch may write the rank of its process.
_EXCEPTION = re.compile(r"(?:\[rank\d+\]: ?)?((?:\w+\.)*\w+(?:Error|Exception|Interrupt): \S.*)")


class LineReader:
    """Cuts bytes into lines. Of a line longer than `longest` bytes the beginning is kept, and `cut` is set."""

    def __init__(self, longest: int, *, redraws: bool = False) -> None:
        self._longest, self._redraws = longest, redraws
        self._partial = b""
        self.cut = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the lines that the data completes."""
        *ends, rest = data.split(b"\n")
        for end in ends:
            self._add(end)
            yield self._take()
        self._add(rest)

    def rest(self) -> bytes:
        """Return what came after the last line."""
        return self._take()

    def _add(self, data: bytes) -> None:
        line = self._partial + data
        if self._redraws:
            # A progress bar draws itself again from the line's beginning; a return at its end draws nothing yet.
            line = line[line.rstrip(b"\r").rfind(b"\r") + 1 :]
        self.cut = self.cut or len(line) > self._longest
        self._partial = line[: self._longest]

    def _take(self) -> bytes:
        line, self._partial = self._partial, b""
        return line.rstrip(b"\r")


class Output:
    """The output of one run. `begin_after` is the step after which steps that no pattern captures are counted."""

    def __init__(self, rules: Mapping[str, ReadRule], begin_after: int) -> None:
        self._rules = {name: (re.compile(rule.pattern), rule.scale) for name, rule in rules.items()}
        self._counted = dict.fromkeys(rules, begin_after)
        self._reader = LineReader(LONGEST_LINE, redraws=True)
        self._last: deque[str] = deque(maxlen=_KEPT_LINES)

    def feed(self, data: bytes) -> Iterator[MetricRow]:
        """Yield the metrics in the lines that the data completes. Raises ValueError for what is no number."""
        for line in self._reader.feed(data):
            yield from self._read(line)

    def end(self) -> Iterator[MetricRow]:
        """Yield the metrics in a last line without an end."""
        if line := self._reader.rest():
            yield from self._read(line)

    def tail(self) -> str:
        """Return the last 200 lines."""
        return "\n".join(self._last)[-_KEPT_CHARACTERS:]

    def reason(self) -> str:
        """Return the line that says best why the program failed: its last one, in general.

        `torchrun` ends with a table that is closed by a rule; then it is that of the last exception.
        """
        lines = [line.strip() for line in self._last if line.strip()]
        if not lines or any(map(str.isalnum, lines[-1])):
            return lines[-1] if lines else ""
        exceptions = [found[1] for line in self._last if (found := _EXCEPTION.fullmatch(line.rstrip()))]
        texts = [line for line in lines if any(map(str.isalnum, line))]
        return (exceptions or texts or lines)[-1]

    @property
    def cut(self) -> bool:
        """Whether a line was too long to be looked at whole."""
        return self._reader.cut

    def _read(self, line: bytes) -> Iterator[MetricRow]:
        text = _CONTROL.sub("", line.decode(errors="replace"))
        self._last.append(text)
        for name, (pattern, scale) in self._rules.items():
            if found := pattern.search(text):
                yield self._row(name, found, scale)

    def _row(self, name: str, found: re.Match[str], scale: float) -> MetricRow:
        groups = found.groupdict()
        text = groups["value"] if "value" in groups else found[1]
        try:
            step = _number(groups["step"]) if "step" in groups else self._counted[name] + 1
            self._counted[name] = int(step)
            return MetricRow(name, int(step), _number(text) * scale)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"the pattern of {name!r} finds no number in {found[0]!r}") from None


def _number(text: str) -> float:
    # Many programs write 1,234 for a thousand and more.
    return float(text.replace(",", ""))
