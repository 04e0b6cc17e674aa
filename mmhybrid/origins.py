"""Where an exception comes from: the frames of its traceback, also of one that a data worker passed on as text.

Nothing but Python's own modules is imported, so that every command can use it.
"""

from __future__ import annotations

import dis
import linecache
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

_LAB = ('mmengine', 'mmcv', 'mmdet')
# What torch makes of an exception in another process or thread: its type with this text as the only argument.
_PASSED_ON = re.compile(r'Caught (\w+) .*?\.\nOriginal (Traceback .*)', re.DOTALL)
_FRAME = re.compile(r'  File "(?P<file>.*)", line (?P<line>\d+), in (?P<function>.*)\n(?:    (?P<source>.*)\n)?')
_CHECK = re.compile(r'(?:^|: )(?:raise|assert) ')
_FILE_NAMES = ('filename', 'filepath', 'file_path', 'annotation_file', 'ann_file', 'path', 'file', 'f')


@dataclass(frozen=True)
class Frame:
    """One call on the way to an exception.

    Attributes:
        file: Of the code.
        module: Its dotted name; empty in a config, which is run without one.
        function: Name of the function.
        line: In the file.
        checks: Whether the line is a ``raise`` or an ``assert``: somebody foresaw this and says what is wrong.
        names: The local variables, by name; empty for another process.
    """

    file: str
    module: str
    function: str
    line: int
    checks: bool
    names: Mapping[str, Any] = field(default_factory=dict)

    @property
    def package(self) -> str:
        """The module's first name."""
        return self.module.partition('.')[0]

    @property
    def in_lab(self) -> bool:
        """Whether it is OpenMMLab's code."""
        return self.package in _LAB

    @property
    def is_ours(self) -> bool:
        """Whether it is this package's code, of which a config is no part."""
        return self.package == 'mmhybrid' and not self.module.startswith('mmhybrid.configs')


def frames(error: BaseException) -> list[Frame]:
    """The calls on the way to an exception, the outermost first; those in a data worker follow the caller's."""
    return [*_own_frames(error.__traceback__), *_frames_elsewhere(_passed_on(error)[1])]


def kinds(error: BaseException) -> set[str]:
    """Names of an exception's classes, and of the one that a data worker passed on."""
    return {kind.__name__ for kind in type(error).__mro__} | {_passed_on(error)[0]} - {''}


def message(error: BaseException) -> str:
    """What an exception says, without the traceback that torch puts around what a data worker said."""
    traceback = _passed_on(error)[1]
    if not traceback:
        # Python shows the representation of a missing key, and so of a whole sentence that a KeyError was given.
        is_text = isinstance(error, KeyError) and len(error.args) == 1 and isinstance(error.args[0], str)
        return error.args[0] if is_text and ' ' in error.args[0] else str(error)
    return re.sub(r'^[\w.]+(?:: |$)', '', traceback[_end_of_frames(traceback) :].strip())


def file_read(calls: list[Frame]) -> str | None:
    """The file that the innermost calls were working with, if a variable names one that exists."""
    for call in reversed(calls[-6:]):  # json has four of its own
        for name in _FILE_NAMES:
            value = call.names.get(name)
            value = getattr(value, 'name', value)  # an open file
            if isinstance(value, str | Path) and len(str(value)) < 4096 and Path(value).is_file():
                return str(value)
    return None


def _own_frames(step: TracebackType | None) -> Iterator[Frame]:
    while step is not None:
        code = step.tb_frame.f_code
        yield Frame(
            file=code.co_filename,
            module=step.tb_frame.f_globals.get('__name__', ''),
            function=code.co_name,
            line=step.tb_lineno,
            checks=dis.opname[code.co_code[step.tb_lasti]] == 'RAISE_VARARGS',
            names=step.tb_frame.f_locals,
        )
        step = step.tb_next


def _passed_on(error: BaseException) -> tuple[str, str]:
    found = _PASSED_ON.match(str(error))
    # The last traceback is that of the exception; those of its causes come before.
    return (found[1], found[2].rpartition('Traceback (most recent call last):\n')[2]) if found else ('', '')


def _frames_elsewhere(traceback: str) -> Iterator[Frame]:
    for found in _FRAME.finditer(traceback):
        parts = Path(found['file']).with_suffix('').parts
        known = [i for i, part in enumerate(parts) if part in (*_LAB, 'mmhybrid', 'torch')]
        yield Frame(
            file=found['file'],
            module='.'.join(parts[known[-1] :]) if known else parts[-1],
            function=found['function'],
            line=int(found['line']),
            checks=_CHECK.search(found['source'] or '') is not None,
        )


def _end_of_frames(traceback: str) -> int:
    last = 0
    for found in _FRAME.finditer(traceback):
        last = found.end()
    marks = re.compile(r'(?: .*\n)*')  # under the line of source, or more lines of it
    return marks.match(traceback, last).end()


def named(error: BaseException) -> str:
    """What an exception says in one line, after the name of its class unless somebody wrote it for this case."""
    calls, said = frames(error), short(message(error))
    if calls and calls[-1].checks:
        if not said and isinstance(error, AssertionError):  # which says at least what it requires
            return f'it fails at {short(linecache.getline(calls[-1].file, calls[-1].line))}'
        return said or type(error).__name__
    return f'{type(error).__name__}: {said}' if said else type(error).__name__


def short(text: str, limit: int = 300) -> str:
    """``text`` in one line, without control characters and a full stop at its end, and cut off where it is too long."""
    text = ' '.join(''.join(c if c.isprintable() else ' ' for c in text).split()).rstrip('. ')
    return text if len(text) <= limit else f'{text[:limit]} ...'
