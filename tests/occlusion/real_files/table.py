"""Rows of the table of reports: how each changes the good set, and what is right."""

from dataclasses import dataclass

SEGM = ('--iou-type', 'segm')
BOTH = ('--iou-type', 'bbox', 'segm')


@dataclass
class Row:
    """One report.

    Attributes:
        change: Changes the files; what it returns is ``(gt, dt)`` whose plain evaluation is right, or None where that
            is the set as it is.
        options: Of the command ``eval``.
        notes: Patterns that notes must have.
        named: Patterns of the one sentence with which the file may be refused, too; ``read=False``: must be.
        quiet: There must be no note.
    """

    change: object
    options: tuple = ()
    notes: tuple = ()
    named: tuple = ()
    read: bool = True
    quiet: bool = False


ROWS = {}


def row(name, *options, **right):
    def keep(change):
        assert name not in ROWS
        ROWS[name] = Row(change, options, **right)
        return change

    return keep
