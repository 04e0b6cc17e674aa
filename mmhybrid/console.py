"""Where commands print: rich's console, which is shown text from files but obeys none of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from .text import one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


def make_console(file: TextIO | None = None, width: int | None = None) -> Console:
    """A console on a file, by default stdout, that lets the command end when the reader of a pipe has."""
    from rich.console import Console

    class Piped(Console):
        def on_broken_pipe(self) -> None:
            raise

    return Piped(file=file, highlight=False, width=width)


def plain(text: str, console: Console, style: str = '') -> Text:
    """Text that is never read as markup nor by the terminal, in characters that the console can write."""
    from rich.text import Text

    return Text(one_line(text).encode(console.encoding, 'replace').decode(console.encoding), style=style)
