import math
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhybrid.occlusion.show.report import palette
from mmhybrid.occlusion.show.report.charts import Bar, Line, Point, line_chart, nice_ticks, stacked_chart

from . import pages

NAN = math.nan
VALUES = st.one_of(st.floats(0, 100), st.just(NAN))


def read(chart):
    return pages.read(f'<!DOCTYPE html>\n{chart}').first('svg')


def axis(svg):
    """From a height in the drawing back to a value, worked out from the labels of the grid."""
    marks = [
        (float(line.attributes['y1']), float(label.text))
        for line, label in zip(
            (n for n in svg.all('line') if n.attributes['class'] in ('grid', 'axis')),
            svg.all('text', text_anchor='end'),
            strict=False,
        )
    ]
    (y0, v0), (y1, v1) = marks[0], marks[-1]
    return lambda y: v0 + (y - y0) / (y1 - y0) * (v1 - v0)


def numbers(path):
    return [float(n) for n in re.findall(r'-?[\d.]+', path)]


@settings(max_examples=200, deadline=None)
@given(st.floats(1e-6, 1e9), st.integers(2, 8))
def test_nice_ticks(highest, count):
    ticks = nice_ticks(highest, count)
    steps = [b - a for a, b in pairwise(ticks)]
    assert ticks[0] == 0 and ticks[-1] >= highest * (1 - 1e-6) and 2 <= len(ticks) <= count + 2
    assert max(steps) == pytest.approx(min(steps), rel=1e-3, abs=1e-11)
    if highest > 1e-3:
        leading = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-9)
        assert min(abs(leading - nice) for nice in (1, 2, 5, 10)) < 1e-6


@pytest.mark.parametrize('highest', [0, -1, NAN, math.inf])
def test_ticks_without_values(highest):
    assert nice_ticks(highest)[0] == 0 and nice_ticks(highest)[-1] == 1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(VALUES, st.floats(0, 5), st.booleans()), min_size=1, max_size=12), st.booleans())
def test_line_chart_puts_every_value_at_its_height(values, joined):
    points = [Point(float(i), y, f'p{i}', y - d, y + d, few) for i, (y, d, few) in enumerate(values)]
    ticks = [(float(i), str(i)) for i in range(len(values))]
    svg = read(line_chart([Line('m', points)], ticks, 'T <1>', ('x', 'y'), 'c', joined))
    assert svg.first('title').text == 'T <1>' and svg.attributes['aria-labelledby'] == 'c'
    value_at = axis(svg)
    drawn = {}
    for path in svg.all('path'):
        if path.attributes['class'].startswith('marker'):
            drawn[path.first('title').text] = value_at(numbers(path.attributes['d'])[1]), path.attributes['class']
    expected = {p.title: (p.y, 'marker few' if p.few else 'marker') for p in points if p.is_drawn}
    assert drawn.keys() == expected.keys()
    for title, (y, name) in expected.items():
        assert drawn[title][0] == pytest.approx(y, abs=0.2) and drawn[title][1] == name


def test_gaps_bands_and_whiskers():
    ys = [1, 2, NAN, 4, NAN, 6, 7, 8]
    lows = [0.5, 1.5, 0, 3, 0, NAN, 6, 7]
    points = [Point(float(i), y, str(i), low, y + 1) for i, (y, low) in enumerate(zip(ys, lows, strict=True))]
    svg = read(line_chart([Line('m', points)], [(float(i), str(i)) for i in range(8)], 'T', ('x', 'y'), 'c'))
    lines = [len(numbers(p.attributes['d'])) // 2 for p in svg.all('path', class_='line')]
    bands = [len(numbers(p.attributes['d'])) // 4 for p in svg.all('path', class_='band')]
    assert lines == [2, 3]  # 1 2 | 4 alone | 6 7 8
    assert bands == [2, 2]  # 1 2 | 7 8: the point 6 has no interval
    (whisker,) = svg.all('path', class_='whisker')
    _, low, high = numbers(whisker.attributes['d'])
    assert axis(svg)(low) == pytest.approx(3, abs=0.05) and axis(svg)(high) == pytest.approx(5, abs=0.05)


def test_points_not_joined_stand_beside_each_other():
    lines = [Line(name, [Point(0.0, 1.0, name, 0.5, 1.5), Point(1.0, 2.0, name)]) for name in 'abc']
    svg = read(line_chart(lines, [(0.0, 'p'), (1.0, 'q')], 'T', ('x', 'y'), 'c', joined=False))
    assert not list(svg.all('path', class_='line')) and len(list(svg.all('path', class_='whisker'))) == 3
    xs = [numbers(p.attributes['d'])[0] for p in svg.all('path', class_='whisker')]
    assert xs == sorted(xs) and xs[1] - xs[0] > 5


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(VALUES, min_size=4, max_size=4), min_size=1, max_size=12))
def test_stacked_chart_heights(stacks):
    kinds = tuple(palette.KINDS)
    bars = [Bar([(k, v, f'{i} {k}') for k, v in zip(kinds, values, strict=True)]) for i, values in enumerate(stacks)]
    svg = read(stacked_chart(bars, [str(i) for i in range(len(bars))], 'T', ('x', 'y'), 'c'))
    value_at = axis(svg)
    tops = {rect.first('title').text: float(rect.attributes['y']) for rect in svg.all('rect')}
    for i, values in enumerate(stacks):
        base = 0.0
        for kind, value in zip(kinds, values, strict=True):
            if value > 0:
                base += value
                assert value_at(tops.pop(f'{i} {kind}')) == pytest.approx(base, abs=1.5)
    assert not tops


def test_charts_are_compared_on_one_axis():
    charts = [read(stacked_chart([Bar([('partial', v, 't')])], ['a'], 'T', ('x', 'y'), 'c', 10)) for v in (1, 10)]
    assert len({axis(svg)(100) for svg in charts}) == 1


def test_nothing_leaves_the_drawing():
    labels = [f'0.{i}–0.{i + 1}' for i in range(9)] + ['a very long l…']
    bars = [Bar([('partial', 1e6, 't')])] * 10
    svg = read(stacked_chart(bars, labels, 'T', ('x', 'y'), 'c'))
    _, _, width, height = numbers(svg.attributes['viewbox'])
    for text in svg.all('text'):
        assert 0 <= float(text.attributes['x']) <= width and 0 <= float(text.attributes['y']) <= height
        if 'rotate(-45' in text.attributes.get('transform', ''):
            assert float(text.attributes['y']) + 0.72 * 6.6 * len(text.text) < height - 18  # above the axis' name


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    """WCAG 2.2."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize('which', [0, 1], ids=['light', 'dark'])
def test_contrast(which):
    assert contrast('#000000', '#ffffff') == pytest.approx(21)
    page = {name: pair[which] for name, pair in palette.PAGE.items()}
    for ground in ('ground', 'panel'):
        for text in ('ink', 'muted', 'link'):
            assert contrast(page[text], page[ground]) >= 4.5, (text, ground)
    for name, pair in [*enumerate(palette.SERIES), *palette.KINDS.items()]:
        assert contrast(pair[which], page['ground']) >= 3, name
    for colour in palette.PICTURE.values():
        assert contrast(colour, '#000000') >= 4.5  # labels' text is black


def test_css_defines_every_colour_that_it_uses():
    css = palette.css()
    used = set(re.findall(r'var\((--[\w-]+)\)', css))
    light, dark = (set(re.findall(r'(--[\w-]+):', part)) for part in css.split('@media', 1))
    assert used <= light == dark
