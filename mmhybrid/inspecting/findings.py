"""What an analysis found, and the files that are made of it: figures as PNG and SVG, and all numbers as JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmhybrid.occlusion.show.figures import to_bytes
from mmhybrid.outputs import HEAD, is_json_of
from mmhybrid.version import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = 'mmhybrid.inspect'
SCHEMA_VERSION = 1
# How figures begin that this package wrote; JSON is read instead.
_BEGINNINGS = {
    '.png': rb'\x89PNG\r\n\x1a\n.*Software\0SCHEMA',
    '.svg': rb'\s*<\?xml.*<dc:title>SCHEMA</dc:title>',
    '.html': rb'<!DOCTYPE html>.*<meta name="mmhybrid" content="inspect gallery">',
}
FORMATS = ('png', 'svg')


@dataclass(frozen=True)
class Table:
    """Rows of words and numbers, as they are shown; the first column names the row.

    Attributes:
        title: What it shows, one line.
        columns: Headings.
        rows: As many cells each as there are columns.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass
class Findings:
    """What one run of an analysis found.

    Attributes:
        answer: What it comes to, a few sentences with their numbers.
        about: How to read the figures, two sentences.
        numbers: All that was measured, of any depth: arrays, numbers, strings; NaN is null in JSON.
        figures: matplotlib's, by the end of their files' names; ``''`` for the first.
        tables: For the terminal and the gallery.
        notes: What might mislead, one sentence each.
    """

    answer: Sequence[str]
    about: str
    numbers: Mapping[str, Any]
    figures: Mapping[str, Figure] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()


def file_names(kind: str, findings: Findings, formats: Sequence[str] = FORMATS) -> dict[str, list[str]]:
    """Figure -> names of its files."""
    stems = {name: f'{kind}_{name}' if name else kind for name in findings.figures}
    return {name: [f'{stem}.{form}' for form in formats] for name, stem in stems.items()}


def contents(
    kind: str, findings: Findings, about_run: Mapping[str, Any], formats: Sequence[str] = FORMATS
) -> dict[str, Callable[[], bytes | str]]:
    """Name of a file -> what makes its content; the JSON comes last, since it names the others.

    Args:
        kind: Name of the analysis.
        findings: What it found.
        about_run: Command, models, images and settings.
        formats: Of figures, ``'png'`` and ``'svg'``.
    """
    files: dict[str, Callable[[], bytes | str]] = {}
    named = file_names(kind, findings, formats)
    for figure, names in named.items():
        for name in names:
            files[name] = lambda figure=figure, name=name: to_bytes(
                findings.figures[figure], name.rpartition('.')[2], SCHEMA
            )
    document = {
        'schema': SCHEMA,
        'schema_version': SCHEMA_VERSION,
        'mmhybrid': __version__,
        'kind': kind,
        **about_run,
        'answer': list(findings.answer),
        'about': findings.about,
        'notes': list(findings.notes),
        'figures': list(named.values()),
        'tables': [asdict(table) for table in findings.tables],
        'numbers': findings.numbers,
    }
    files[f'{kind}.json'] = lambda: to_json(document)
    return files


def earlier(path: Path) -> set[Path]:
    """Figures that a run before this one wrote beside its JSON file ``path``, and that are there."""
    if not path.is_file() or path.is_symlink() or not is_ours(path):
        return set()
    figures = json.loads(path.read_text(encoding='utf-8')).get('figures')
    names = [name for each in figures for name in each] if isinstance(figures, list) else []
    # A name with a folder in it was not written by this command.
    found = {path.with_name(name) for name in names if isinstance(name, str) and Path(name).name == name}
    return {each for each in found if each.is_file() and not each.is_symlink() and is_ours(each)}


def to_json(document: Any) -> str:
    """Indented JSON of :func:`plain` content."""
    return json.dumps(plain(document), indent=1, ensure_ascii=False, allow_nan=False) + '\n'


def plain(value: Any) -> Any:
    """What JSON can hold of arrays, numpy's and torch's, numbers, mappings and sequences; null for NaN and infinity."""
    if hasattr(value, 'detach'):
        value = value.detach().cpu()
        value = (value.float() if value.element_size() < 4 and value.is_floating_point() else value).numpy()
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float):
        # Seven digits are what a float32 holds.
        return float(f'{value:.7g}') if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def is_ours(path: Path) -> bool:
    """Whether this command wrote the file."""
    if path.suffix == '.json':
        return is_json_of(path, SCHEMA)
    with path.open('rb') as file:
        head = file.read(HEAD)
    pattern = _BEGINNINGS.get(path.suffix, rb'(?!)').replace(b'SCHEMA', re.escape(SCHEMA.encode()))
    return re.match(pattern, head, re.DOTALL) is not None
