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
from mmhybrid.occlusion.results import Measure
from mmhybrid.occlusion.show.figures import ap_families, plot_ap, plot_errors, plot_recall
from mmhybrid.occlusion.show.figures.panels import compact
from mmhybrid.occlusion.show.figures.style import LIGHT, THEMES, model_series, wrap
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


def values_at_marks(axes):
    """Each curve's values, hollow marks among them, by place."""
    curves = []
    lines = [line for line in axes.lines if line.get_marker() not in ('None', '', None)]
    for filled, hollow in zip(lines[::2], lines[1::2], strict=True):
        points = [*zip(filled.get_xdata(), filled.get_ydata(), strict=True)]
        points += zip(hollow.get_xdata(), hollow.get_ydata(), strict=True)
        curves.append([y for _, y in sorted(points)])
    return curves


def test_one_model_shows_every_stratum():
    one = result()
    bin_axes, cumulative_axes, bin_counts, cumulative_counts = plot_ap([one]).axes
    assert bin_axes.get_ylabel() == 'AP (%)' and bin_counts.get_xlabel() == one.measure.label
    assert bin_axes.get_xlim() == bin_counts.get_xlim()
    for axes, rows in ((bin_axes, (one.all, *one.bins)), (cumulative_axes, one.cumulative)):
        expected = [[100 * getattr(row, metric) for row in rows] for metric in ('ap', 'ap50', 'ap75')]
        assert np.allclose(values_at_marks(axes), expected, equal_nan=True)
    assert [bar.get_height() for bar in bin_counts.patches] == [0, *(row.num_images for row in one.bins)]
    assert [text.get_text() for text in bin_counts.texts][:3] == ['5000', '900', '900']
    assert [bar.get_height() for bar in cumulative_counts.patches] == [row.num_images for row in one.cumulative]
    hollow = [bar.get_facecolor()[:3] == (1, 1, 1) for bar in bin_counts.patches]
    assert hollow == [row.num_images < 10 for row in (one.all, *one.bins)]
    labels = [label.get_text() for label in bin_counts.get_xticklabels()]
    assert labels[:4] == ['all', '0', '0–0.1', '0.1–0.2'] and len(labels) == 12


def test_intervals_are_bands_and_whiskers():
    one = result()
    bin_axes, cumulative_axes, *_ = plot_ap([one, result('b')]).axes
    band = next(each for each in cumulative_axes.collections if len(each.get_paths()[0].vertices) > 2)
    vertices = band.get_paths()[0].vertices
    at = one.cumulative[3].intervals['ap']
    y = vertices[np.isclose(vertices[:, 0], 3), 1]
    assert y.min() == pytest.approx(100 * at.low) and y.max() == pytest.approx(100 * at.high)
    whiskers = bin_axes.collections[0].get_segments()
    spans = [row.intervals['ap'] for row in (one.all, *one.bins) if row.num_images]
    assert np.allclose([[low, high] for (_, low), (_, high) in whiskers], [[100 * s.low, 100 * s.high] for s in spans])
    plain = plot_ap([result(full=False), result('b', full=False)])
    assert not any(each.get_segments() for axes in plain.axes for each in axes.collections if each.get_paths())


def test_a_point_between_gaps_has_a_whisker_instead_of_a_band():
    one = result(strata=(all_images(), *cumulative((0, 0.2, 0.4))))
    gap = {'ap': math.nan, 'intervals': {}}
    rows = [replace(row, **gap) if row.stratum.lower != 0.2 else row for row in one.strata]
    other = result('b', strata=[row.stratum for row in one.strata])
    axes = plot_ap([replace(one, strata=tuple(rows)), other], families=['cumulative']).axes[0]
    (((_, low), (_, high)),) = axes.collections[1].get_segments()
    at = one.cumulative[1].intervals['ap']
    assert (low, high) == pytest.approx((100 * at.low, 100 * at.high))


def test_several_models_have_panels_for_thresholds_and_bins():
    both = models(2)
    bin_axes, cumulative_axes, *_ = plot_ap(both).axes
    assert 'bin' in bin_axes.get_title(loc='left') and 'r ≥ t' in cumulative_axes.get_title(loc='left')
    expected = [[100 * row.ap for row in (each.all, *each.bins)] for each in both]
    assert np.allclose(values_at_marks(bin_axes), expected, equal_nan=True)
    assert np.allclose(values_at_marks(cumulative_axes), [[100 * row.ap for row in each.cumulative] for each in both])
    assert ap_families(both) == ['bin', 'cumulative']
    assert plot_ap(both, families=['bin']).axes[0].get_title(loc='left') == 'bbox AP in each bin'


def test_models_differ_in_more_than_colour():
    series = model_series([f'model {i}' for i in range(12)]).values()
    first = list(series)[:6]
    assert len({each.colour for each in first}) == len({each.marker for each in first}) == 6
    assert len({each.dash for each in first}) == 6
    assert len({(each.colour, each.marker) for each in series}) == 12


def test_groups_are_named_and_not_joined():
    one = models(1, Measure('weather', 'user', ''), strata=GROUPS)[0]
    above, below = plot_ap([one]).axes
    labels = [label.get_text() for label in below.get_xticklabels()]
    assert labels[:3] == ['all', 'day', 'night'] and labels[4] == 'x'
    assert values_at_marks(above)[0] == [100 * row.ap for row in one.strata]
    assert [len(line.get_xdata()) for line in above.lines if line.get_marker() in ('None', '', None)] == [0, 0, 0]


@pytest.mark.parametrize(
    ('strata', 'families', 'labels'),
    [
        (coco_occ(), ['group'], ['all', 'max IoU < 0.2', 'max IoU ≥ 0.2']),
        ((all_images(), *bins((0, 1)), *cumulative((0.5,))), ['group', 'bin'], ['all', 'r ≥ 0.5']),
        (QUARTILES, ['bin'], ['all', 'brightness ≤ 12.3456', '12.3456–15.7891', '15.7891–21.25', 'brightness > 21.25']),
        ((all_images(),), ['all'], ['all']),
    ],
)
def test_strata_without_neighbours_are_shown_by_name(strata, families, labels):
    made = result(strata=strata)
    assert ap_families([made]) == families
    below = plot_ap([made], families=families[:1]).axes[1]
    assert [label.get_text() for label in below.get_xticklabels()] == labels


def test_metrics_that_the_thresholds_do_not_have_are_left_out():
    one = result()
    rows = [replace(row, ap75=math.nan, intervals={}) for row in one.strata]
    assert len(values_at_marks(plot_ap([replace(one, strata=tuple(rows))]).axes[0])) == 2


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


@pytest.mark.parametrize('shift', [-0.2, 0, 0.5])
def test_every_value_is_on_the_axis(shift):
    for one in (result('a', shift=shift), result('b', full=False)):
        for results in ([one], [one, result('c')]):
            axes = plot_ap(results).axes[0]
            low, high = axes.get_ylim()
            assert low >= 0 and (len(results) > 1 or low == 0)
            values = [100 * row.ap for each in results for row in each.cumulative if row.ap >= 0]
            assert low <= min(values) and max(values) <= high
