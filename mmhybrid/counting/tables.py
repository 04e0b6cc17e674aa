"""What was counted as tables for the terminal and as a JSON document."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from .modules import COUNTED

if TYPE_CHECKING:
    from rich.table import Table

    from .backbones import Row
    from .detectors import DetectorCounts


def print_wide(title: str, table: Table, notes: str) -> None:
    """Print a table whole: a narrow window wraps its lines, a pipe gets them, and no digit is lost."""
    from rich.console import Console

    console = Console(highlight=False)
    width = console.measure(table, options=console.options.update(width=1000)).maximum
    console.width = max(console.width, width)
    console.print(title, style='bold', soft_wrap=True, markup=False)
    console.print(table)
    console.print(notes, soft_wrap=True, markup=False)


def models_table(rows: list[Row]) -> tuple[str, Table, str]:
    """Title, the variants as a table for the terminal, and what was counted."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column, justify in zip(
        ('name', 'class', 'parameters', 'multiply-adds', 'image', 'channels', 'strides', 'paper'),
        ('left', 'left', 'right', 'right', 'right', 'left', 'left', 'left'),
        strict=True,
    ):
        table.add_column(column, justify=justify, no_wrap=True)
    for row in rows:
        table.add_row(
            row.name,
            row.type,
            f'{row.parameters:,}',
            f'{row.multiply_adds / 1e9:.3f}G',
            'x'.join(map(str, row.shape)),
            ' '.join(map(str, row.out_channels)),
            ' '.join(map(str, row.out_strides)),
            f'arXiv {row.arxiv}',
        )
    return 'Backbones without classifier', table, COUNTED


def models_json(rows: list[Row]) -> str:
    """The variants as a JSON document, counts exact."""
    return (
        json.dumps(dict(schema='mmhybrid.models', counted=COUNTED, models=[asdict(r) for r in rows]), indent=1) + '\n'
    )


def flops_table(counts: DetectorCounts, name: str) -> tuple[str, Table, str]:
    """Title, the parts of a detector as a table for the terminal, and what was counted."""
    from rich import box
    from rich.table import Table

    height, width = counts.shape
    title = f'{name}: {counts.type} at {height}x{width} (height x width)'
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column('part', no_wrap=True)
    for column in ('parameters', 'multiply-adds', 'RoIs'):
        table.add_column(column, justify='right', no_wrap=True)
    for part in counts.parts:
        rois = ' + '.join(map(str, part.rois))
        table.add_row(part.name, f'{part.parameters:,}', f'{part.multiply_adds / 1e9:.3f}G', rois)
    table.add_section()
    table.add_row('all', f'{counts.total.parameters:,}', f'{counts.total.multiply_adds / 1e9:.3f}G')
    notes = [COUNTED]
    if counts.proposals is not None:
        notes.append(f'The RoI heads were given {counts.proposals} proposals, a fixed number.')
    # RoI pooling is not a multiplication of matrices, and the other compiled operators may be.
    missed = {op: n for op, n in counts.total.uncounted.items() if 'RoIAlign' not in op and 'RoIPool' not in op}
    if missed:
        notes.append('Not counted, though they may multiply: ' + ', '.join(f'{op} ({n})' for op, n in missed.items()))
    return title, table, '\n'.join(notes)
