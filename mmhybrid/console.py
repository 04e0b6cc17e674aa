"""Where commands print: rich's console, which is shown text from files but obeys none of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TextIO

from .text import one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

UNLIMITED = 100_000  # characters a line


def make_console(file: TextIO | None = None, width: int | None = None) -> Console:
    """A console on a file, by default stdout, that lets the command end when the reader of a pipe has.

    What is no terminal has no width that lines must keep to, unless ``width`` or the variable COLUMNS says one.
    """
    from rich.console import Console

    class Piped(Console):
        def on_broken_pipe(self) -> None:
            raise

    console = Piped(file=file, highlight=False, width=width)
    if width is None and not console.is_terminal and not console.is_jupyter and not os.environ.get('COLUMNS'):
        console.width = UNLIMITED
    return console


def plain(text: str, console: Console, style: str = '') -> Text:
    """Text that is never read as markup nor by the terminal, in characters that the console can write."""
    from rich.text import Text

    return Text(one_line(text).encode(console.encoding, 'replace').decode(console.encoding), style=style)
