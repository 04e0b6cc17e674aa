"""What the figure of AP shows, and what it says about that."""

import math
from dataclasses import replace

import numpy as np
import pytest

from mmhybrid.occlusion.results import Interval, Measure
from mmhybrid.occlusion.show.figures import ap_families, finding, plot_ap
from mmhybrid.occlusion.strata import all_images, bins, coco_occ, cumulative

from ..sample import comparison, result
from .test_figures import GROUPS, QUARTILES, models, values_at_marks


def test_one_model_shows_ap_of_every_bin():
    one = result()
    axes, counts = plot_ap([one]).axes
    assert axes.get_ylabel() == 'AP (%)' and counts.get_xlabel() == one.measure.label
    assert axes.get_xlim() == counts.get_xlim()
    assert math.isnan(one.bins[-1].ap)  # without images: left out
    rows = (one.all, *one.bins[:-1])
    assert np.allclose(values_at_marks(axes), [[100 * row.ap for row in rows]])
    assert [bar.get_height() for bar in counts.patches] == [0, *(row.num_images for row in rows[1:])]
    assert [text.get_text() for text in counts.texts][:3] == ['5000', '900', '900']
    hollow = [bar.get_facecolor()[:3] == (1, 1, 1) for bar in counts.patches]
    assert hollow == [row.num_images < 10 for row in rows]
    labels = [label.get_text() for label in counts.get_xticklabels()]
    assert labels[:4] == ['all', '0', '0–0.1', '0.1–0.2'] and len(labels) == 11


def test_thresholds_are_drawn_where_they_are_asked_for_or_alone():
    one = result()
    axes, counts = plot_ap([one], families=['cumulative']).axes
    assert np.allclose(values_at_marks(axes), [[100 * row.ap for row in one.cumulative]])
    assert [bar.get_height() for bar in counts.patches] == [row.num_images for row in one.cumulative]
    alone = result(strata=(all_images(), *cumulative()))
    assert 'r ≥ t' in plot_ap([alone]).axes[0].get_title(loc='left')


def equal(made, count=50):
    """The same number of images in every bin."""
    rows = [replace(row, num_images=count if row.stratum.kind == 'bin' else 600) for row in made.strata]
    return replace(made, strata=tuple(rows))


def test_equal_counts_are_written_once():
    (axes,) = plot_ap([equal(result())]).axes
    assert axes.get_xlabel() == f'{result().measure.label}; 50 images each'
    assert [label.get_text() for label in axes.get_xticklabels()][:3] == ['all', '0', '0–0.1']


def test_boxes_stand_beside_masks_on_one_scale():
    boxes, masks = (equal(result(iou_type=kind, shift=shift)) for kind, shift in (('bbox', 0.3), ('segm', 0)))
    left, right = plot_ap([boxes, masks], title='What it shows').axes
    assert left.get_position().y0 == right.get_position().y0 and left.get_position().x1 < right.get_position().x0
    assert left.get_ylim() == right.get_ylim() and left.get_ylim()[1] > 75
    assert [axes.get_title(loc='left') for axes in (left, right)] == ['bbox AP in each bin', 'segm AP in each bin']
    assert left.figure.legends[0].get_title().get_text() == 'What it shows'


def test_intervals_are_bands_and_whiskers():
    one = result()
    bin_axes, _, cumulative_axes, _ = plot_ap([one, result('b')], families=['bin', 'cumulative']).axes
    band = next(each for each in cumulative_axes.collections if len(each.get_paths()[0].vertices) > 2)
    vertices = band.get_paths()[0].vertices
    at = one.cumulative[3].intervals['ap']
    y = vertices[np.isclose(vertices[:, 0], 3), 1]
    assert y.min() == pytest.approx(100 * at.low) and y.max() == pytest.approx(100 * at.high)
    whiskers = bin_axes.collections[0].get_segments()
    spans = [row.intervals['ap'] for row in (one.all, *one.bins[:-1])]
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


def test_several_models_have_a_curve_each():
    both = models(2)
    bin_axes, _, cumulative_axes, _ = plot_ap(both, families=ap_families(both)).axes
    assert 'bin' in bin_axes.get_title(loc='left') and 'r ≥ t' in cumulative_axes.get_title(loc='left')
    expected = [[100 * row.ap for row in (each.all, *each.bins[:-1])] for each in both]
    assert np.allclose(values_at_marks(bin_axes), expected)
    assert np.allclose(values_at_marks(cumulative_axes), [[100 * row.ap for row in each.cumulative] for each in both])
    assert ap_families(both) == ['bin', 'cumulative']


def test_groups_are_named_and_not_joined():
    one = models(1, Measure('weather', 'user', ''), strata=GROUPS)[0]
    (above,) = plot_ap([one]).axes  # all have 900 images
    labels = [label.get_text() for label in above.get_xticklabels()]
    assert labels[:3] == ['all', 'day', 'night'] and labels[4] == 'x'
    assert values_at_marks(above)[0] == [100 * row.ap for row in one.strata]
    assert [len(line.get_xdata()) for line in above.lines if line.get_marker() in ('None', '', None)] == [0]


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
    made = equal(result(strata=strata))
    assert ap_families([made]) == families
    axes = plot_ap([made], families=families[:1]).axes[-1]
    assert [label.get_text() for label in axes.get_xticklabels()] == labels


@pytest.mark.parametrize('shift', [-0.2, 0, 0.5])
def test_every_value_is_on_the_axis(shift):
    for one in (result('a', shift=shift), result('b', full=False)):
        for results in ([one], [one, result('c')]):
            axes = plot_ap(results).axes[0]
            low, high = axes.get_ylim()
            assert low >= 0 and (len(results) > 1 or low == 0)
            values = [100 * row.ap for each in results for row in each.cumulative if row.ap >= 0]
            assert low <= min(values) and max(values) <= high


def at_ends(made, **spans):
    """Intervals of AP of the first and the last filled bin, in percent."""
    first, last = made.bins[0].stratum.name, made.bins[-2].stratum.name
    given = {first: spans['first'], last: spans['last']}
    rows = [
        replace(row, num_images=20, intervals={'ap': Interval(*(value / 100 for value in given[row.stratum.name]))})
        if row.stratum.name in given
        else row
        for row in made.strata
    ]
    return replace(made, strata=tuple(rows))


def told(*arguments):
    return finding(*arguments).replace('\N{NO-BREAK SPACE}', ' ')


# The sample has 45% at r = 0 and 21% at 0.8 < r <= 0.9.
@pytest.mark.parametrize(
    ('first', 'last', 'word'),
    [((40, 50), (20, 30), 'falls from 45.0 at r = 0 to 21.0'), ((30, 50), (20, 31), 'is 45.0 at r = 0 and 21.0')],
)
def test_ap_falls_where_intervals_lie_apart(first, last, word):
    boxes = at_ends(result(), first=first, last=last)
    masks = at_ends(result(iou_type='segm', shift=-0.1), first=first, last=last)
    assert told([boxes]) == f'Box AP {word} at 0.8 < r ≤ 0.9'
    again = 'from 35.0 to 11.0' if 'falls' in word else '35.0 and 11.0'
    assert told([boxes, masks]) == f'Box AP {word} at 0.8 < r ≤ 0.9; mask AP {again}'


def test_ap_rises_only_with_intervals():
    rows = [replace(row, ap=1 - row.ap) for row in result().strata]
    made = at_ends(replace(result(), strata=tuple(rows)), first=(50, 60), last=(70, 80))
    assert told([made]) == 'Box AP rises from 55.0 at r = 0 to 79.0 at 0.8 < r ≤ 0.9'
    without = replace(made, strata=tuple(replace(row, intervals={}) for row in made.strata))
    assert told([without]) == 'Box AP is 55.0 at r = 0 and 79.0 at 0.8 < r ≤ 0.9'


def test_strata_of_few_images_carry_no_finding():
    assert '0.7 < r ≤ 0.8' in told([result()])  # 4 images beyond
    assert told([result()], (), 901) == 'Box AP 45.0 on all images'


def test_groups_are_a_plain_range():
    rows = [replace(row, ap=value) for row, value in zip(result(strata=GROUPS).strata, (4, 3, 2, 5, 1), strict=True)]
    made = replace(result(strata=GROUPS), strata=tuple(replace(row, ap=row.ap / 10) for row in rows))
    assert told([made]).startswith('Box AP goes from 10.0 on “x” to 50.0 on “a very')


def test_models_are_told_apart_by_verdicts_alone():
    a, b, c = result('a'), result('b', shift=0.03), result('c')
    assert told([a, b]) == 'AP of 2 models by occlusion ratio r (covered, bbox)'
    # Nine bins hold 10 images or more; the sample's intervals are [-1, +1.2] points around the difference.
    assert told([a, b], [comparison(a, b)]) == 'Box AP of b against a: better on 9 of 9 bins'
    assert told([b, a], [comparison(b, a)]) == 'Box AP of a against b: worse on 9 of 9 bins'
    assert told([a, c], [comparison(a, c)]) == 'Box AP of c and a is told apart on none of 9 bins'
    assert told([a, b, c], [comparison(a, b), comparison(a, c)]).count(';') == 1
    whole = [replace(each, strata=each.strata[:1]) for each in (a, b)]
    assert told(whole, [comparison(*whole)]) == 'Box AP of b is better than a on all images'


def test_what_is_not_defined_is_no_finding():
    a, b = (replace(made, strata=tuple(replace(row, ap=math.nan) for row in made.strata)) for made in map(result, 'ab'))
    undefined = 'Box AP is not defined: the images hold no instances'
    assert told([a]) == undefined
    compared = comparison(a, b)
    rows = tuple(replace(row, baseline=math.nan, model=math.nan, difference=math.nan) for row in compared.differences)
    assert told([a, b], [replace(compared, differences=rows)]) == undefined


def test_thresholds_that_leave_no_image_out_are_no_end():
    made = result(strata=(all_images(), *cumulative((0, 0.2, 0.4))))
    whole, every, *fewer = made.strata
    made = replace(made, strata=(whole, replace(every, num_images=whole.num_images), *fewer))
    low, high = (f'{100 * row.ap:.1f}' for row in fewer)
    assert told([made]) == f'Box AP is {low} at r ≥ 0.2 and {high} at r ≥ 0.4'
