"""hotcoco in forked processes: it works in threads that it starts once and keeps, and a fork copies none of them.

In a process forked afterwards (a worker of a ``DataLoader`` or of a ``multiprocessing`` pool) any call of hotcoco would
wait for ever. There ``pycocotools`` is the default and ``hotcoco`` is refused; processes that are spawned may use
either.
"""

from __future__ import annotations

import os
import sys

from mmhybrid.errors import InputError

# Whether this process was forked from one that had loaded hotcoco, and so perhaps started its threads.
lost_threads = False


def _note_fork() -> None:
    global lost_threads
    lost_threads = lost_threads or 'hotcoco' in sys.modules


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_note_fork)


def check_hotcoco() -> None:
    """Raise InputError in a process that was forked from one that had loaded hotcoco."""
    if lost_threads:
        raise InputError(
            "the engine 'hotcoco' would wait for ever in a process forked after it was loaded; take 'pycocotools', or "
            "start the process by multiprocessing's 'spawn'."
        )
