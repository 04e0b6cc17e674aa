import math
from dataclasses import replace

import pytest

from mmhybrid.occlusion.results import Bootstrap, Interval, Measure
from mmhybrid.occlusion.show.report import wording
from mmhybrid.occlusion.show.report.numbers import interval, p_value, points, short_name
from mmhybrid.occlusion.strata import all_images, bins, coco_occ, cumulative, groups

from ..sample import comparison, result

NAN = math.nan


def told(made, min_images=10):
    """The summary with ordinary spaces."""
    ends = wording.first_and_last(made, min_images)
    sentences = wording.strata_compared(made, min_images) + wording.summary(made, ends, min_images)
    return [sentence.replace('\N{NO-BREAK SPACE}', ' ') for sentence in sentences]


def changed(made, name, **fields):
    """The result with other values on one stratum."""
    rows = tuple(replace(row, **fields) if row.stratum.name == name else row for row in made.strata)
    assert rows != made.strata
    return replace(made, strata=rows)


def test_summary():
    assert told(result()) == [
        'Compared are the 900 images with r = 0 (7.0 instances an image, 3 categories) and the 270 images with '
        '0.7 < r ≤ 0.8 (7.0 instances an image, 3 categories), the most occluded bin with at least 10 images.',
        'AP is 45.0% (95% interval 41.9 to 47.7) on all images.',
        'With r = 0 it is 45.0% (41.9 to 47.7), with 0.7 < r ≤ 0.8 it is 24.0% (22.3 to 25.4): 21.0 points lower; the '
        'two intervals do not overlap.',
        'Over the 2 categories that every large stratum has, it is 43.6% and 23.3%.',
        'Among the false positives (IoU 0.5, score at least 0.05), the kind “duplicate” grows most: from 0.00 to 0.70 '
        'an image, from 0% to 13% of them.',
        'At IoU 0.50, 80.0% of the 1,200 instances with f = 0 are found and 40.0% of the 1,200 with 0.8 < f ≤ 1 '
        '(covered fraction f (bbox)).',
    ]


def test_summary_of_a_plain_evaluation():
    sentences = told(result(full=False))
    assert sentences[1:] == [
        'AP is 45.0% on all images.',
        'With r = 0 it is 45.0%, with 0.7 < r ≤ 0.8 it is 24.0%: 21.0 points lower.',
    ]


def test_the_strata_compared_stand_on_enough_images():
    low, high = wording.first_and_last(result(), 10)
    assert (low.stratum.name, high.stratum.name) == ('r = 0', '0.7 < r <= 0.8')
    low, high = wording.first_and_last(result(), 4)
    assert high.stratum.name == '0.8 < r <= 0.9'
    assert wording.first_and_last(result(), 901) is None  # all images alone are no pair
    assert 'Fewer than two strata have AP on at least 901 images' in told(result(), 901)[0]
    shuffled = replace(result(), strata=result().strata[::-1])
    assert [row.stratum.name for row in wording.first_and_last(shuffled, 10)] == ['r = 0', '0.7 < r <= 0.8']


@pytest.mark.parametrize(
    ('strata', 'names', 'words'),
    [
        (coco_occ(), ('max IoU < 0.2', 'max IoU >= 0.2'), 'max IoU ≥ 0.2'),
        ((all_images(), *cumulative((0.5, 0.1))), ('r >= 0.1', 'r >= 0.5'), 'these are part of the former'),
    ],
)
def test_without_bins(strata, names, words):
    made = result(strata=strata)
    # The sample takes a lower bound of minus infinity for a ratio.
    made = changed(made, names[0], ap=0.4, num_images=500, instances_per_image=7.0, num_instances=3500)
    low, high = wording.first_and_last(made, 10)
    assert (low.stratum.name, high.stratum.name) == names
    assert words in told(made)[0]


def test_groups_are_compared_by_ap():
    made = result(strata=(all_images(), *groups(['day', 'dusk', 'night'])))
    made = changed(changed(made, 'dusk', ap=0.5), 'day', ap=0.2)
    first, *others = told(made)
    assert 'the label “dusk”' in first and first.index('“dusk”') < first.index('“day”')
    assert 'groups of highest and lowest AP of TiedResNet-50' in first
    assert any('with the label “day” it is 20.0%' in sentence for sentence in others)


def test_direction_and_overlap_are_told_as_they_are():
    high = '0.7 < r <= 0.8'
    rising = changed(result(), high, ap=0.5, intervals={'ap': Interval(0.46, 0.52)})
    assert '50.0% (46.0 to 52.0): 5.0 points higher; the two intervals overlap.' in ' '.join(told(rising))
    equal = changed(result(), high, ap=0.45, intervals={})
    assert 'it is 45.0%: the same.' in ' '.join(told(equal))
    missing = changed(result(), high, intervals={'ap': Interval(NAN, NAN)})
    assert 'overlap' not in ' '.join(told(missing)) and 'nan' not in ' '.join(told(missing))


def test_no_error_kind_is_made_to_grow():
    made = result()
    low = next(row for row in made.strata if row.stratum.name == 'r = 0')
    fewer = replace(low.errors, confusion=0, partial=0, background=0)
    made = changed(made, '0.7 < r <= 0.8', errors=replace(fewer, duplicate=0))
    assert any(sentence.startswith('No kind of false positive becomes more frequent') for sentence in told(made))


def test_differences():
    a, b = result('A'), result('B', shift=0.03)
    (sentence,) = wording.differences(comparison(a, b), wording.first_and_last(a, 10))
    assert sentence.replace('\N{NO-BREAK SPACE}', ' ') == (
        'AP of B minus that of A, in percentage points: +3.0 on all images (+2.0 to +4.2, p 0.040); +3.0 on r = 0 '
        '(+2.0 to +4.2, p 0.040); +3.0 on 0.7 < r ≤ 0.8 (+2.0 to +4.2, p 0.040).'
    )
    undefined = replace(comparison(a, b), differences=())
    assert wording.differences(undefined, ()) == []


def test_every_definition_has_its_own_sentence():
    from mmhybrid.occlusion.ratios import DEFINITIONS, GEOMETRIES

    sentences = {wording.definition(Measure('r', d, g)) for d in DEFINITIONS for g in GEOMETRIES}
    assert len(sentences) == len(DEFINITIONS) * len(GEOMETRIES)
    assert all(sentence.startswith('The occlusion ratio r is ') for sentence in sentences)
    assert 'rain' in wording.definition(Measure('rain', 'user', ''))


def test_numbers():
    assert [points(v) for v in (0.012, -0.012, 0.0001, -0.0004, NAN)] == ['+1.2', '−1.2', '±0.0', '±0.0', '–']
    assert interval(Interval(0.1, 0.25)) == '10.0 to 25.0' and interval(Interval(NAN, 0.2)) == interval(None) == ''
    assert [p_value(v) for v in (0.04, 0.0001, NAN)] == ['0.040', '<0.001', '–']
    labels = [short_name(s.lower, s.upper, s.name) for s in (*bins((0, 0.5, math.inf)), *groups(['a' * 20]))]
    assert labels == ['0', '0–0.5', 'r > 0.5', 'a' * 13 + '…']
    assert 'about 4.2' in wording.multiplicity(84, 0.95) and '0.05' in wording.multiplicity(84, 0.95)
    assert '99% intervals from 1,000' in wording.bootstrap_settings(Bootstrap(1000, 3, 0.99))
    assert wording.listing(['a', 'b', 'c']) == 'a, b and c' and wording.listing(['a']) == 'a'
