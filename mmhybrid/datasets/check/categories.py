"""The categories of an annotation file against the classes that a data set is trained with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmhybrid.text import clean, plural, show

from .contents import Contents
from .findings import Finding, found


def check_classes(classes: Any) -> list[Finding]:
    """A setting ``classes``: a sequence of different names."""
    if isinstance(classes, str):
        # MMDetection takes every category whose name is a part of the text.
        return found('classes-malformed', [f'the text {show(classes)}'], hint=f'write ({classes!r},), with the comma')
    if not isinstance(classes, list | tuple) or not classes or not all(isinstance(name, str) for name in classes):
        return found('classes-malformed', [show(classes)], hint='give a tuple of names')
    twice = [name for name, count in Counter(classes).items() if count > 1]
    return found('classes-malformed', [f'{show(name)} stands twice' for name in twice[:1]])


def check_categories(contents: Contents) -> list[Finding]:
    """Categories by themselves."""
    rows = contents.category_rows
    return [
        *found('duplicate-category-id', _repeated(rows, 'id')),
        *found('duplicate-category-name', _repeated(rows, 'name')),
    ]


def compare(contents: Contents, classes: Sequence[str]) -> list[Finding]:
    """Categories against well-formed classes.

    ``CocoDataset`` numbers the labels by the file's order of those categories whose name is a class, whatever the
    order of the classes: label i means ``classes[i]`` only where the two orders agree.
    """
    names = contents.category_names
    known, wanted = set(names), set(classes)
    numbered = [name for name in names if name in wanted]
    missing = [name for name in classes if name not in known]
    # As MMDetection's heads and results name them.
    moved = [
        f'{show(name)} is trained as {show(classes[label])}'
        for label, name in enumerate(numbered[: len(classes)])
        if name != classes[label]
    ]
    close = {name.strip().lower(): name for name in names}
    alike = [(name, close[name.strip().lower()]) for name in missing if name.strip().lower() in close]
    hint = f'the file has {show(alike[0][1])} for {show(alike[0][0])}' if alike else ''
    if missing and not hint:
        rest = [name for name in names if name not in wanted]
        shown = ', '.join(map(show, rest[:3])) + (', ...' if len(rest) > 3 else '')
        hint = f"the file's others are {shown}" if rest else 'the file has no others'
    order = '' if missing or not moved else f'order the classes as the file does: {_listed(numbered)}'
    counts = instances(contents, np.ones(len(contents.rows), dtype=bool))
    unused = [
        f'{show(name)} ({plural(counts[name], "instance")})' for name in dict.fromkeys(names) if name not in wanted
    ]
    return [
        *found('class-missing', map(show, missing), hint=hint),
        *found('category-order', moved, hint=order),
        *found('category-unused', unused),
    ]


def without_instances(instances: dict[str, int]) -> list[Finding]:
    """Classes that nothing is learned for, where there is something for others."""
    empty = [show(name) for name, count in instances.items() if not count]
    return found('class-empty', empty if len(empty) < len(instances) else [])


def instances(contents: Contents, kept: np.ndarray) -> dict[str, int]:
    """Number of annotations of each category, by name in the file's order, without crowd regions.

    Args:
        contents: The annotation file, n annotations.
        kept: ``(n,)`` bool, the annotations to count.
    """
    chosen = contents.category_at[kept & (contents.category_at >= 0) & ~contents.crowd]
    counts = np.bincount(chosen, minlength=len(contents.category_rows)).tolist()
    totals = dict.fromkeys(contents.category_names, 0)
    for name, count in zip(contents.category_names, counts, strict=True):
        totals[name] += count
    return totals


def _repeated(rows: Sequence[dict[str, Any]], field: str) -> list[str]:
    seen: set[Any] = set()
    return [f'{clean(row["name"])} id {show(row["id"])}' for row in rows if row[field] in seen or seen.add(row[field])]


def _listed(names: Sequence[str]) -> str:
    return ', '.join(map(clean, names[:8])) + (', ...' if len(names) > 8 else '')
