"""Command-line arguments that every command of this package reads alike."""

from __future__ import annotations

import argparse
import os
from typing import Any

from mmhybrid import _stack, mistakes
from mmhybrid.text import clean


class Parser(argparse.ArgumentParser):
    """Keeps the lines of descriptions and examples, and says what is wrong in one sentence, without the usage."""

    def __init__(self, **kwargs) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Refuse unknown options in the name of the command they were given to; argparse does in its parent's."""
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f'unrecognized arguments: {" ".join(unknown)}')
        return namespace, unknown

    def error(self, message: str) -> None:
        """Print one sentence on stderr and exit with 2."""
        self.exit(2, f'error: {clean(message)}; {self.prog} --help lists the options.\n')


def positive(text: str) -> int:
    """A whole number from 1 on, as argparse's ``type``."""
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 2**31:
        raise argparse.ArgumentTypeError(f'{text!r} is no number from 1')
    return int(text)


def whole(text: str) -> int:
    """A whole number from 0 on, as argparse's ``type``."""
    if not text.isascii() or not text.isdigit() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f'{text!r} is no whole number from 0')
    return int(text)


def share(text: str) -> float:
    """A number from 0 to 1, as argparse's ``type``."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f'{text!r} is no number from 0 to 1')
    return value


class _Debug(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        # Processes that this one starts are to know it, too.
        os.environ[mistakes.DEBUG] = '1'


class _Options(argparse.Action):
    # What reads the values imports MMEngine, and `--help` does not need it.
    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        _stack.require()
        from mmhybrid.config_options import OptionsAction

        OptionsAction(self.option_strings, self.dest, nargs=self.nargs)(parser, namespace, values, option_string)


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add what every tool has that reads a config: ``--cfg-options``, ``--allow-missing`` and ``--debug``."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=_Options,
        default={},
        metavar='KEY=VALUE',
        help='change settings of the config, e.g. train_dataloader.batch_size=4. data_root=DIR and '
        'backbone_checkpoint=FILE change every setting that follows from them',
    )
    parser.add_argument(
        '--allow-missing',
        nargs='*',
        metavar='NAME',
        help='weights that a checkpoint need not have, by the beginnings of their names, or all of them',
    )
    parser.add_argument(
        '--debug',
        nargs=0,
        action=_Debug,
        help=f'show the traceback of a mistake, too, as {mistakes.DEBUG}=1 in the environment does',
    )
