"""How far a command has got, on a terminal's standard error; lines for standard output go past it."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import click

_CLEAR_LINE = "\r\033[K"


class ProgressBar:
    """A bar on a terminal; nothing elsewhere."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def advance(self, count: int) -> None:
        """So much more is done."""
        self._bar.update(count)

    def tell(self, line: str) -> None:
        """Print a line to standard output, not into the middle of the bar."""
        if sys.stderr.isatty() and sys.stdout.isatty():
            click.echo(_CLEAR_LINE, nl=False, err=True)
        click.echo(line)


@contextlib.contextmanager
def progress(label: str, length: int) -> Iterator[ProgressBar]:
    """A bar for so much to do."""
    hidden = not sys.stderr.isatty()
    steps = max(length // 1000, 1)  # between two times that the line is drawn anew
    with click.progressbar(
        length=max(length, 1), label=label, file=sys.stderr, hidden=hidden, show_pos=True, update_min_steps=steps
    ) as bar:
        yield ProgressBar(bar)
