"""The report's charts as inline SVG: lines with interval bands, and stacked bars.

Colours are CSS variables (see :mod:`.palette`), so a chart follows the page into the dark. Every mark carries a title
that browsers show on hovering; the tables beside the charts hold the same numbers for everyone else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .markup import Markup, join, tag
from .palette import DASHES, SERIES

WIDTH, HEIGHT = 420, 310
LEFT, RIGHT, TOP = 46, 14, 12
CHARACTER = 6.6  # average width of a digit or letter at the charts' font size, in the units of the view box
LEAST = 1e-6  # of percents and counts: what is lower is 0 on any axis
DODGE = 0.14  # between the marks of two models at one label, where no line joins them


@dataclass(frozen=True)
class Point:
    """A value with its interval, in the unit of the axis.

    Attributes:
        x: Where on the axis.
        y: The value; NaN leaves a gap.
        title: Shown on hovering.
        low: Lower bound of the interval; NaN without one.
        high: Upper bound.
        few: Whether it stands on too few images to conclude from: drawn hollow.
    """

    x: float
    y: float
    title: str
    low: float = math.nan
    high: float = math.nan
    few: bool = False

    @property
    def is_drawn(self) -> bool:
        """Whether there is a value."""
        return math.isfinite(self.y)

    @property
    def has_interval(self) -> bool:
        """Whether there is an interval."""
        return math.isfinite(self.low) and math.isfinite(self.high)


@dataclass(frozen=True)
class Line:
    """One model's points, from left to right."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Bar:
    """One stacked bar: ``(kind, value, title)`` from the axis upwards; ``few`` as in :class:`Point`."""

    parts: Sequence[tuple[str, float, str]]
    few: bool = False

    @property
    def height(self) -> float:
        """Sum of the finite values."""
        return sum(value for _, value, _ in self.parts if math.isfinite(value))


def line_chart(
    lines: Sequence[Line],
    ticks: Sequence[tuple[float, str]],
    title: str,
    axes: tuple[str, str],
    identity: str,
    joined: bool = True,
) -> Markup:
    """Lines over an axis, their intervals as bands; single points, and points not joined, have whiskers instead.

    Args:
        lines: One a model, coloured in this order.
        ticks: Positions and labels of the horizontal axis; at least one.
        title: What the chart shows, read out by screen readers.
        axes: Labels of the horizontal and the vertical axis.
        identity: Unique in the page.
        joined: Whether neighbouring points lie on one scale and are joined.
    """
    highest = max(
        (max(p.y, p.high if p.has_interval else p.y) for line in lines for p in line.points if p.is_drawn), default=0
    )
    pad = 0.25 if joined else 0.5
    first, last = ticks[0][0], ticks[-1][0]
    gap = (last - first) / (len(ticks) - 1) if len(ticks) > 1 else 1.0
    frame = _Frame(first - pad * gap, last + pad * gap, highest, [label for _, label in ticks])
    drawn = [
        _line(line, i, frame, joined, 0 if joined else (i - (len(lines) - 1) / 2) * DODGE * gap)
        for i, line in enumerate(lines)
    ]
    return _svg(title, identity, frame, ticks, axes, drawn)


def stacked_chart(
    bars: Sequence[Bar],
    labels: Sequence[str],
    title: str,
    axes: tuple[str, str],
    identity: str,
    highest: float | None = None,
) -> Markup:
    """Stacked bars, one a label; arguments as in :func:`line_chart`.

    Args:
        highest: Upper end of the axis, for charts that are compared; by default the highest bar.
    """
    highest = max((bar.height for bar in bars), default=0) if highest is None else highest
    frame = _Frame(-0.5, len(labels) - 0.5, highest, labels)
    ticks = list(enumerate(labels))
    return _svg(title, identity, frame, ticks, axes, [_bar(bar, i, frame) for i, bar in enumerate(bars)])


def key(index: int) -> Markup:
    """A line's sample for the legend."""
    style = index % len(SERIES)
    line = tag('line', x1=1, x2=35, y1=8, y2=8, stroke_dasharray=DASHES[index % len(DASHES)] or None)
    content = line, _marker(18, 8, index)
    return tag('svg', *content, class_=f'key series-{style}', viewBox='0 0 36 16', aria_hidden='true')


def kind_key(kind: str) -> Markup:
    """A kind's sample for the legend."""
    swatch = tag('rect', x=2, y=2, width=12, height=12, class_=f'kind-{kind}')
    return tag('svg', swatch, class_='swatch', viewBox='0 0 16 16', aria_hidden='true')


def nice_ticks(highest: float, count: int = 5) -> list[float]:
    """Round steps (1, 2 or 5 times a power of ten) from 0 to at least ``highest``, about ``count`` of them."""
    if not math.isfinite(highest) or highest < LEAST:
        highest = 1.0
    rough = highest / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return [round(i * step, 12) for i in range(math.ceil(highest / step - 1e-9) + 1)]


class _Frame:
    """From values to the view box."""

    def __init__(self, left: float, right: float, highest: float, labels: Sequence[str]) -> None:
        self.ticks = nice_ticks(highest)
        self._left, self._width = left, right - left
        room = (WIDTH - LEFT - RIGHT) / len(labels)
        longest = max(map(len, labels)) * CHARACTER
        # Labels that would touch one another are turned, and need room in height instead.
        self.turned = longest + 4 > room
        self.bottom = HEIGHT - 42 - (0.72 * longest if self.turned else 8)

    def x(self, value: float) -> float:
        return LEFT + (value - self._left) / self._width * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return self.bottom - value / self.ticks[-1] * (self.bottom - TOP)


def _svg(
    title: str,
    identity: str,
    frame: _Frame,
    ticks: Sequence[tuple[float, str]],
    axes: tuple[str, str],
    content: Sequence[Markup],
) -> Markup:
    grid = [
        join([
            tag('line', x1=LEFT, x2=WIDTH - RIGHT, y1=_n(y), y2=_n(y), class_='axis' if value == 0 else 'grid'),
            tag('text', f'{value:g}', x=LEFT - 7, y=_n(y + 4), text_anchor='end'),
        ])
        for value in frame.ticks
        for y in [frame.y(value)]
    ]  # fmt: skip
    labels = [_tick_label(frame.x(at), frame.bottom + 16, label, frame.turned) for at, label in ticks]
    middle = (TOP + frame.bottom) / 2
    names = [
        tag('text', axes[0], x=_n((LEFT + WIDTH - RIGHT) / 2), y=HEIGHT - 8, text_anchor='middle', class_='name'),
        tag(
            'text', axes[1], x=13, y=_n(middle), text_anchor='middle', class_='name',
            transform=f'rotate(-90 13 {_n(middle)})',
        ),
    ]  # fmt: skip
    return tag(
        'svg',
        tag('title', title, id=identity),
        *grid,
        *labels,
        *names,
        *content,
        class_='chart',
        viewBox=f'0 0 {WIDTH} {HEIGHT}',
        role='img',
        aria_labelledby=identity,
    )


def _tick_label(x: float, y: float, label: str, turned: bool) -> Markup:
    if not turned:
        return tag('text', label, x=_n(x), y=_n(y), text_anchor='middle')
    x, y = _n(x + 4), _n(y - 4)
    return tag('text', label, x=x, y=y, text_anchor='end', transform=f'rotate(-45 {x} {y})')


def _line(line: Line, index: int, frame: _Frame, joined: bool, shift: float) -> Markup:
    parts = []
    for run in _runs(line.points) if joined else [[point] for point in line.points if point.is_drawn]:
        at = [(frame.x(point.x + shift), frame.y(point.y)) for point in run]
        if len(run) > 1:
            parts += _bands(run, frame)
            path = 'M' + 'L'.join(f'{_n(x)} {_n(y)}' for x, y in at)
            parts.append(tag('path', d=path, class_='line', stroke_dasharray=DASHES[index % len(DASHES)] or None))
        elif run[0].has_interval:
            low, high = frame.y(run[0].low), frame.y(run[0].high)
            parts.append(tag('path', d=f'M{_n(at[0][0])} {_n(low)}V{_n(high)}', class_='whisker'))
        parts += [_marker(x, y, index, point.title, point.few) for (x, y), point in zip(at, run, strict=True)]
    return tag('g', *parts, class_=f'series-{index % len(SERIES)}')


def _bands(run: Sequence[Point], frame: _Frame) -> list[Markup]:
    """Intervals as areas; a point without interval interrupts them."""
    bands = []
    for part in _split(run, [point.has_interval for point in run]):
        upper = [f'{_n(frame.x(point.x))} {_n(frame.y(point.high))}' for point in part]
        lower = [f'{_n(frame.x(point.x))} {_n(frame.y(point.low))}' for point in reversed(part)]
        bands.append(tag('path', d='M' + 'L'.join(upper + lower) + 'Z', class_='band'))
    return bands


def _runs(points: Sequence[Point]) -> list[list[Point]]:
    return _split(points, [point.is_drawn for point in points])


def _split(points: Sequence[Point], kept: Sequence[bool]) -> list[list[Point]]:
    """The longest stretches of neighbours that are all kept."""
    runs: list[list[Point]] = [[]]
    for point, keep in zip(points, kept, strict=True):
        if keep:
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _marker(x: float, y: float, index: int, title: str | None = None, few: bool = False) -> Markup:
    """Circle, square, triangle or diamond, by the line's index."""
    shape = index % 4
    if shape == 0:
        outline = f'M{_n(x - 4)} {_n(y)}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z'
    elif shape == 1:
        outline = f'M{_n(x - 3.6)} {_n(y - 3.6)}h7.2v7.2h-7.2Z'
    elif shape == 2:
        outline = f'M{_n(x)} {_n(y - 5)}l4.6 8.2h-9.2Z'
    else:
        outline = f'M{_n(x)} {_n(y - 5)}l5 5l-5 5l-5 -5Z'
    name = None if title is None else tag('title', title)
    return tag('path', name, d=outline, class_='marker few' if few else 'marker')


def _bar(bar: Bar, index: int, frame: _Frame) -> Markup:
    width = 0.72 * (frame.x(1) - frame.x(0))
    parts, base = [], 0.0
    for kind, value, title in bar.parts:
        if not math.isfinite(value) or value <= 0:
            continue
        top, bottom = frame.y(base + value), frame.y(base)
        # A gap in the colour of the page parts the kinds without help of colour.
        height = max(bottom - top - 1, 0.4)
        x = frame.x(index) - width / 2
        parts.append(
            tag(
                'rect', tag('title', title), x=_n(x), y=_n(top), width=_n(width), height=_n(height),
                class_=f'kind-{kind}' + (' few' if bar.few else ''),
            )
        )  # fmt: skip
        base += value
    return tag('g', *parts)


def _n(value: float) -> str:
    """A coordinate, to a hundredth of a unit."""
    return f'{value:.2f}'.rstrip('0').rstrip('.')
