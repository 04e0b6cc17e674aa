"""A loan of a machine: what of the steps is left, what of the time, and doing as much as fits."""

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from . import kept
from .children import ChildFailed

OK, PARTIAL, FAILED = 'ok', 'partial', 'failed'
# For the last archive and for ending children.
RESERVE = 15.0


@dataclass(frozen=True)
class Context:
    """What a step works with.

    Attributes:
        results: Folder of results.
        work: Folder of logs, checkpoints and data sets.
        data_root: Data set in COCO's layout, or None.
        device: 'cuda' or 'cpu'.
        small: Whether this is a rehearsal.
        seconds: What the step has.
        pictures: CIFAR-10 as pictures, train/CLASS/*.jpg and test/, or None.
    """

    results: Path
    work: Path
    data_root: Path | None
    device: str
    small: bool
    seconds: float
    pictures: Path | None = None

    @property
    def jobs(self) -> int:
        """How many children may run at once: all of them, or one on a machine that has no cores to spare."""
        return 1 if self.small else 8


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: Of the step and its file.
        seconds: What it takes on a GPU, measured or estimated; it is not begun with less.
        most: What it may take.
        do: Returns its result; 'failed' in it lists what was wrong, 'left' and 'not_reached' what is still to do.
        needs: What of the context it cannot do without, '' for nothing.
    """

    name: str
    seconds: float
    most: float
    do: Callable[[Context], dict[str, Any]]
    needs: str = ''


class Loan:
    """Does steps in order of worth while there is time.

    Args:
        context: What steps work with; the seconds are those of the loan.
        facts: Hardware, versions and command, kept with each result.
        archive: Where all results are packed after each step.
        say: Called with each line.
        clock: Seconds.
    """

    def __init__(
        self,
        context: Context,
        facts: Mapping[str, Any],
        archive: Path,
        say: Callable[[str], None] = print,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.context, self.facts, self.archive, self.say, self._clock = context, facts, archive, say, clock
        self._start = clock()

    def left(self) -> float:
        """Seconds that are left."""
        return self.context.seconds - (self._clock() - self._start)

    def status(self, step: Step) -> str | None:
        """How a step ended the last time, or None."""
        document = kept.read_json(kept.step_path(self.context.results, step.name))
        return document['status'] if document else None

    def do(self, steps: Sequence[Step]) -> int:
        """Do what is left of the steps.

        Returns:
            How many failed.
        """
        failed = 0
        for step in steps:
            if self.status(step) == OK:
                self.say(f'{step.name}: done before')
            elif step.needs and getattr(self.context, step.needs) is None:
                self.say(f'{step.name}: left out, it needs --{step.needs.replace("_", "-")}')
            elif self.left() - RESERVE < (0 if self.context.small else step.seconds):
                self.say(f'{step.name}: left for later, needs {step.seconds:.0f} s, {self._minutes()}')
            else:
                failed += self._one(step) == FAILED
        self.pack()
        return failed

    def pack(self) -> None:
        """Refresh the archives."""
        kept.archive(self.context.results, self.archive)

    def _one(self, step: Step) -> str:
        seconds = min(step.most, self.left() - RESERVE)
        self.say(f'{step.name}: begins, at most {seconds:.0f} s, {self._minutes()}')
        began = self._clock()
        context = Context(**{**vars(self.context), 'seconds': seconds})
        try:
            result = step.do(context)
            left = result.get('left') or result.get('not_reached')
            status = FAILED if result.get('failed') else PARTIAL if left else OK
        except Exception as error:  # the next steps go on
            status, result = FAILED, {'failed': [_told(error)]}
        took = self._clock() - began
        document = {'step': step.name, 'status': status, 'seconds': round(took, 1), 'estimate': step.seconds}
        document |= {'date': datetime.now(timezone.utc).strftime('%Y-%m-%d'), **self.facts, 'result': result}
        kept.write_json(kept.step_path(self.context.results, step.name), document)
        self.pack()
        self.say(f'{step.name}: {status} after {took:.0f} s, {self._minutes()}')
        for line in result.get('failed') or []:
            self.say('\n'.join(f'    {part}' for part in line.splitlines()[-12:]))
        return status

    def _minutes(self) -> str:
        return f'{self.left() / 60:.1f} min left'


def _told(error: Exception) -> str:
    if isinstance(error, ChildFailed):
        return str(error)
    return kept.without_paths(''.join(traceback.format_exception(error)).strip())
