"""A user's mistake becomes one sentence, and a bug of ours keeps its traceback.

:func:`sentence` is the one place that tells them apart, by what an exception is and where it comes from:

1. What the system refuses (files, memory, other processes, the end of an input) is told, wherever it happens.
2. What happens while a config is read, or while its parts are made from it, is told: what somebody foresaw and checked
   with ``raise`` or ``assert``, and anything else unless code of this package is at work there.
3. What OpenMMLab or torch check in the course of a run is told, unless code of this package called them.

Everything else is a bug. Importing this module imports neither torch nor OpenMMLab, whose exceptions it knows by name.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from mmhybrid.config_mistakes import WHERE, missing_import, while_making, while_reading, while_running
from mmhybrid.errors import InputError
from mmhybrid.origins import Frame, file_read, frames, kinds, message, named, short
from mmhybrid.text import clean

DEBUG = 'MMHYBRID_DEBUG'
FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EACCES, errno.EROFS, errno.EPERM, errno.ENAMETOOLONG)
_CONTENT = {'JSONDecodeError', 'UnicodeDecodeError', 'UnpicklingError', 'BadZipFile', 'YAMLError', 'EOFError'}
_OUT_OF_MEMORY = {'MemoryError', '_ArrayMemoryError', 'OutOfMemoryError'}
_MEMORY = re.compile(
    r"DefaultCPUAllocator|can't allocate memory|CUDA(?: error:)? out of memory|ALLOC_FAILED|Insufficient memory"
)
_OTHERS = {'DistNetworkError', 'DistStoreError', 'DistBackendError'}
_CONNECTION = re.compile(r'(gloo|TCPStore|NCCL)(.|\n)*(closed by peer|reset by peer|refused|Broken pipe|[Tt]imed out)')


def run(command: Callable[[], int | None]) -> int:
    """Run a command that prints on stdout, with ``?`` for what its encoding lacks; a mistake is one sentence on stderr.

    Returns:
        The command's status or 0, 2 after a sentence, or 130 after Ctrl-C.
    """
    if hasattr(sys.stdout, 'reconfigure'):
        sys.stdout.reconfigure(errors='replace')
    try:
        try:
            return command() or 0
        finally:
            if sys.stdout is not None:  # as it is when closed
                sys.stdout.flush()  # here, where a full disk can still be told
    except BrokenPipeError:  # the reader of a pipe has seen enough
        drop_stdout()
        return 0
    except (Exception, KeyboardInterrupt) as error:
        status = tell(error)
        if status is None:
            raise
        return status


def tell(error: BaseException) -> int | None:
    """Print on stderr what was wrong, after the traceback if ``MMHYBRID_DEBUG`` is set.

    Returns:
        The exit status; None, with nothing printed, for a bug, which needs its traceback.
    """
    said = sentence(error)
    if said is None:
        return None
    if getattr(error, 'errno', None) in (*FULL, errno.EPIPE):
        drop_stdout()
    said = clean(said)  # a file may have brought control characters
    with contextlib.suppress(OSError):  # at Ctrl-C its reader has ended, too
        if os.environ.get(DEBUG, '0') not in ('', '0'):
            traceback.print_exception(error)
        print(f'error: {said}', file=sys.stderr, flush=True)
    return 128 + signal.SIGINT if isinstance(error, KeyboardInterrupt) else 2


def sentence(error: BaseException) -> str | None:
    """What a user has to know of an exception: what is wrong, where, and what to do; None of a bug."""
    if isinstance(error, KeyboardInterrupt):
        return 'ended by Ctrl-C.'
    try:
        if isinstance(error, InputError):
            return message(error)
        calls = frames(error)
        return next((said for rule in _RULES if (said := rule(error, calls))), None)
    except Exception:  # better the traceback of the error than of this
        return None


def drop_stdout() -> None:
    """Let stdout go nowhere: what is in its buffer cannot be written, and Python would try again at its exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _memory(error: Exception, calls: list[Frame]) -> str | None:
    said = message(error)
    if not (kinds(error) & _OUT_OF_MEMORY or _MEMORY.search(said) or getattr(error, 'errno', None) == errno.ENOMEM):
        return None
    what, advice = ('GPU memory', 'use --amp') if 'CUDA' in said else ('memory', 'num_workers')
    reason = f' ({short(said, 120)})' if said else ''
    return f'There is not enough {what}{reason}: lower the batch size or the size of the images, or {advice}.'


def _processes(error: Exception, calls: list[Frame]) -> str | None:
    said = message(error)
    if said.startswith('DataLoader worker (pid'):
        return f'A process that loads data has ended, often for want of memory ({short(said)}): lower num_workers.'
    if kinds(error) & _OTHERS or _CONNECTION.search(said):
        return 'Another process of this job has ended or cannot be reached; what it said itself tells why.'
    return None


def _full_disk(error: Exception, calls: list[Frame]) -> str | None:
    number, reason, name = _system_error(error)
    if number not in FULL:
        return None
    where = name or 'of the output, the work dir or temporary files'
    return f'No space is left on the disk ({reason}: {where}); free some, or choose another place.'


def _system(error: Exception, calls: list[Frame]) -> str | None:
    if not isinstance(error, OSError):
        return None
    number, reason, name = _system_error(error)
    if number == errno.EMFILE:
        return f'Too many files are open ({name or reason}): raise the limit with ulimit -n, or lower num_workers.'
    if name and number == errno.ENOENT:
        return f'There is no {name} (from {Path.cwd()}); put it there, or correct its path.'
    if name and number in _REFUSED:
        return f'{name} cannot be used ({reason}); choose another place.'
    return f'{name or "A file or a connection"} cannot be used ({reason or named(error)}); {WHERE}.'


def _system_error(error: Exception) -> tuple[int | None, str | None, str | None]:
    """Number, reason and file of what the system refused; from a data worker they come as text."""
    found = re.match(r"\[Errno (\d+)\] (.*?)(?:: '(.*)')?$", message(error)) if isinstance(error, OSError) else None
    if found:
        return int(found[1]), found[2], error.filename or found[3]
    return getattr(error, 'errno', None), getattr(error, 'strerror', None), getattr(error, 'filename', None)


def _imports(error: Exception, calls: list[Frame]) -> str | None:
    if not isinstance(error, ImportError):
        return None
    foreseen = calls and calls[-1].checks
    return message(error) if foreseen else missing_import(error, 'A library is missing or of another version')


def _content(error: Exception, calls: list[Frame]) -> str | None:
    if not kinds(error) & _CONTENT:
        return None
    if file := file_read(calls):
        return f'{file} cannot be read ({named(error)}): it is damaged or of another kind, give another.'
    return f'An input ended too early ({named(error)}).' if 'EOFError' in kinds(error) else None


_RULES = (_memory, _processes, _full_disk, while_reading, _system, _imports, _content, while_making, while_running)
