"""Command-line arguments that every command of this package reads alike."""

from __future__ import annotations

import argparse


class Parser(argparse.ArgumentParser):
    """Keeps the lines of descriptions and examples, and says what is wrong in one sentence, without the usage."""

    def __init__(self, **kwargs) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs)

    def error(self, message: str) -> None:
        """Print one sentence on stderr and exit with 2."""
        self.exit(2, f'error: {message}; {self.prog} --help lists the options.\n')
