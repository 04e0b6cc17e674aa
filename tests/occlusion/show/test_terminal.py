import io
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from mmhybrid.occlusion.read.ground_truth import load_ground_truth
from mmhybrid.occlusion.results import Interval
from mmhybrid.occlusion.selection import Stratification
from mmhybrid.occlusion.show.distribution import distribution_sheets
from mmhybrid.occlusion.show.sheet import Column, Sheet
from mmhybrid.occlusion.show.tables import category_sheets
from mmhybrid.occlusion.show.terminal import (
    fit,
    format_table,
    print_comparison,
    print_sheets,
    print_table,
)
from mmhybrid.occlusion.strata import Measure, all_images, bins, groups, tbc

from ..sample import comparison, result
from ..synthetic import dataset

LONG = 'work_dirs/a_very_long_folder/of_an_experiment_with_many_options/epoch_12.bbox'


def captured(call, *args, **options):
    text = io.StringIO()
    call(*args, file=text, **options)
    return text.getvalue()


def row(text, name):
    """Cells after a row's name, two blanks or more apart."""
    line = next(line for line in text.splitlines() if line.startswith(name + '  '))
    return [cell for cell in line[len(name) :].split('  ') if cell.strip()]


@pytest.mark.parametrize('width', [80, 100, 120, 160])
@pytest.mark.parametrize('full', [True, False])
def test_no_line_is_too_long_and_no_number_is_cut(width, full):
    one = result(full=full)
    text = format_table([one], width=width)
    assert max(map(len, text.splitlines())) <= width
    assert '…' not in text and '\x1b' not in text
    for each in one.strata:
        name = each.stratum.name + (' *' if each.num_images < 10 else '')
        cells = [cell.strip() for cell in row(text, name)]
        expected = '-' if math.isnan(each.ap) else f'{100 * each.ap:.1f}'
        if full and expected != '-':
            interval = each.intervals['ap']
            expected += f' [{100 * interval.low:.1f}, {100 * interval.high:.1f}]'
        assert cells[0] == f'{each.num_images:,}' and expected in cells
        assert cells[-1] == ('-' if math.isnan(each.ar) else f'{100 * each.ar:.1f}')


def test_columns_that_are_left_out_are_named():
    narrow, wide = (format_table([result()], width=width).splitlines() for width in (80, 120))
    assert wide[2].split() == [
        'stratum', 'images', 'instances', 'inst/img', 'categories', 'AP', 'common', 'AP50', 'AP75', 'APs', 'APm', 'APl',
        'AR',
    ]  # fmt: skip
    assert narrow[2].split() == ['stratum', 'images', 'inst/img', 'AP', 'common', 'AP50', 'AP75', 'AR']
    assert 'no room at this width for categories, APs, APm, APl, instances' in narrow
    assert not any('no room' in line for line in wide)


def test_what_is_no_terminal_gets_every_column(monkeypatch):
    monkeypatch.delenv('COLUMNS', raising=False)
    piped = captured(print_table, [result()])
    assert piped == format_table([result()]) == format_table([result()], width=1000)
    assert 'no room' not in piped and 'APs' in piped
    monkeypatch.setenv('COLUMNS', '90')
    assert captured(print_table, [result()]) == format_table([result()], width=90) != piped


def test_without_intervals_80_columns_hold_sizes_and_metrics():
    lines = format_table([result(full=False)], width=80).splitlines()
    assert lines[2].split() == ['stratum', 'images', 'instances', 'inst/img', 'AP', 'AP50', 'AP75', 'AR']


def test_sections_are_apart():
    strata = (*tbc(), *groups(['day', 'night']))
    lines = format_table([result(strata=strata, full=False)], width=80).splitlines()
    table = lines[4 : next(i for i, line in enumerate(lines) if line.startswith('* '))]
    sections = ' '.join(line.split('  ')[0].replace(' *', '') or '|' for line in table).split(' | ')
    assert sections[0] == 'all' and sections[1] == 'day night'
    assert sections[2].startswith('r = 0 0 < r <= 0.1') and sections[3].startswith('r >= 0 r >= 0.1')


def test_few_images():
    assert format_table([result(full=False)], min_images=10).count(' *') == 3
    assert '*' not in format_table([result(full=False)], min_images=0)


def test_recall_and_errors_are_printed_if_there():
    text = format_table([result()], width=120)
    assert [cell.strip() for cell in row(text, '0.2 < f <= 0.4')] == [
        '1,200', '70.0 [68.0, 72.0]', '56.0 [54.0, 58.0]', '49.0 [47.0, 51.0]',
    ]  # fmt: skip
    errors = text[text.index('errors per image') :]
    # 630 images with 0.3 duplicates, 1 confusion, 0.5 partial and 3 background each, and 2 of 7 instances missed.
    assert [cell.strip() for cell in row(errors, '0.3 < r <= 0.4')] == [
        '630', '5.00', '4.80', '0.30 6%', '1.00 21%', '0.50 10%', '3.00 62%', '2.00 29%',
    ]  # fmt: skip
    assert [cell.strip() for cell in row(errors, '0.9 < r <= 1 *')] == ['0', *'-------']
    assert 'covered fraction f (bbox)' in text
    plain = format_table([result(full=False)])
    assert 'recall in %' not in plain and 'errors' not in plain


@pytest.mark.parametrize('name', ['[bold]x[/bold] [/] [a](b)', LONG, 'a\nb\x1b[31m\tc', 'Zürich 東京', 'x\udc80y', ''])
def test_any_name(name):
    text = format_table([result(name), result('other')], width=80)
    assert all(cell_len(line) <= 80 for line in text.splitlines())
    assert '\x1b' not in text
    kept = name.replace('\n', ' ').replace('\t', ' ').replace('\x1b', '?').replace('\udc80', '?')
    # A title that is too long goes on in the next line.
    assert kept in text.replace('\n', '') or kept in text.replace('\n', ' ')


def test_output_that_takes_only_ascii():
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding='ascii', write_through=True)
    print_table([result('Zürich 東京')], file=file)
    assert raw.getvalue().startswith(b'Z?rich ??: bbox AP')


def test_long_group_names_fold():
    label = 'a label of more than a hundred characters ' * 3
    text = format_table([result(strata=(all_images(), *groups([label])))], width=80)
    assert max(map(len, text.splitlines())) <= 80 and '45.0 [41.9, 47.7]' in text


def test_models_side_by_side():
    models = [result('x'), result('y', shift=0.02), result('z', 'segm')]
    text = format_table(models, width=80)
    text = text[text.index('\nbbox AP in %') :]
    assert [cell.strip() for cell in row(text, 'r >= 0.5')] == ['450', '30.0 [27.9, 31.8]', '32.0 [29.8, 33.9]']
    assert 'segm AP in %, by' not in text
    assert '\nbbox AP in %' not in format_table(models[1:])


def test_many_models_keep_every_ap():
    models = [result(f'{LONG}{i}', shift=0.01 * i) for i in range(6)]
    text = format_table(models, width=80)
    text = text[text.index('\nbbox AP in %') :]
    assert [cell.strip() for cell in row(text, 'r >= 0.5')][1:] == ['30.0', '31.0', '32.0', '33.0', '34.0', '35.0']
    assert all(f'({i + 1}) = {LONG}{i}' in text.replace('\n', '') for i in range(6))
    assert '[low, high]' not in text and 'no room at this width for the intervals' in text


def test_comparison():
    a, b = result('[a]'), result('b', shift=0.02)
    made = comparison(a, b)
    other = [Interval(-0.03, -0.02), Interval(-0.01, 0.01), Interval(math.nan, math.nan)]
    rows = [replace(each, interval=where) for each, where in zip(made.differences[:12:4], other, strict=True)]
    made = replace(made, differences=(*rows, *made.differences[12:]))
    text = captured(print_comparison, [made], width=100)
    assert 'b minus [a]: bbox AP in %' in text
    assert row(text, 'all')[-1].strip() == 'worse'
    assert row(text, 'r = 0')[-1].strip() == '0.040'
    assert [cell.strip() for cell in row(text, '0 < r <= 0.1')][3:] == ['+2.0', '0.040']
    assert [c.strip() for c in row(text, '0.1 < r <= 0.2')][1:] == [
        '42.0', '44.0', '+2.0 [+1.0, +3.2]', '0.040', 'better',
    ]  # fmt: skip
    # In the sample a bin and the cumulative stratum that begins with it hold as many images at the same AP.
    assert '10 differences are tested: 0.5 would exclude 0 by chance alone; for a single one ask p < 0.005' in text
    assert 'which takes more than 400 resamples (--bootstrap)' in ' '.join(text.split())
    assert 'also compared: AP50, AP75, AR' in text
    assert max(map(len, captured(print_comparison, [made], width=80).splitlines())) <= 80


def test_comparison_of_other_metrics():
    made = comparison(result('a'), result('b'))
    text = captured(print_comparison, [made], metrics=('ap75', 'ar'), width=100)
    assert 'bbox AP75 in %' in text and 'bbox AR in %' in text and 'bbox AP in %' not in text
    assert captured(print_comparison, [replace(made, differences=())]) == ''


def test_categories():
    text = captured(print_sheets, category_sheets([result(), result(full=False)], 10), width=120)
    assert text.count('AP in % by category') == 1
    assert [cell.strip() for cell in row(text, 'bicycle & <b>')][:2] == ['22.5 (5,000)', '22.5 (900)']
    assert 'person' in text and 'Hund $x$' in text
    top = captured(print_sheets, category_sheets([result()], 10, top=1), width=80)
    assert 'person' in top and 'Hund' not in top and '2 categories with fewer instances are left out' in top


def test_distribution():
    gt = load_ground_truth(dataset(3)[0])
    ids = gt.image_ids.tolist()
    values = {image_id: index / len(ids) for index, image_id in enumerate(ids)}
    fractions = np.linspace(0, 1, len(gt.annotation_ids))
    parts = (all_images(), *bins((0, 0.5, 1)))
    made = Stratification(Measure(), values, parts, fractions, 'covered fraction f (bbox)')
    text = captured(print_sheets, distribution_sheets(made, gt), width=80)
    for part in parts:
        members = [image_id for image_id in ids if part.contains(values[image_id])]
        on = [
            image_id in members
            for image_id, crowd in zip(gt.annotation_image_ids, gt.is_crowd, strict=True)
            if not crowd
        ]
        cells = [cell.strip() for cell in row(text, part.name)]
        assert cells[:4] == [
            str(len(members)), f'{100 * len(members) / len(ids):.1f}', str(sum(on)), f'{100 * np.mean(on):.1f}',
        ]  # fmt: skip
    counted = fractions[~gt.is_crowd]
    assert row(text, '0.2 < f <= 0.4')[0].strip() == str(int(((counted > 0.2) & (counted <= 0.4)).sum()))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 4), st.booleans()), min_size=1, max_size=9),
    st.integers(80, 140),
)
def test_fitting_leaves_nothing_out_unsaid(columns, width):
    made = [
        Column(f'c{i}', ('x',), ('x' * size,), drop=drop) if detailed else Column(f'c{i}', ('x' * size,), drop=drop)
        for i, (size, drop, detailed) in enumerate(columns)
    ]
    sheet = Sheet('title', (Column('name', ('row',)), *made), ((None, 1),), (False,), ())
    fitted = fit(sheet, width)
    kept = {column.title for column in fitted.columns}
    notes = ' '.join(fitted.notes).replace(',', '').split()
    total = sum(max(len(c.title), len(c.texts[0])) for c in fitted.columns) + 2 * (len(fitted.columns) - 1)
    for column in made:
        assert column.title in kept or (column.drop and column.title in notes)
        shown = next((each for each in fitted.columns if each.title == column.title), column)
        assert shown.texts == column.texts or column.title in notes
    if total > width:
        assert all(not column.drop or not column.details for column in fitted.columns)
    if sum(max(2, size + 2 * detailed) for size, _, detailed in columns) + 2 * len(columns) + 4 <= width:
        assert fitted == sheet
