import math
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.text import Text

from mmhybrid.errors import InputError
from mmhybrid.occlusion.results import Measure
from mmhybrid.occlusion.show.figures import plot_ap, plot_errors, plot_recall
from mmhybrid.occlusion.show.figures.axis import RatioAxis
from mmhybrid.occlusion.show.figures.style import THEMES, compact, model_series, wrap
from mmhybrid.occlusion.strata import Stratum, all_images, bins, coco_occ, cumulative, groups, tbc

from ..sample import result

LONG = 'work_dirs/a_very_long_folder_of_an_experiment_with_$x$_options/epoch_12.bbox'
NAMES = ('TiedResNet-50', LONG, 'Swin & <T>', 'ConvNeXt', 'HRNet', 'VGG')
GROUPS = (all_images(), *groups(['day', 'night', 'a very long label of the weather in the table of the user', 'x']))
PAIRWISE = Measure('r', 'pairwise', 'bbox')


def models(count, measure=None, **options):
    made = [result(NAMES[i], shift=0.03 * i, **options) for i in range(count)]
    return [replace(each, measure=measure) if measure else each for each in made]


def unfilled(results):
    """Without ground truth from r > 0.3 on."""
    nothing = {'ap': math.nan, 'ap50': math.nan, 'ap75': math.nan, 'intervals': {}, 'num_images': 0}
    return [
        replace(each, strata=tuple(replace(row, **nothing) if row.stratum.lower > 0.3 else row for row in each.strata))
        for each in results
    ]


OPEN = (all_images(), *bins((0, 0.25, 0.5, 1, 1.5, math.inf)), *cumulative((0, 0.5, 1)))
QUARTILES = (all_images(), *bins((-math.inf, 12.3456, 15.7891, 21.25, math.inf), 'brightness'))
CASES = {
    'one model': lambda theme: plot_ap(models(1), theme=theme),
    'six models': lambda theme: plot_ap(models(6), theme=theme),
    'four models, bbox and segm': lambda theme: plot_ap(models(4) + models(4, iou_type='segm'), theme=theme),
    'empty strata': lambda theme: plot_ap(unfilled(models(2)), theme=theme),
    'open bins': lambda theme: plot_ap(models(1, PAIRWISE, strata=OPEN), theme=theme),
    'quartiles': lambda theme: plot_ap(models(2, Measure('brightness', 'user', ''), strata=QUARTILES), theme=theme),
    'many bins': lambda theme: plot_ap(models(1, strata=(all_images(), *bins(np.linspace(0, 1, 21)))), theme=theme),
    'thresholds only': lambda theme: plot_ap(models(3, strata=(all_images(), *cumulative())), theme=theme),
    'groups, four models': lambda theme: plot_ap(models(4, Measure('weather', 'user', ''), strata=GROUPS), theme=theme),
    'preset of pairs': lambda theme: plot_ap(models(2, strata=coco_occ()), theme=theme),
    'recall, four models': lambda theme: plot_recall(models(4) + models(4, iou_type='segm'), theme=theme),
    'errors, three models': lambda theme: plot_errors(models(3), theme=theme),
}


@pytest.mark.parametrize('case', CASES)
def test_no_words_are_cut_or_touch(case):
    figure = CASES[case]('light')
    # The layout is done; nothing needs to be drawn to measure the words.
    renderer = FigureCanvasAgg(figure).get_renderer()
    unseen = unseen_tick_labels(figure)
    boxes = {}
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and text not in unseen:
            boxes[text] = text.get_window_extent(renderer)
    assert len(boxes) > 10
    for text, box in boxes.items():
        assert box.x0 >= 0 and box.y0 >= 0, text
        assert box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height, text
    for (one, a), (other, b) in combinations(boxes.items(), 2):
        overlap = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(overlap) <= 0.5, (one.get_text(), other.get_text())


def unseen_tick_labels(figure):
    """Labels of ticks beyond the limits, which matplotlib makes and does not draw, and of shared axes."""
    unseen = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if not low <= tick.get_loc() <= high:
                    unseen |= {tick.label1, tick.label2}
    return unseen


@pytest.mark.parametrize('theme', THEMES)
def test_themes_tell_text_and_series_from_the_background(theme):
    look = THEMES[theme]

    def luminance(colour):
        parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        parts = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(parts @ (0.2126, 0.7152, 0.0722))

    def contrast(colour):
        a, b = sorted((luminance(colour), luminance(look.background)))
        return (b + 0.05) / (a + 0.05)

    # WCAG 2: 4.5 for text.
    assert contrast(look.text) > 7 and contrast(look.muted) > 4.5
    assert min(map(contrast, (*look.models, *look.metrics, *look.kinds))) > 2
    figure = plot_ap(models(2), theme=theme)
    assert to_hex(figure.get_facecolor()).upper() == look.background
    assert to_hex(figure.axes[0].yaxis.label.get_color()).upper() == look.text


def test_one_model_shows_every_stratum():
    one = result()
    figure = plot_ap([one])
    upper, lower = figure.axes
    assert upper.get_ylabel() == 'COCO AP (%)' and lower.get_xlabel() == one.measure.label
    assert upper.get_xlim() == lower.get_xlim()
    for line, metric in zip(
        [line for line in upper.lines if len(line.get_xdata()) == 9], ('ap', 'ap50', 'ap75'), strict=True
    ):
        assert list(line.get_xdata()) == [row.stratum.lower for row in one.cumulative]
        assert list(line.get_ydata()) == [100 * getattr(row, metric) for row in one.cumulative]
    heights = [bar.get_height() for bar in lower.patches]
    assert heights == [row.num_images for row in one.bins]
    hollow = [bar.get_facecolor()[:3] == (1, 1, 1) for bar in lower.patches]
    assert hollow == [row.num_images < 10 for row in one.bins]


def test_bands_are_the_intervals():
    one = result()
    axes = plot_ap([one, result('b')]).axes[0]
    band = axes.collections[0].get_paths()[0].vertices
    at = one.cumulative[3]
    y = band[np.isclose(band[:, 0], at.stratum.lower), 1]
    assert y.min() == pytest.approx(100 * at.intervals['ap'].low)
    assert y.max() == pytest.approx(100 * at.intervals['ap'].high)
    assert not plot_ap([result(full=False), result('b', full=False)]).axes[0].collections


def test_several_models_have_panels_for_thresholds_and_bins():
    both = models(2)
    above, middle, below = plot_ap(both).axes
    assert 'r ≥ t' in above.get_title(loc='left') and 'bin' in middle.get_title(loc='left')
    lines = [line for line in above.lines if len(line.get_xdata()) == 9]
    assert [list(line.get_ydata()) for line in lines] == [[100 * r.ap for r in each.cumulative] for each in both]
    points = [line for line in middle.lines if line.get_marker() not in ('None', '')]
    values = [line.get_ydata()[0] for line in points]
    assert np.allclose(values, [100 * row.ap for each in both for row in each.bins], equal_nan=True)
    for point, row in zip(points, both[0].bins, strict=False):
        low, high = RatioAxis.of(tbc(), 'r').span(row.stratum)
        assert low < point.get_xdata()[0] < high
    assert len(below.patches) == 11


def test_models_differ_in_more_than_colour():
    series = model_series([f'model {i}' for i in range(12)], THEMES['light']).values()
    first = list(series)[:6]
    assert len({each.colour for each in first}) == len({each.marker for each in first}) == 6
    assert len({each.dash for each in first}) == 6
    assert len({(each.colour, each.marker) for each in series}) == 12


def test_groups_are_bars_with_names():
    one = models(1, Measure('weather', 'user', ''), strata=GROUPS)[0]
    left, right = plot_ap([one]).axes
    labels = [label.get_text() for label in left.get_yticklabels()]
    assert labels[:3] == ['all', 'day', 'night'] and labels[4] == 'x'
    assert [bar.get_width() for bar in left.patches] == [100 * row.ap for row in one.strata]
    assert sorted(bar.get_width() for bar in right.patches) == sorted(row.num_images for row in one.strata)


def test_recall_lines():
    two = models(2)
    first, second, counts = plot_recall(two).axes
    for axes, metric in ((first, 'recall50'), (second, 'recall75')):
        lines = [list(line.get_ydata()) for line in axes.lines if len(line.get_xdata()) == 6]
        assert lines == [[100 * getattr(row, metric) for row in each.instances] for each in two]
    assert [label.get_text() for label in counts.get_xticklabels()][:3] == ['0', '0–0.2', '0.2–0.4']
    assert counts.get_xlabel() == 'covered fraction f (bbox) of the instance'
    assert [bar.get_height() for bar in counts.patches] == [1200] * 6


def test_errors_add_up():
    one = result()
    left, right = plot_errors([one]).axes
    rows = (one.all, *one.bins)
    per_image = np.array([bar.get_width() for bar in left.patches]).reshape(4, len(rows)).sum(0)
    assert per_image == pytest.approx([r.errors.false_positives / r.num_images if r.num_images else 0 for r in rows])
    shares = np.array([bar.get_width() for bar in right.patches]).reshape(4, len(rows))
    assert shares.sum(0) == pytest.approx([100 if row.num_images else 0 for row in rows])
    assert [label.get_text() for label in left.get_yticklabels()][-1] == '0.9 < r <= 1 *'


@pytest.mark.parametrize('plot', [plot_ap, plot_recall, plot_errors])
def test_nothing_to_draw(plot):
    with pytest.raises(InputError, match='nothing to draw'):
        plot([])
    with pytest.raises(InputError, match="unknown theme 'blue'"):
        plot([result()], theme='blue')


@pytest.mark.parametrize('plot', [plot_recall, plot_errors])
def test_results_without_the_detail(plot):
    with pytest.raises(InputError, match='no result has'):
        plot([result(full=False)])
    assert len(plot([result(full=False), result('full')]).axes) == len(plot([result('full')]).axes)


@pytest.mark.parametrize(
    'strata, fits',
    [
        (tbc(), True),
        (OPEN, True),
        (QUARTILES, True),
        (cumulative((0, 0.5)), True),
        (bins((0, 0.5, 1)) + cumulative((0, 2)), True),
        (bins((0, 0.5, math.inf)) + cumulative((0, 2)), True),
        (cumulative((0.2,)), False),
        (coco_occ(), False),
        (bins((0, 0.01, 0.5, 1)), False),
        (tuple(Stratum(f'n = {i}', i, i, 'bin') for i in range(3)), False),
        (GROUPS, False),
    ],
)
def test_axis(strata, fits):
    axis = RatioAxis.of(strata, 'r')
    assert (axis is not None) == fits
    if fits:
        spans = sorted(axis.span(part) for part in strata if part.kind == 'bin')
        assert all(low < high for low, high in spans)
        assert all(a[1] <= b[0] + 1e-12 for a, b in pairwise(spans))


@pytest.mark.parametrize(
    'count, text', [(0, '0'), (9999, '9999'), (10_000, '10k'), (118_287, '118k'), (1_250_000, '1.2M')]
)
def test_compact(count, text):
    assert compact(count) == text


@pytest.mark.parametrize('name', ['x', LONG * 4, 'words ' * 60, 'a\nb', ''])
def test_wrap(name):
    lines = wrap(name, 20).split('\n')
    assert len(lines) <= 3 and max(map(len, lines)) <= 20
    if len(name) < 20:
        assert ' '.join(lines) == name.replace('\n', ' ')


@pytest.mark.parametrize('shift', [-0.2, 0, 0.5])
def test_every_value_is_on_the_axis(shift):
    for one in (result('a', shift=shift), result('b', full=False)):
        for results in ([one], [one, result('c')]):
            axes = plot_ap(results).axes[0]
            low, high = axes.get_ylim()
            assert low >= 0 and (len(results) > 1 or low == 0)
            values = [100 * row.ap for each in results for row in each.cumulative if row.ap >= 0]
            assert low <= min(values) and max(values) <= high
