"""docs/speed.md from its template and the records."""

import re
import statistics
from collections.abc import Mapping
from typing import Any

from . import loan_page, modes, targets
from .summary import NOISY, Row, Section, ratio, spread

DEVICES = {'cpu': 'one thread of a CPU', 'cpu_threads': 'several threads of a CPU', 'gpu': 'a GPU'}
PASSES = {'forward': 'Forward pass', 'train': 'Training step'}


def render(template: str, records: Mapping[str, dict], steps: loan_page.Steps) -> str:
    """Fill the template's placeholders.

    Args:
        template: The page with placeholders.
        records: By device, the keys of ``DEVICES``.
        steps: Steps of `benchmarks/gpu.py` by name.
    """

    def fill(match: re.Match) -> str:
        kind, section = match[1], match[2]
        if kind == 'targets':
            return targets.table(records)
        if kind == 'gpu':
            return loan_page.text(section, records, steps)
        if kind == 'noisy':
            return f'{NOISY:.0%}'
        if kind == 'modes':
            return '\n'.join(f'- `{name}`: {meaning}' for name, meaning in modes.PARTS.items())
        return section_text(section, records)

    return re.sub(r'\{\{(\w+)(?: (\w+))?\}\}', fill, template)


def section_text(section: str, records: Mapping[str, dict]) -> str:
    """What was measured of a section on each device."""
    parts = []
    for device, title in DEVICES.items():
        content = records.get(device, {}).get('sections', {}).get(section)
        # Several threads are a second look, for what was looked at; latency is about CPUs.
        if content is None and (device == 'cpu_threads' or (section, device) == ('latency', 'gpu')):
            continue
        if content is None:
            parts.append(f'### {section.capitalize()} on {title}\n\nNot measured yet.')
        else:
            parts.append(f'### {section.capitalize()} on {title}\n\n{content_text(content, section)}')
    return '\n\n'.join(parts)


def content_text(content: dict[str, Any], name: str) -> str:
    """Hardware, settings, tables and notes of a section by its name."""
    section = Section(content)
    versions = ', '.join(f'{name} {version}' for name, version in content['versions'].items() if version)
    parts = [f'{content["hardware"]}; {content["date"]}; {versions}; {_settings(content)}.\n\n`{content["command"]}`']
    if name == 'latency':
        parts.append(latency_table(section))
    for pass_, title in PASSES.items():
        if section.modes(pass_) and name != 'latency':
            parts.append(f'**{title}**\n\n{table(section, pass_)}')
    notes = [*content['notes'], *_compiling(section)]
    notes += [
        f'{row["name"]}, {row["mode"]}, {PASSES[row["pass"]].lower()}: the quartiles are '
        f'{spread(row["seconds"]).relative:.0%} apart, so the machine was busy; do not trust the ratios to it'
        for row in section.noisy()
    ]
    if notes:
        parts.append('Notes:\n\n' + '\n'.join(f'- {note}' for note in notes))
    return '\n\n'.join(parts)


def _compiling(section: Section) -> list[str]:
    seconds: dict[str, list[float]] = {}
    for row in section.rows.values():
        if 'first_call' in row:
            seconds.setdefault(f'{row["mode"]}, {PASSES[row["pass"]].lower()}', []).append(row['first_call'])
    return [
        f'{what}: compiling and the first run took {min(s):.1f} to {max(s):.1f} s, which do not count'
        for what, s in seconds.items()
    ]


def _settings(content: dict[str, Any]) -> str:
    settings = content['settings']
    images = 'x'.join(map(str, settings['images'])) if settings.get('images') else settings['data']
    number = _rounds(content)
    text = f'{content["counts"]}, {number} round{"" if number == 1 else "s"}, images {images}'
    if 'peaks' in content:
        rates = ', '.join(f'{rate / 1e9:,.0f} GFLOP/s in {name}' for name, rate in _rates(content))
        text += f'; peaks: {rates}, {content["peaks"]["bytes_per_second"] / 1e9:,.0f} GB/s'
    return text


def _rates(content: dict[str, Any]) -> list[tuple[str, float]]:
    return list(content['peaks']['flops_per_second'].items())


def _rounds(content: dict[str, Any]) -> int:
    return max((len(row['seconds']) for row in content['rows']), default=0)


def table(section: Section, pass_: str) -> str:
    """One pass of a section as Markdown: a row for each contestant, a column for each mode."""
    names = section.modes(pass_)
    memory = [key for key in ('kept', 'peak') if any(row.get(key) for row in section.rows.values())]
    memory = memory if pass_ == 'train' else []
    detectors = any('images' in row for row in section.rows.values())
    head = ['contestant', *names]
    head += ['better of both formats'] if set(modes.FORMATS) <= set(names) else []
    head += ['images/s'] if detectors else ['ratio of bounds', 'of the bound', 'G multiply-adds', 'MB moved']
    head += [{'kept': 'MB kept', 'peak': 'MB at peak'}[key] for key in memory]
    lines = ['| ' + ' | '.join(head) + ' |', '| --- |' + ' ---: |' * (len(head) - 1)]
    for name in section.names:
        cells = [name, *(_cell(section, section.get(name, mode, pass_)) for mode in names)]
        best = section.best(name, pass_)
        if set(modes.FORMATS) <= set(names):
            cells.append(targets.show(ratio(best, _best_baseline(section, best))))
        best = best or section.best(name, pass_, names)
        if best is None:
            continue
        cells += _throughput(section, name, pass_, names) if detectors else _roofline(section, best)
        cells += [f'{best[key] / 1e6:,.1f}' if key in best else '' for key in memory]
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def latency_table(section: Section) -> str:
    """The forward pass as Markdown: for each mode the quickest sample, the median, and the baseline's in the round."""
    names = section.modes('forward')
    both = {'fused', 'eager'} <= set(names)
    head = ['backbone']
    for mode in names:
        head += [f'{mode}, quickest', f'{mode}, median', f'{mode}, relative']
    head += ['fused over its own eager'] * both
    lines = ['| ' + ' | '.join(head) + ' |', '| --- |' + ' ---: |' * (len(head) - 1)]
    for name in section.names:
        rows = {mode: section.get(name, mode, 'forward') for mode in names}
        cells = [name]
        for mode, row in rows.items():
            baseline = section.get(row['baseline'], mode, 'forward') if row and row['baseline'] != name else None
            times = (min(row['seconds']), statistics.median(row['seconds'])) if row else ()
            cells += [*map(_time, times), targets.show(ratio(row, baseline))] if row else [''] * 3
        if both:
            cells.append(targets.show(ratio(rows['fused'], rows['eager'])))
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def _cell(section: Section, row: Row | None) -> str:
    if row is None:
        return ''
    text = _time(statistics.median(row['seconds']))
    if row['name'] == row['baseline']:
        return text
    found = targets.show(ratio(row, section.get(row['baseline'], row['mode'], row['pass'])))
    return f'{text}, {found}' if found else text


def _best_baseline(section: Section, row: Row | None) -> Row | None:
    if row is None or row['name'] == row['baseline']:
        return None
    return section.best(row['baseline'], row['pass'])


def _time(seconds: float) -> str:
    scale, unit = next((s, u) for s, u in ((1, 's'), (1e3, 'ms'), (1e6, 'µs')) if seconds * s >= 1 or s == 1e6)
    return f'{seconds * scale:.3g} {unit}' if seconds * scale < 1000 else f'{seconds * scale:.0f} {unit}'


def _roofline(section: Section, row: Row) -> list[str]:
    if 'bound' not in row:
        return [''] * 4
    baseline = section.best(row['baseline'], row['pass']) or section.get(row['baseline'], row['mode'], row['pass'])
    bounds = '' if row['name'] == row['baseline'] else targets.show(ratio(row, baseline, 'bound'))
    share = row['bound'] / statistics.median(row['seconds'])
    return [bounds, f'{share:.0%}', f'{row["flops"] / 2e9:.3f}', f'{row["bytes"] / 1e6:,.1f}']


def _throughput(section: Section, name: str, pass_: str, names: list[str]) -> list[str]:
    best = section.best(name, pass_, names)
    return [f'{best["images"] / statistics.median(best["seconds"]):.3g}']
