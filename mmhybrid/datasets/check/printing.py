"""A report as text: for a terminal, and as well for a file or a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmhybrid.console import make_console, plain
from mmhybrid.occlusion.show.distribution import distribution_sheets
from mmhybrid.occlusion.show.terminal import print_sheets

from .dropped import REASONS
from .findings import ERROR, EXAMPLES, KINDS, Finding
from .report import Report, stratify

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {ERROR: 'bold red', 'warning': 'yellow'}

MAX_WIDTH = 160  # of the columns of classes: where nothing limits them, all would stand on one line


def print_report(report: Report, title: str, images: str = '') -> None:
    """Print a report on stdout.

    Args:
        report: The report.
        title: What was checked.
        images: A word on the images that were opened.
    """
    from rich.columns import Columns

    console = make_console()
    _line(console, title, 'bold')
    counts = (
        _count(report.num_images, 'image'),
        _count(report.num_annotations, 'annotation')
        + (f' ({_count(report.num_crowds, "crowd region")})' if report.num_crowds else ''),
        _count(report.num_categories, 'category', 'categories'),
    )
    _line(console, ', '.join(counts) + (f'; {images}' if images else ''))
    console.print()
    print_findings(report.findings, console)
    if left_out := sum(report.dropped.values()):
        reasons = '; '.join(f'{count:,}: {REASONS[reason]}' for reason, count in report.dropped.items() if count)
        _line(console, f'MMDetection leaves out {left_out:,} of the annotations in silence ({reasons}).')
        console.print()
    _line(console, 'instances to learn from, by class', 'bold')
    ordered = sorted(report.instances.items(), key=lambda item: -item[1])
    console.print(
        Columns([plain(f'{count:>7,} {name}', console) for name, count in ordered], equal=True, padding=(0, 3)),
        width=min(console.width, MAX_WIDTH),
    )
    console.print()
    stratified = stratify(report)
    if stratified is not None:
        print_sheets(distribution_sheets(*stratified))


def print_findings(findings: tuple[Finding, ...] | list[Finding], console: Console | None = None) -> None:
    """Print each finding, errors first: one line with count and kind, one with the effect, and the first examples."""
    console = console or make_console()
    for each in sorted(findings, key=lambda each: each.severity != ERROR):
        kind = KINDS[each.kind]
        line = plain(f'{each.severity:8}', console, _STYLES[each.severity])
        console.print(line + plain(f'{kind.title}: {each.count:,} ({each.kind})', console), soft_wrap=True)
        _line(console, f'        MMDetection {kind.effect}' + (f'; {each.hint}' if each.hint else ''), 'dim')
        for example in each.examples:
            _line(console, f'          {example}')
        if each.count > EXAMPLES:
            _line(console, f'          and {each.count - len(each.examples):,} more')
    if findings:
        console.print()


def print_verdict(findings: tuple[Finding, ...] | list[Finding]) -> None:
    """Print how many kinds of error and warning there are."""
    errors = sum(each.severity == ERROR for each in findings)
    parts = [
        _count(errors, 'kind of error', 'kinds of error'),
        _count(len(findings) - errors, 'of warning', 'of warning'),
    ]
    _line(make_console(), ', '.join(parts) + '.' if findings else 'Nothing is wrong.', 'bold')


def _line(console: Console, text: str, style: str = '') -> None:
    console.print(plain(text, console, style), soft_wrap=True)  # nobody could search a file for broken names


def _count(number: int, one: str, more: str = '') -> str:
    return f'{number:,} {one if number == 1 else more or one + "s"}'
