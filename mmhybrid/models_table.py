"""What ``mmhybrid models`` shows: the variants of the zoo with their parameters and multiply-adds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TextIO

from mmhybrid.counting import CIFAR, COUNTED, count_backbone
from mmhybrid.variants import FAMILIES, VARIANTS, backbone_config, list_backbones

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One variant, counted; ``shape`` is the height and width of the image."""

    name: str
    type: str
    family: str
    shape: tuple[int, int]
    parameters: int
    multiply_adds: int
    operators: dict[str, int]
    out_channels: tuple[int, ...]
    out_strides: tuple[int, ...]
    arxiv: str


def count_models(
    family: str | None = None,
    shape: tuple[int, int] | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> Iterator[Row]:
    """Count the variants of one family, or of all.

    Args:
        family: Key of ``mmhybrid.zoo.FAMILIES``.
        shape: Height and width of the image; None is 224x224, and 32x32 for the variants made for CIFAR.
        progress: Called with one line before each variant.
    """
    names = list_backbones(family)
    for i, name in enumerate(names, 1):
        size = shape or ((32, 32) if name in CIFAR else (224, 224))
        progress(f'[{i}/{len(names)}] {name} at {size[0]}x{size[1]}')
        yield count_model(name, size)


def count_model(name: str, shape: tuple[int, int]) -> Row:
    """Count one variant for an image of ``shape``."""
    counts, backbone = count_backbone(lambda: build(name), shape)
    variant = VARIANTS[name]
    return Row(
        name=name,
        type=variant.type,
        family=variant.family,
        shape=shape,
        parameters=counts.parameters,
        multiply_adds=counts.multiply_adds,
        operators=dict(counts.operators),
        out_channels=tuple(backbone.out_channels),
        out_strides=tuple(backbone.out_strides),
        arxiv=FAMILIES[variant.family].arxiv,
    )


def build(name: str):
    """Make a variant without initialising it, on the default device."""
    import mmhybrid.registry  # noqa: F401
    from mmhybrid import backbones

    config = backbone_config(name)
    return getattr(backbones, config.pop('type'))(**config)


def print_wide(title: str, table: Table, notes: str, file: TextIO | None = None) -> None:
    """Print a table whole: a narrow window wraps its lines, a pipe gets them, and no digit is lost."""
    from rich.console import Console

    console = Console(file=file, highlight=False)
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
