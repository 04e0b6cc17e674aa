"""What the tables say, whatever shows them."""

import math
from dataclasses import replace

import pytest

from mmhybrid.errors import InputError
from mmhybrid.occlusion.analysis.comparison import Compared
from mmhybrid.occlusion.results import Bootstrap, Interval
from mmhybrid.occlusion.show.markdown import to_markdown
from mmhybrid.occlusion.show.numbers import interval, number, p_value, percent, points, share
from mmhybrid.occlusion.show.records import category_records, difference_records, instance_records, strata_records
from mmhybrid.occlusion.show.tables import (
    categories_sheet,
    comparison_sheet,
    every_category_sheet,
    instances_sheet,
    models_sheet,
    side_by_side,
    strata_sheet,
)
from mmhybrid.occlusion.show.terminal import format_table, print_comparison
from mmhybrid.occlusion.strata import all_images, groups, tbc

from ..sample import comparison, result


def by_title(sheet):
    return {column.heading: column for column in sheet.columns}


@pytest.mark.parametrize(
    ('write', 'value', 'text'),
    [
        (percent, 0.4215, '42.1'), (percent, math.nan, '-'), (number, 12345.67, '12,345.7'), (share, 0.126, '13%'),
        (share, math.nan, ''), (points, 0.012, '+1.2'), (points, -0.012, '-1.2'), (points, math.nan, '-'),
        (p_value, 1e-5, '<0.001'), (p_value, 0.0123, '0.012'), (p_value, math.nan, '-'), (interval, None, ''),
        (interval, Interval(0.403, 0.44), '[40.3, 44.0]'), (interval, Interval(math.nan, 0.44), ''),
    ],
)  # fmt: skip
def test_one_style_of_numbers(write, value, text):
    assert write(value) == text
    assert interval(Interval(-0.1, 0.2), points) == '[-10.0, +20.0]'


def test_models_on_other_strata_are_not_side_by_side():
    one, other = result('x', full=False), result('y', full=False, strata=(all_images(),))
    assert side_by_side([one, other, replace(one, name='z')]) == [[one, replace(one, name='z')], [other]]
    assert '\nbbox AP in %, by' not in format_table([one, other])
    sheet = models_sheet([one, replace(one, name='z')], 10)
    assert [column.texts[-1] for column in sheet.columns] == ['r >= 0.8 *', '4', '21.0', '21.0']


def test_sections_have_headings():
    sheet = strata_sheet(result(strata=(*tbc(), *groups(['day', 'night']))), 10)
    assert sheet.sections[:2] == (('All images', 1), ('Groups', 2)) and [n for _, n in sheet.sections[2:]] == [11, 9]
    assert 'no image is in two' in sheet.sections[2][0]
    # Nothing to tell apart.
    assert strata_sheet(result(strata=(all_images(),)), 10).sections == ((None, 1),)


def test_several_models_share_a_table_of_recall():
    models = result('x'), result('y', shift=0.02)
    columns = by_title(instances_sheet(*models))
    assert list(columns)[2:] == [f'{name} IoU {thr}' for name in 'xy' for thr in ('.50', '.75', '.50:.95')]
    for model in models:
        assert columns[f'{model.name} IoU .75'].values == tuple(percent(row.recall75) for row in model.instances)
    sheet = instances_sheet(models[0], min_images=models[0].instances[0].num_instances + 1)
    assert sheet.few[0] and sheet.columns[0].values[0].endswith(' *') and 'instances: too few' in sheet.notes[0]


def test_several_metrics_share_a_table_of_differences():
    made = comparison(result('a'), result('b', shift=0.02))
    single = by_title(comparison_sheet(made, 'ap', 10))
    columns = by_title(comparison_sheet(made, ['ap', 'ar'], 10))
    assert list(columns)[1:] == ['images', *(f'AP {name}' for name in ('baseline', 'model', 'difference', 'p')),
                                 'AR difference', 'AR p']  # fmt: skip
    assert columns['AP difference'].texts == single['difference'].texts
    # Bold says what the words say.
    assert [word != '' for word in single[''].values] == list(columns['AP difference'].strong)
    assert any(columns['AP difference'].strong) and not all(columns['AP difference'].strong)


def test_tiny_p_values():
    made = comparison(result('a'), result('b'))
    made = replace(made, differences=(replace(made.differences[0], p_value=1e-5),))
    assert by_title(comparison_sheet(made, 'ap', 10))['p'].values == ('<0.001',)


def test_categories_that_a_stratum_lacks():
    one = result()
    strata = [
        replace(each, categories=each.categories[:1]) if each.stratum.kind == 'bin' else each for each in one.strata
    ]
    sheet = categories_sheet(replace(one, strata=tuple(strata)), 10)
    assert sheet.columns[2].values == ('45.0 (1,800)', '-', '-')
    # r > 0.8 has few images or none.
    assert [column.title for column in sheet.columns[2:]] == [
        'r = 0', '0.1 < r <= 0.2', '0.3 < r <= 0.4', '0.5 < r <= 0.6', '0.7 < r <= 0.8',
    ]  # fmt: skip


def test_every_category_of_every_stratum():
    models = result('x'), result('y', shift=0.02)
    sheet = every_category_sheet(models)
    columns = by_title(sheet)
    filled = [row for row in models[0].strata if row.categories]
    headings, sizes = zip(*sheet.sections, strict=True)
    assert set(headings) == {row.stratum.name for row in filled}
    assert sum(sizes) == len(sheet.few) == 2 * sum(len(row.categories) for row in filled)
    assert sheet.sections[0] == ('all', 6)
    # By name, then by model.
    names = columns['category'].values[:6]
    assert names == tuple(sorted(names, key=str.casefold)) and columns['model'].values[:6] == ('x', 'y') * 3
    person = next(each for each in models[1].all.categories if each.name == names[5])
    assert columns['AP75'].values[5] == percent(person.ap75)
    assert 'model' not in by_title(every_category_sheet(models[:1]))


def test_errors_have_the_names_of_the_json_file():
    text = to_markdown([result()])
    (line,) = (line for line in text.splitlines() if 'FP/img' in line)
    assert line == '| stratum | images | TP/img | FP/img | duplicate | confusion | partial | background | missed |'


@pytest.mark.parametrize('show', [format_table, to_markdown, strata_records, category_records, instance_records])
@pytest.mark.parametrize(('wrap', 'words'), [(lambda one: one, 'OcclusionResult'), (lambda one: {'bbox': one}, 'dict')])
def test_what_is_no_list_of_results_is_told(show, wrap, words):
    with pytest.raises(
        InputError, match=rf'^a {words} cannot be shown; give a list of OcclusionResult, e\.g\. evaluate'
    ):
        show(wrap(result()))
    assert len(show(iter([result()])))


@pytest.mark.parametrize('show', [print_comparison, difference_records])
def test_what_is_no_list_of_comparisons_is_told(show):
    made = comparison(result('a'), result('b'))
    for given in (made, Compared((), (made,)), [made, result()]):
        with pytest.raises(InputError, match='cannot be shown; give a list of Comparison, '):
            show(given)


def test_few_resamples_are_told():
    for resamples, is_few in ((99, True), (100, False)):
        one = replace(result(), bootstrap=Bootstrap(resamples, 0))
        two = replace(comparison(one, one), bootstrap=one.bootstrap)
        for note in (strata_sheet(one, 10).notes[-1], comparison_sheet(two, 'ap', 10).notes[-2]):
            assert f'{resamples} resamples of the images' in note
            assert ('too few to rely on (give 100 or more)' in note) == is_few
