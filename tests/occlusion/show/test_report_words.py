import math
from dataclasses import replace

import pytest

from mmhybrid.occlusion.matching.settings import Settings
from mmhybrid.occlusion.results import Bootstrap, Interval, Measure
from mmhybrid.occlusion.show.given import settings_of
from mmhybrid.occlusion.show.report import words
from mmhybrid.occlusion.strata import all_images, bins, coco_occ, cumulative, groups

from ..sample import comparison, result

NAN = math.nan
HIGH = '0.7 < r <= 0.8'


def told(*results, comparisons=(), min_images=10):
    """The answer with ordinary spaces."""
    return [each.replace('\N{NO-BREAK SPACE}', ' ') for each in words.headline(results, comparisons, min_images)]


def changed(made, name, **fields):
    """The result with other values on one stratum."""
    rows = tuple(replace(row, **fields) if row.stratum.name == name else row for row in made.strata)
    assert rows != made.strata
    return replace(made, strata=rows)


def compared(*results, **differences):
    """Comparisons with the first; other values for the differences of some strata."""
    made = []
    for model in results[1:]:
        one = comparison(results[0], model)
        rows = [replace(row, **differences.get(row.stratum.name, {})) for row in one.differences]
        made.append(replace(one, differences=tuple(rows)))
    return made


def test_one_model():
    assert told(result()) == [
        'TiedResNet-50 has an AP of 45.0% [41.9, 47.7] on all images.',
        'AP is 45.0% [41.9, 47.7] with r = 0 and 24.0% [22.3, 25.4] with 0.7 < r ≤ 0.8 (the most occluded bin with at '
        'least 10 images): 21.0 points lower.',
    ]
    assert told(result(full=False)) == [
        'TiedResNet-50 has an AP of 45.0% on all images.',
        'AP is 45.0% with r = 0 and 24.0% with 0.7 < r ≤ 0.8 (the most occluded bin with at least 10 images): '
        '21.0 points lower.',
    ]


def test_two_models():
    a, b = result('A'), result('B', shift=0.03)
    assert told(a, b, comparisons=compared(a, b)) == [
        'B has the highest AP on all images, 48.0% [44.6, 50.9]: better than A (45.0%), +3.0 points [+2.0, +4.2], '
        'p = 0.040.',
        'B has the highest AP on the 270 images with 0.7 < r ≤ 0.8 (the most occluded bin with at least 10 images), '
        '27.0% [25.1, 28.6]: better than A (24.0%), +3.0 points [+2.0, +4.2], p = 0.040.',
    ]


def test_the_baseline_may_be_the_better_one():
    a, b = result('A', shift=0.03), result('B')
    first, _ = told(a, b, comparisons=compared(a, b, all={'p_value': 0.0001}))
    assert first.endswith('better than B (45.0%), +3.0 points [+1.8, +4.0], p < 0.001.')


def test_what_the_data_do_not_tell():
    a, b = result('A'), result('B', shift=0.03)
    unclear = {'interval': Interval(-0.01, 0.07), 'p_value': 0.3}
    first, second = told(a, b, comparisons=compared(a, b, **{'all': unclear, HIGH: unclear}))
    assert first.endswith(': the data cannot tell it from A (45.0%), +3.0 points [-1.0, +7.0], p = 0.300.')
    assert 'the data cannot tell it from A (24.0%)' in second
    unknown = {'interval': Interval(NAN, NAN), 'p_value': NAN}
    first, _ = told(a, b, comparisons=compared(a, b, all=unknown))
    assert first.endswith(': the data cannot tell it from A (45.0%), +3.0 points.')


def test_other_models_may_be_best_where_it_is_occluded():
    a, b, c = result('A'), result('B', shift=0.03), changed(result('C', shift=-0.1), HIGH, ap=0.5, intervals={})
    first, second = told(a, b, c, comparisons=compared(a, b, c))
    assert first.startswith('B has the highest AP on all images') and 'better than A (45.0%)' in first
    assert second.startswith('C has the highest AP on the 270 images with 0.7 < r ≤ 0.8')
    assert ', 50.0%: better than A (24.0%), +26.0 points' in second


def where(made, min_images=10):
    return words.places(made, min_images).replace('\N{NO-BREAK SPACE}', ' ')


def test_where_models_differ():
    a, b = result('A'), result('B', shift=0.03)
    (plain,) = compared(a, b)
    assert where(plain) == (
        'Of the 9 bins with at least 10 images, B is better than A on 9, worse on none and not told apart on none.'
    )
    unclear, worse = {'interval': Interval(-0.01, 0.07)}, {'interval': Interval(-0.07, -0.01)}
    changes = {'r = 0': unclear, '0 < r <= 0.1': unclear, '0.8 < r <= 0.9': worse, HIGH: worse}
    (mixed,) = compared(a, b, **changes)
    assert where(mixed) == (
        'Of the 9 bins with at least 10 images, B is better than A on 6, worse on 1 (0.7 < r ≤ 0.8) and not told apart '
        'on 2 (r = 0 and 0 < r ≤ 0.1).'
    )
    assert where(mixed, 4).startswith('Of the 10 bins with at least 4 images') and 'worse on 2' in where(mixed, 4)
    assert where(plain, 901) == ''
    named = (all_images(), *groups(['day', 'night']))
    (grouped,) = compared(result('A', strata=named), result('B', strata=named), night=worse)
    assert 'worse on 1 (“night”)' in where(grouped) and where(grouped).startswith('Of the 2 groups')
    thresholds = (all_images(), *cumulative((0, 0.5)))
    assert where(*compared(result('A', strata=thresholds), result('B', strata=thresholds))) == ''


def test_without_comparisons_nothing_is_claimed():
    first, second = told(result('A', full=False), result('B', full=False, shift=0.03))
    assert first == 'B has the highest AP on all images, 48.0%, before A, 45.0%.' and second.endswith(
        'before A, 24.0%.'
    )


def test_where_several_models_differ_is_one_sentence():
    a, b, c, d = result('A'), result('B', shift=0.03), result('C', shift=-0.03), result('D')
    unclear = {'interval': Interval(-0.01, 0.07)}
    made = compared(a, b, c, d)
    even = replace(made[2], differences=tuple(replace(row, **unclear) for row in made[2].differences))
    mixed = replace(
        made[0],
        differences=tuple(
            replace(row, interval=Interval(-0.2, -0.1)) if row.stratum.name == 'r = 0' else row
            for row in made[0].differences
        ),
    )
    assert words.places_in_short([mixed, made[1], even], 10) == (
        'Against A, on the 9 bins with at least 10 images: 1 of 3 models better somewhere, 2 worse somewhere, 1 told '
        'apart nowhere.'
    )
    assert words.places_in_short(made[:1], 10) == words.places(made[0], 10) != ''
    assert words.places_in_short(made, 901) == words.places_in_short([], 10) == ''


def test_without_ground_truth_or_strata():
    nothing = replace(result(), strata=tuple(replace(row, ap=NAN, intervals={}) for row in result().strata))
    assert told(nothing) == told(nothing, replace(nothing, name='B')) == [
        'AP is not defined: the images hold no instances.'
    ]  # fmt: skip
    assert told(result(strata=(all_images(),)))[1].startswith(
        'Fewer than two strata with AP hold at least 10 images: too few to say how'
    )
    both = told(result('A', strata=(all_images(),)), result('B', strata=(all_images(),)))
    assert len(both) == 2 and both[1].startswith('Fewer than two strata')
    assert words.asides([result(strata=(all_images(),), full=False)], 10) == []


def test_what_else_differs_between_the_strata_is_told():
    made = changed(result(), HIGH, instances_per_image=12.34, num_categories=1234)
    intervals, others = words.asides([made], 10)
    assert intervals == '[low, high]: 95% bootstrap interval, 200 resamples of the images.'
    assert others.replace('\N{NO-BREAK SPACE}', ' ') == (
        'Images with r = 0 hold 7.0 instances on average, of 3 categories; those with 0.7 < r ≤ 0.8 hold 12.3 '
        'instances on average, of 1,234 categories.'
    )


def test_the_strata_compared_stand_on_enough_images():
    low, high = words.first_and_last(result(), 10)
    assert (low.stratum.name, high.stratum.name) == ('r = 0', HIGH)
    assert words.first_and_last(result(), 4)[1].stratum.name == '0.8 < r <= 0.9'
    assert words.first_and_last(result(), 901) is None  # all images alone are no pair
    shuffled = replace(result(), strata=result().strata[::-1])
    assert [row.stratum.name for row in words.first_and_last(shuffled, 10)] == ['r = 0', HIGH]


@pytest.mark.parametrize(
    ('strata', 'names', 'shown'),
    [
        (coco_occ(), ('max IoU < 0.2', 'max IoU >= 0.2'), 'with max IoU ≥ 0.2: '),
        ((all_images(), *cumulative((0.5, 0.1))), ('r >= 0.1', 'r >= 0.5'), 'with r ≥ 0.5: '),
    ],
)
def test_without_bins(strata, names, shown):
    # The sample takes a lower bound of minus infinity for a ratio.
    made = changed(result(strata=strata), names[0], ap=0.4, num_images=500, num_instances=3500)
    assert tuple(row.stratum.name for row in words.first_and_last(made, 10)) == names
    assert shown in told(made)[1]


def test_all_images_are_not_compared_with_a_part_of_them():
    made = result(strata=(all_images(), *cumulative((0,)), *bins((0, 0.1, 1))))
    for name in ('r = 0', '0 < r <= 0.1', '0.1 < r <= 1'):
        made = changed(made, name, num_images=3)
    made = changed(changed(made, 'r = 0', num_images=50), 'r >= 0', num_images=made.all.num_images)
    assert words.first_and_last(made, 10) is None


def test_groups_are_compared_by_ap():
    made = result(strata=(all_images(), *groups(['day', 'dusk', 'night'])))
    made = changed(changed(made, 'dusk', ap=0.5), 'day', ap=0.2)
    sentence = told(made)[1]
    assert 'of the group “dusk” and 20.0%' in sentence and 'of the group “day” (the group of lowest AP' in sentence


def test_the_users_own_property_is_not_called_occlusion():
    strata = (all_images(), *bins((0, 0.5, 1), 'crowding'))
    made = replace(result(strata=strata), measure=Measure('crowding', 'user', ''))
    assert '(the highest bin with at least 10 images)' in told(made)[1] and 'occlu' not in ' '.join(told(made))


def test_the_direction_is_told_as_it_is():
    assert told(changed(result(), HIGH, ap=0.5))[1].endswith(': 5.0 points higher.')
    assert told(changed(result(), HIGH, ap=0.45, intervals={}))[1].endswith(': the same.')
    missing = changed(result(), HIGH, intervals={'ap': Interval(NAN, NAN)})
    assert 'and 24.0% with 0.7 < r ≤ 0.8' in told(missing)[1]


def test_every_definition_has_its_own_sentence():
    from mmhybrid.occlusion.ratios import DEFINITIONS, GEOMETRIES

    sentences = {words.definition(Measure('r', d, g)) for d in DEFINITIONS for g in GEOMETRIES}
    assert len(sentences) == len(DEFINITIONS) * len(GEOMETRIES)
    assert all(sentence.startswith('The occlusion ratio r of an image is the ') for sentence in sentences)
    assert 'rain' in words.definition(Measure('rain', 'user', ''))


def test_what_was_evaluated():
    made = replace(result(), bootstrap=Bootstrap(1000, 3, 0.99))
    pairs = dict(words.evaluated([made, replace(made, name='B', detections='b.json')]))
    assert pairs['Intervals'] == '99% bootstrap interval, 1,000 resamples of the images (seed 3)'
    assert pairs['Results of B (bbox)'] == 'b.json' and words.size(made) == '5,000 images with 35,000 instances'
    assert words.counts({'instances': 1, 'missed': 1, 'partial': 0}) == '1 instance, 1 missed'
    assert words.listing(['a', 'b', 'a', 'c']) == 'a, b and c' and words.listing(['a']) == 'a'


def test_settings():
    assert dict(words.evaluated([result()]))['Settings'] == (
        'as in COCO: IoU 0.50:0.95, at most 100 detections per image and category'
    )
    own = replace(result(), settings=Settings((0.5, 0.75), 1, True, ('cat', 7)), ignore='as-instances')
    assert dict(words.evaluated([own]))['Settings'] == settings_of(own) != ''


def test_long_names_are_cut_in_sentences():
    assert len(told(result('x' * 500))[0]) < 150
