"""Strata of instances: each is on all images, so figures and sentences go by their instances."""

import pickle
from dataclasses import replace

import pytest

from mmhybrid.occlusion.analysis.comparison import Compared
from mmhybrid.occlusion.analysis.details import Details
from mmhybrid.occlusion.analysis.study import Study
from mmhybrid.occlusion.instance_strata import InstanceStratum
from mmhybrid.occlusion.results import Interval, Measure
from mmhybrid.occlusion.selection import Selection
from mmhybrid.occlusion.show.figures import ap_families, plot_ap, plot_errors
from mmhybrid.occlusion.show.report import words
from mmhybrid.occlusion.show.report.gallery import GalleryGroup, GalleryImage, make_gallery
from mmhybrid.occlusion.show.report.page import render_report
from mmhybrid.occlusion.show.tables import comparison_sheet, models_sheet, strata_sheet
from mmhybrid.occlusion.strata import all_images, bins

from ..pedestrians import dataset
from ..sample import comparison, result, scored
from . import pages

PARTS = [InstanceStratum.parse(text) for text in ('reasonable: h >= 50', 'heavy: h >= 50, v <= 0.65', 'tiny: h < 9')]
SIZES = {'all instances': 900, 'reasonable': 700, 'heavy': 45, 'tiny': 3}
APS = {'all instances': 0.4, 'reasonable': 0.5, 'heavy': 0.2, 'tiny': 0.1}


def made(name='A', shift=0.0):
    whole = replace(all_images(), name='all instances')
    one = result(name, strata=(whole, *PARTS))
    rows = []
    for row in one.strata:
        ap = APS[row.stratum.name] + shift
        fields = {'num_images': 500, 'num_instances': SIZES[row.stratum.name], 'ap': ap}
        rows.append(replace(row, **fields, intervals=row.intervals | {'ap': Interval(ap - 0.01, ap + 0.01)}))
    return scored(replace(one, strata=tuple(rows), measure=Measure('kaist', 'instances', '')))


def test_the_figure_of_ap_counts_instances_in_the_order_of_the_protocol():
    one = made()
    assert ap_families([one]) == ['instances']
    above, below = plot_ap([one]).axes
    labels = [label.get_text() for label in below.get_xticklabels()]
    assert labels == list(SIZES) and below.get_ylabel() == 'instances'
    assert [text.get_text() for text in below.texts] == ['900', '700', '45', '3']
    assert [bar.get_height() for bar in below.patches] == [900, 700, 45, 3]
    hollow = [line for line in above.lines if line.get_markerfacecolor() == '#ffffff' and len(line.get_xdata())]
    assert {float(x) for line in hollow for x in line.get_xdata().round()} == {3.0}
    assert '< 10 instances' in [text.get_text() for text in above.figure.legends[0].get_texts()]
    names = [label.get_text() for label in plot_errors([one]).axes[0].get_yticklabels()]
    assert names == ['all instances', 'reasonable', 'heavy', 'tiny *']


def test_tables_mark_strata_of_few_instances():
    sheet = strata_sheet(made(), 10)
    assert sheet.few == (False, False, False, True)
    assert '* fewer than 10 images or instances: too few to conclude from' in sheet.notes


def test_beside_strata_of_images_each_says_what_it_counts():
    one, images = made(), result()
    both = replace(images, strata=(*images.strata, *one.strata[1:]))
    families = ap_families([both])
    assert families == ['instances', 'bin', 'cumulative']
    below = plot_ap([both], families=families).axes[1::2]
    assert [axes.get_ylabel() for axes in below] == ['instances', 'images', 'images']


def told(*results, comparisons=()):
    return [each.replace('\N{NO-BREAK SPACE}', ' ') for each in words.headline(results, comparisons, 10)]


def test_sentences_about_one_model():
    assert told(made()) == [
        'A has an MR^-2 of 50.00% [48.0, 53.0] of the stratum “reasonable”.',
        'A has an AP of 40.0% [39.0, 41.0] on all instances.',
        'AP is 50.0% [49.0, 51.0] of the stratum “reasonable” and 20.0% [19.0, 21.0] of the stratum “heavy” (the one '
        'of lowest AP of A with at least 10 instances): 30.0 points lower.',
    ]


def test_sentences_about_two_models():
    a, b = made(), made('B', 0.03)
    compared = comparison(a, b, ('mr', 'ap'))
    turned = {'mr': Interval(-0.04, -0.02), 'ap': Interval(0.02, 0.042)}
    compared = replace(
        compared, differences=tuple(replace(row, interval=turned[row.metric]) for row in compared.differences)
    )
    first, _, third = told(a, b, comparisons=[compared])
    assert first == (
        'B has the lowest MR^-2 of the stratum “reasonable”, 47.00% [45.0, 50.0]: better than A (50.0%), '
        '-3.0 points [-4.0, -2.0], p = 0.040.'
    )
    assert third.startswith(
        'B has the highest AP on the 45 instances of the stratum “heavy” (the one of lowest AP of A'
    )
    assert words.places(compared, 10).startswith(
        'Of the 2 strata with at least 10 instances, B is better than A on 2 ('
    )
    # By the names of strata: where results were read back, their bounds, NaN, equal nothing.
    again = pickle.loads(pickle.dumps((a, b, compared)))
    assert told(*again[:2], comparisons=again[2:]) == told(a, b, comparisons=[compared])
    assert told(a, again[1], comparisons=[compared]) == told(a, b, comparisons=[compared])
    assert words.asides([a], 10) == ['[low, high]: 95% bootstrap interval, 200 resamples of the images.']


@pytest.mark.parametrize('definition, what', [('mean-hidden', 'the mean hidden'), ('max-hidden', 'the largest hidden')])
def test_annotated_occlusion_is_no_property_of_the_users(definition, what):
    told = words.definition(Measure('h', definition, 'annotated'))
    assert told == f'The occlusion ratio h of an image is {what} share of its instances as annotated, from 0 to 1.'


def test_the_report_speaks_of_instances():
    page = pages.read(render_report([made()]))
    text = page.first('main').text
    assert [node.text for node in page.all('h2')][1] == 'AP by stratum of instances'
    assert 'Strata hold instances.' in text and 'hollow marks stand on fewer than 10 instances' in text
    for wrong in ('Strata hold images', 'property of each image', 'most occluded', 'Bins are independent'):
        assert wrong not in text
    assert 'Strata under 10 instances are marked' in text and 'common beside AP' not in text


def test_strata_of_few_instances_are_neither_better_nor_worse():
    a, b = made(), made('B', 0.03)
    sheet = comparison_sheet(comparison(a, b), 'ap', 10)
    assert sheet.few == (False, False, False, True)
    assert sheet.columns[-1].values == ('better', 'better', 'better', '')


def test_what_is_common_to_strata_of_images_is_not_told_of_instances():
    one, images = made(), result()
    sheets = [strata_sheet(each, 10) for each in (one, replace(images, strata=(*images.strata, *one.strata[1:])))]
    assert ['common' in [column.title for column in sheet.columns] for sheet in sheets] == [False, True]
    assert [any(note.startswith('common') for note in sheet.notes) for sheet in sheets] == [False, True]


def test_instances_may_hang_on_the_model():
    # Of the second model more images are empty: by KAIST's protocol fewer instances count, here of 'heavy'.
    a, b = made(), made('B', 0.03)
    few = tuple(replace(row, num_instances=5) if row.stratum.name == 'heavy' else row for row in b.strata)
    b = replace(b, strata=few)
    for results in ([a, b], [b, a]):
        assert models_sheet(results, 10).few == (False, False, False, True)
        assert [text.get_text() for text in plot_ap(results).axes[1].texts] == ['900', '700', '45', '3']
        assert 'on the 45 instances of the stratum “heavy”' in ' '.join(told(*results))
    assert 'Detection under occlusion: A and B' in render_report([a, b])


def test_two_models_of_which_one_finds_nothing_on_some_images():
    gt, dt = dataset(8, 'kaist')
    ids = [image['id'] for image in gt['images']]
    fewer = [row for row in dt if row['image_id'] in ids[: len(ids) // 2]]
    study = Study(gt, by=Selection('kaist'), details=Details(resamples=20))
    compared = Compared.of(study.run({'a': dt, 'b': fewer}))
    a, b = ({row.stratum.name: row.num_instances for row in each.strata} for each in compared.results)
    assert b['all'] < a['all'] and b['all instances'] == a['all instances']
    (found,) = compared.comparisons
    assert {row.stratum.name: row.num_instances for row in found.differences} == b
    assert 'a and b' in render_report(compared.results, compared.comparisons)


@pytest.mark.parametrize(
    ('by', 'kinds'),
    [
        (Selection('citypersons'), {'all'}),
        (Selection('crowdhuman'), set()),
        (Selection(parts=[*bins((0, 1)), InstanceStratum.parse('v < 0.5')]), {'all', 'bin'}),
    ],
)
def test_pictures_are_of_all_instances(by, kinds):
    gt, dt = dataset(4, 'citypersons')
    study = Study(gt, by=by, details=Details(errors=True))
    (evaluated,) = study.run({'A': dt})
    groups = make_gallery(study, evaluated, None, 3)
    assert {group.kind for group in groups} == kinds
    # KAIST and CityPersons call the name of a file so.
    names = {image['id']: image['im_name'] for image in gt['images']}
    assert all(image.file_name == names[image.image_id] for group in groups for image in group.images)


def test_the_page_says_that_pictures_are_of_all_instances():
    images = [GalleryImage(9, '', 0.002)]
    groups = [GalleryGroup('all instances', images, kind='all'), GalleryGroup('all', images, kind='group')]
    section = pages.read(render_report([made()], gallery=groups)).first('section', aria_labelledby='images')
    assert [node.text for node in section.all('h3')] == ['All images', 'all']
    assert 'pictures, counts and costs are of all instances' in section.text
    section = pages.read(render_report([result()], gallery=groups)).first('section', aria_labelledby='images')
    assert 'of all instances' not in section.text
