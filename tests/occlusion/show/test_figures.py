import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.transforms import Affine2D

from mmhybrid.errors import InputError
from mmhybrid.figure_style import LIGHT, THEMES, model_series, wrap
from mmhybrid.occlusion.results import Measure
from mmhybrid.occlusion.show.figures import plot_ap, plot_errors, plot_recall
from mmhybrid.occlusion.show.figures.panels import compact
from mmhybrid.occlusion.strata import all_images, bins, coco_occ, cumulative, groups

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
    'one model': lambda: plot_ap(models(1)),
    'six models': lambda: plot_ap(models(6)),
    'four models, bbox and segm': lambda: plot_ap(models(4) + models(4, iou_type='segm')),
    'empty strata': lambda: plot_ap(unfilled(models(2))),
    'open bins': lambda: plot_ap(models(1, PAIRWISE, strata=OPEN)),
    'quartiles': lambda: plot_ap(models(2, Measure('brightness', 'user', ''), strata=QUARTILES)),
    'many bins': lambda: plot_ap(models(1, strata=(all_images(), *bins(np.linspace(0, 1, 21))))),
    'thresholds only': lambda: plot_ap(models(3, strata=(all_images(), *cumulative()))),
    'groups, four models': lambda: plot_ap(models(4, Measure('weather', 'user', ''), strata=GROUPS)),
    'preset of pairs': lambda: plot_ap(models(2, strata=coco_occ())),
    'recall, four models': lambda: plot_recall(models(4) + models(4, iou_type='segm')),
    'errors, three models': lambda: plot_errors(models(3)),
    'all images alone': lambda: plot_ap(models(2, strata=(all_images(),))),
    # As the report has them.
    'six models, narrow': lambda: plot_ap(models(6), families=['bin'], width=5),
    'groups, narrow': lambda: plot_ap(models(2, strata=GROUPS), width=5),
    'recall, narrow': lambda: plot_recall(models(6), metrics=['recall50'], width=5),
    'errors, narrow': lambda: plot_errors(models(2), parts=['share'], width=5),
}


@pytest.mark.parametrize('case', CASES)
def test_no_words_are_cut_or_touch(case):
    figure = CASES[case]()
    # The layout is done; nothing needs to be drawn to measure the words.
    renderer = FigureCanvasAgg(figure).get_renderer()
    unseen = unseen_tick_labels(figure)
    outlines = {}
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and text not in unseen:
            outlines[text] = outline(text, renderer)
    assert len(outlines) >= 7
    for text, path in outlines.items():
        box = path.get_extents()
        assert box.x0 >= 0 and box.y0 >= 0, text
        assert box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height, text
    for (one, a), (other, b) in combinations(outlines.items(), 2):
        assert not a.intersects_path(b, filled=True), (one.get_text(), other.get_text())


def outline(text, renderer):
    """A quarter of a pixel within the text's rectangle, which may be turned."""
    angle = text.get_rotation()
    if angle % 90 == 0:
        return box_path(text.get_window_extent(renderer))
    text.set_rotation(0)
    path = box_path(text.get_window_extent(renderer))
    text.set_rotation(angle)
    return path.transformed(Affine2D().rotate_deg_around(*text.get_transform().transform(text.get_position()), angle))


def box_path(box):
    return Path([(x, y) for x, y in [
        (box.x0 + 0.25, box.y0 + 0.25), (box.x1 - 0.25, box.y0 + 0.25), (box.x1 - 0.25, box.y1 - 0.25),
        (box.x0 + 0.25, box.y1 - 0.25), (box.x0 + 0.25, box.y0 + 0.25),
    ]])  # fmt: skip


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

    # WCAG 2: 4.5 for text, 3 for marks.
    assert contrast(look.text) > 7 and contrast(look.muted) > 4.5
    assert min(map(contrast, (*look.models, *look.kinds))) > 3


def test_figures_are_drawn_in_the_light_theme():
    figure = plot_ap(models(2))
    assert to_hex(figure.get_facecolor()) == LIGHT.background
    assert to_hex(figure.axes[0].yaxis.label.get_color()) == LIGHT.text


def test_models_differ_in_more_than_colour():
    series = model_series([f'model {i}' for i in range(12)]).values()
    first = list(series)[:6]
    assert len({each.colour for each in first}) == len({each.marker for each in first}) == 6
    assert len({each.dash for each in first}) == 6
    assert len({(each.colour, each.marker) for each in series}) == 12


def values_at_marks(axes):
    """Each curve's values, hollow marks among them, by place."""
    curves = []
    lines = [line for line in axes.lines if line.get_marker() not in ('None', '', None)]
    for filled, hollow in zip(lines[::2], lines[1::2], strict=True):
        points = [*zip(filled.get_xdata(), filled.get_ydata(), strict=True)]
        points += zip(hollow.get_xdata(), hollow.get_ydata(), strict=True)
        curves.append([y for _, y in sorted(points)])
    return curves


def test_recall_lines():
    two = models(2)
    first, second, counts = plot_recall(two).axes
    for axes, metric in ((first, 'recall50'), (second, 'recall75')):
        assert values_at_marks(axes) == [[100 * getattr(row, metric) for row in each.instances] for each in two]
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
    assert [label.get_text() for label in left.get_yticklabels()][-1] == '0.9 < r ≤ 1 *'


@pytest.mark.parametrize('plot', [plot_ap, plot_recall, plot_errors])
def test_nothing_to_draw(plot):
    with pytest.raises(InputError, match='nothing to draw'):
        plot([])


@pytest.mark.parametrize('plot', [plot_recall, plot_errors])
def test_results_without_the_detail(plot):
    with pytest.raises(InputError, match='no result has'):
        plot([result(full=False)])
    assert len(plot([result(full=False), result('full')]).axes) == len(plot([result('full')]).axes)


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
