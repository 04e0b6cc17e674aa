import json
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhybrid.errors import InputError
from mmhybrid.occlusion.results import Measure
from mmhybrid.occlusion.show.report import GalleryGroup, GalleryImage, render_report, write_report
from mmhybrid.occlusion.show.report.markup import Markup, tag
from mmhybrid.occlusion.strata import all_images, bins, coco_occ, cumulative, groups

from ..sample import CATEGORIES, comparison, result
from . import pages

ROOT = Path(__file__).parents[2]
BAD_NUMBERS = re.compile(r'\b(nan|NaN|inf)\b')
HOSTILE = '</title><script>alert(1)</script> & "x" \'y\' <img src=http://a.test/b.png onerror=z>'


def page_of(*results, **arguments):
    return pages.read(render_report(results, **arguments))


@pytest.fixture(scope='module')
def several():
    """Three models, two IoU types, comparisons and a gallery: the text, the page and the results."""
    results = [
        result(name, iou_type, shift=shift)
        for iou_type in ('bbox', 'segm')
        for name, shift in (('A', 0.0), (HOSTILE, 0.031), ('C', -0.02))
    ]
    compared = [comparison(results[0], results[1]), comparison(results[3], results[5])]
    pictures = [
        GalleryGroup('r = 0', [GalleryImage(7, 'x&y.jpg', 0.0123, b'\xff\xd8jpeg', {'missed': 3, 'partial': 0})]),
        GalleryGroup('r > 0', [GalleryImage(8, 'x', 0.0, b'\xff'), GalleryImage(9, 'y', 0.0)]),
        GalleryGroup(HOSTILE, [GalleryImage(9, HOSTILE, 0.002)] * 8, HOSTILE, 'segm'),
    ]
    html = render_report(results, compared, pictures, notes=[HOSTILE])
    return html, pages.read(html), results


def test_several_models_and_iou_types(several):
    _, page, results = several
    assert [node.text for node in page.all('h2')] == [
        'In short', 'What was evaluated', 'Boxes (bbox)', 'Masks (segm)', 'Images', 'How to read this',
    ]  # fmt: skip
    links = [link.attributes['href'] for link in page.first('nav').all('a')]
    ids = {node.attributes.get('id') for node in page.all()}
    assert links and all(link.startswith('#') and link[1:] in ids for link in links)
    captions = [node.text for node in page.all('caption')]
    for each in results:
        assert f'{each.name}, {each.iou_type}: AP and AR in %' in captions


def test_nothing_is_fetched_and_nothing_given_becomes_markup(several):
    html, page, _ = several
    assert len(list(page.all('script'))) == len(list(page.all('style'))) == 1
    fetching = {'src', 'href', 'data', 'poster', 'srcset', 'action', 'xlink:href', 'background'}
    for node in page.all():
        assert node.name not in ('link', 'iframe', 'object', 'embed', 'base', 'form')
        assert not any(name.startswith('on') for name in node.attributes), node.attributes
        for name in fetching & set(node.attributes):
            assert node.attributes[name].startswith(('#', 'data:image/jpeg;base64,')), node.attributes
    for code in (page.first('style').text, page.first('script').text):
        assert not re.search(r'url\(|@import|https?:|//[a-z]|fetch|XMLHttp|import\(', code)
    policy = page.first('meta', http_equiv='Content-Security-Policy').attributes['content']
    assert "default-src 'none'" in policy and 'http' not in policy
    assert page.text.count('<script>alert(1)</script>') > 10 and '<script>alert' not in html
    assert any(node.text == HOSTILE for node in page.all('p'))


def test_headings_tables_and_images_are_accessible(several):
    _, page, _ = several
    levels = [int(node.name[1]) for node in page.all('h1', 'h2', 'h3', 'h4')]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.first('html').attributes['lang'] == 'en'
    titles = {node.attributes.get('id'): node.text for node in page.all()}
    for table in page.all('table'):
        assert table.first('caption').text
        assert all(cell.attributes['scope'] for cell in table.all('th'))
        region = table.parent
        assert region.attributes['role'] == 'region' and region.attributes['tabindex'] == '0'
        assert titles[region.attributes['aria-labelledby']] == table.first('caption').text
    for chart in page.all('svg'):
        hidden = chart.attributes.get('aria-hidden') == 'true'
        assert hidden or (chart.attributes['role'] == 'img' and titles[chart.attributes['aria-labelledby']])
    assert all(image.attributes['alt'] for image in page.all('img'))
    assert all('label' in pages.ancestors(node) for node in page.all('input', 'select'))


def test_every_table_is_rectangular(several):
    for table in several[1].all('table'):
        head = table.first('thead')
        upper = [int(cell.attributes.get('colspan', 1)) for cell in head.first('tr').all('th')]
        for row in table.all('tr'):
            if row.parent is not head:
                assert sum(int(c.attributes.get('colspan', 1)) for c in row.all('th', 'td')) == sum(upper)


def test_strata_table():
    page = page_of(result())
    rows = page.first('table').names_in_rows()
    given = {row.stratum.name.replace('<=', '≤').replace('>=', '≥'): row for row in result().strata}
    given['all images'] = given.pop('all')
    assert {name.removesuffix(' *') for name in rows} == set(given)
    for name, cells in rows.items():
        row = given[name.removesuffix(' *')]
        assert name.endswith(' *') == (row.num_images < 10)
        expected = [f'{row.num_images:,}', f'{row.num_instances:,}']
        if row.num_images:
            low, high = row.intervals['ap'].low, row.intervals['ap'].high
            metrics = [row.ap50, row.ap75, row.aps, row.apm, row.apl, row.ar, row.ap_common]
            expected += ['7.0', '3', f'{100 * row.ap:.1f}', f'{100 * low:.1f} to {100 * high:.1f}']
            expected += [f'{100 * metric:.1f}' for metric in metrics]
        else:
            expected += ['–', '0', *['–'] * 9]
        assert cells == expected
    assert '* fewer than 10 images' in page.text and '*' not in page_of(result(), min_images=0).first('main').text


def test_comparison_table():
    a, b = result('A'), result('B', shift=0.03)
    made = comparison(a, b)
    page = page_of(a, b, comparisons=[made])
    table = next(t for t in page.all('table') if 'minus' in t.first('caption').text)
    cells = table.names_in_rows()
    # AP +3.0 [2.0, 4.2]; AP50 is 1.4 times AP, hence +4.2; AP75 0.9 times, AR 1.2 times.
    assert cells['all images'] == [
        '5,000', '45.0', '48.0', '+3.0 +2.0 to +4.2', '0.040', '+4.2 +3.2 to +5.4', '0.040', '+2.7 +1.7 to +3.9',
        '0.040', '+3.6 +2.6 to +4.8', '0.040',
    ]  # fmt: skip
    assert cells['0.9 < r ≤ 1 *'] == ['0', *['–'] * 10]
    bold = [node.text for node in table.all('strong')]
    assert bold.count('+3.0') == 18 and '–' not in bold
    assert '84 differences' in page.text and 'about 4.2 of them' in page.text


def test_a_difference_of_nothing_is_not_bold():
    a, b = result('A'), result('B', shift=0.0001)
    page = page_of(a, b, comparisons=[comparison(a, b)])
    table = next(t for t in page.all('table') if 'minus' in t.first('caption').text)
    assert table.names_in_rows()['all images'][3] == '±0.0 \N{MINUS SIGN}1.0 to +1.2'
    assert not list(table.all('strong'))


def test_category_table_holds_every_stratum():
    page = page_of(result('A'), result('B', shift=0.1))
    section = page.first('div', class_='categories')
    options = [node.text for node in section.all('option')]
    bodies = list(section.all('tbody'))
    assert len(options) == len(bodies) == 20 and '0.9 < r ≤ 1' not in options  # 21 strata, one without categories
    assert 'hidden' in section.first('div', class_='controls').attributes
    for option, body in zip(options, bodies, strict=True):
        title, *rows = [[cell.text for cell in row.all('th', 'td')] for row in body.all('tr')]
        assert title == [option] and len(rows) == 2 * len(CATEGORIES)
    names = [row[:2] for row in section.first('table').rows()[1:7]]
    assert names == [[c, m] for c in ('bicycle & <b>', 'Hund $x$', 'person') for m in ('A', 'B')]
    assert ['person', 'A', '5,000', '10,000', '45.0', '63.0', '40.5', '45.0'] in section.first('table').rows()


def test_recall_and_errors():
    page = page_of(result())
    tables = {table.first('caption').text: table for table in page.all('table')}
    recall = next(table for caption, table in tables.items() if caption.startswith('Share of the instances found'))
    assert recall.names_in_rows()['0.4 < f ≤ 0.6'] == [
        '1,200', '60.0 58.0 to 62.0', '48.0 46.0 to 50.0', '42.0 40.0 to 44.0',
    ]  # fmt: skip
    errors = next(table for caption, table in tables.items() if 'by kind at IoU 0.5' in caption)
    # On 450 images: 5, 0.5, 1, 0.5 and 3 detections an image, 2 instances of 7 missed.
    assert errors.names_in_rows()['0.5 < r ≤ 0.6'] == [
        '450', '5.00', '0.50 10%', '1.00 20%', '0.50 10%', '3.00 60%', '5.00', '2.00 29%',
    ]  # fmt: skip


def test_parts_that_are_not_there_are_left_out():
    page = page_of(result(full=False))
    headings = [node.text for node in page.all('h3')]
    assert headings == ['Boxes (bbox)', 'AP against r', 'Strata']
    assert 'No intervals were asked for' in page.text and 'interval' not in page.first('thead').text
    assert not BAD_NUMBERS.search(page.first('main').text)


@pytest.mark.parametrize(
    'strata',
    [
        (all_images(),),
        coco_occ(),
        (all_images(), *groups(['day', 'night <b>', 'a very long label of a group'])),
        (all_images(), *bins((0, 0.3, float('inf')), 'size')),
        (all_images(), *cumulative((0, 0.001, 0.5), 'r')),
    ],
)
def test_any_strata(strata):
    page = page_of(result(strata=strata), result('B', strata=strata))
    assert not BAD_NUMBERS.search(page.first('main').text)
    assert not BAD_NUMBERS.search(' '.join(str(node.attributes) for node in page.first('main').all()))
    charts = [node for node in page.all('figure') if node.first('title').text.endswith('AP in %')]
    assert sum(len(list(chart.all('path', class_='marker'))) for chart in charts) == 2 * (len(strata) - 1)


def test_the_users_own_property_is_not_called_occlusion():
    own = Measure('crowding', 'user', '')
    strata = (all_images(), *bins((0, 0.5, 1), 'crowding'))
    page = page_of(replace(result(strata=strata), measure=own, instances=()))
    main = page.first('main').text
    assert page.first('h1').text == 'Detection by crowding: TiedResNet-50'
    assert 'AP against crowding' in main and 'a property of each image that the user gave' in main
    assert 'occlu' not in main.lower()


def test_gallery(several):
    page = several[1]
    first, mixed = page.all('div', class_='pictures')
    image = first.first('img')
    assert image.attributes['src'] == 'data:image/jpeg;base64,/9hqcGVn'
    assert first.text == 'x&y.jpg (id 7) costs 1.23 points of AP: 3 missed'
    shown, absent = mixed.all('figure')
    assert list(shown.all('img')) and absent.text.startswith('The image file was not at hand.y (id 9)')
    # A group without any picture is a list.
    assert page.text.count('The image files were not at hand:') == 1
    assert len([node for node in page.all('li') if 'costs 0.20 points of AP' in node.text]) == 8
    assert any(node.text == f'{HOSTILE}, {HOSTILE}, masks' for node in page.all('h3'))


def test_same_arguments_same_page():
    assert render_report([result()]) == render_report([result()])


def test_titles_and_notes():
    page = page_of(result(), title='T <1>', notes='one\ttext')
    assert page.first('title').text == page.first('h1').text == 'T <1>'
    assert next(page.first('main').all('p')).text == 'one\ttext'
    assert page_of(*(result(f'{i} {"x" * 30}') for i in range(3))).first('h1').text == (
        'Detection under occlusion: 3 models'
    )


@pytest.mark.parametrize(
    ('results', 'arguments', 'message'),
    [
        ([], {}, 'at least one result'),
        ([result(), result()], {}, "two bbox results are called 'TiedResNet-50'"),
        ([result(), result('B', strata=coco_occ())], {}, 'not on the same images'),
        ([result(), replace(result('B'), measure=Measure('r', 'multi'))], {}, 'not on the same images'),
        ([result()], {'comparisons': [comparison(result(), result('B'))]}, "names 'B' (bbox)"),
        ([result(full=False)], {'comparisons': [comparison(result(iou_type='segm'), result('B'))]}, '(segm)'),
    ],
)
def test_what_does_not_belong_together(results, arguments, message):
    with pytest.raises(InputError, match=re.escape(message)):
        render_report(results, **arguments)


def test_write(tmp_path):
    write_report([result('é')], tmp_path / 'a.html', min_images=3)
    assert (tmp_path / 'a.html').read_bytes().decode() == render_report([result('é')], min_images=3)
    with pytest.raises(InputError, match='cannot be written'):
        write_report([result()], tmp_path / 'none' / 'a.html')


def test_rendering_needs_neither_torch_nor_a_plotting_library():
    code = (
        'import sys; from tests.occlusion.sample import result;'
        'from mmhybrid.occlusion.show.report import render_report; render_report([result()]);'
        'sys.exit(", ".join(sorted({"torch", "mmdet", "matplotlib", "PIL"} & set(sys.modules))) or 0)'
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30))
def test_text_survives_markup(text):
    node = pages.read(f'<!DOCTYPE html>\n{tag("p", text, title=text)}').first('p')
    # Carriage returns and controls cannot be written in HTML; all else comes back.
    kept = ''.join(c for c in text if c.isprintable() or c in '\t\n ')
    assert ''.join(c for c in node.text if c.isprintable() or c in '\t\n ').replace('\ufffd', '') == kept.replace(
        '\ufffd', ''
    )
    assert node.attributes['title'] == node.text
    assert tag('p', Markup('<b>')) == '<p><b></p>' and tag('i', None, 0, hidden=True, x=None) == '<i hidden>0</i>'


def test_json_and_page_show_the_same_ap():
    text = page_of(result()).first('table').text
    for row in json.loads(result().to_json())['strata']:
        assert row['ap'] is None or f'{100 * row["ap"]:.1f}' in text
