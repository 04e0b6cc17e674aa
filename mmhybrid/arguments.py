"""Command-line arguments that every command of this package reads alike."""

from __future__ import annotations

import argparse
import os
from typing import Any

from mmhybrid import _stack, mistakes


class Parser(argparse.ArgumentParser):
    """Keeps the lines of descriptions and examples, and says what is wrong in one sentence, without the usage."""

    def __init__(self, **kwargs) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs)

    def error(self, message: str) -> None:
        """Print one sentence on stderr and exit with 2."""
        self.exit(2, f'error: {message}; {self.prog} --help lists the options.\n')


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
