import math
import re
from dataclasses import replace
from itertools import pairwise

import pytest

from mmhybrid.errors import InputError
from mmhybrid.occlusion.results import Measure
from mmhybrid.occlusion.show.report.gallery import GalleryGroup, GalleryImage
from mmhybrid.occlusion.show.report.page import render_report
from mmhybrid.occlusion.show.report.pictures import Mark, Picture
from mmhybrid.occlusion.show.tables import comparison_sheet, errors_sheet, instances_sheet, models_sheet, strata_sheet
from mmhybrid.occlusion.strata import all_images, bins, coco_occ, cumulative, groups

from ..sample import CATEGORIES, comparison, result
from . import pages

BAD_NUMBERS = re.compile(r'\b(nan|NaN|inf)\b')
HOSTILE = '</title><script>alert(1)</script> & "x" \'y\' <img src=http://a.test/b.png onerror=z>'

PICTURE = Picture(
    b'\xff\xd8jpeg',
    (640, 480),
    (Mark('missed', 'M1 2H9V8H1z', 'missed: <b>', (4, 19)), Mark('found', 'M1 2H9V9H1z', '')),
)


def small(name='TiedResNet-50', **others):
    """A result that makes a small page: figures take their time."""
    return result(name, full=False, strata=(all_images(), *bins((0, 0.5, 1))), **others)


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
        GalleryGroup('r = 0', [GalleryImage(7, 'x&y.jpg', 0.0123, PICTURE, {'missed': 3, 'partial': 0})]),
        GalleryGroup('r > 0', [GalleryImage(8, 'x', 0.0, PICTURE), GalleryImage(9, 'y', 0.0)]),
        GalleryGroup(HOSTILE, [GalleryImage(9, HOSTILE, 0.002)] * 8, HOSTILE, 'segm'),
    ]
    results[0] = replace(results[0], notes=(HOSTILE,))
    html = render_report(results, compared, pictures)
    return html, pages.read(html), results


def test_several_models_and_iou_types(several):
    _, page, results = several
    assert [node.text for node in page.all('h2')] == [
        'In short', 'Notes', 'AP against r', 'Boxes (bbox)', 'Masks (segm)', 'Images', 'How to read this',
        'What was evaluated',
    ]  # fmt: skip
    links = [link.attributes['href'] for link in page.first('nav').all('a')]
    ids = {node.attributes.get('id') for node in page.all()}
    assert links and all(link.startswith('#') and link[1:] in ids for link in links)
    captions = [node.text for node in page.all('caption')]
    for each in results:
        assert f'{each.name}: {each.iou_type} AP and AR in %, by occlusion ratio r (covered, bbox)' in captions


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
    assert any(HOSTILE in node.text for node in page.first('section', id='notes').all('li'))


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
        assert hidden or chart.attributes['role'] == 'img'
        assert hidden or chart.attributes.get('aria-label') or titles[chart.attributes['aria-labelledby']]
    named = {node.attributes.get('for') for node in page.all('label')}
    for node in page.all('input', 'select'):
        assert 'label' in pages.ancestors(node) or node.attributes['id'] in named


def test_every_table_is_rectangular(several):
    for table in several[1].all('table'):
        head = table.first('thead')
        upper = [int(cell.attributes.get('colspan', 1)) for cell in head.first('tr').all('th')]
        for row in table.all('tr'):
            if row.parent is not head:
                assert sum(int(c.attributes.get('colspan', 1)) for c in row.all('th', 'td')) == sum(upper)


def shown(page, sheet):
    """The table of a sheet: its rows without those that name a section, and the names of the sections."""
    title = sheet.title.replace('<=', '≤').replace('>=', '≥')
    table = next(table for table in page.all('table') if table.first('caption').text == title)
    rows = [row for row in table.rows() if len(row) > 1]
    names = [row[0] for row in table.rows() if len(row) == 1]
    return table, [[cell.replace('≤', '<=').replace('≥', '>=') for cell in row] for row in rows], names


def test_tables_are_those_of_the_terminal():
    a, b = result('A'), result('B', shift=0.03)
    made = comparison(a, b)
    page = page_of(a, b, comparisons=[made])
    sheets = [
        models_sheet([a, b], 10), strata_sheet(a, 10), strata_sheet(b, 10), errors_sheet(b, 10), instances_sheet(a, b),
        comparison_sheet(made, ['ap', 'ap50', 'ap75', 'ar'], 10),
    ]  # fmt: skip
    for sheet in sheets:
        # But for what a telephone has no room for: sizes come last.
        columns = list(sheet.columns)
        assert any(column.is_size for column in columns)
        sheet = replace(sheet, columns=tuple(sorted(columns, key=lambda each: each.is_size)))
        table, rows, names = shown(page, sheet)
        assert rows == [list(row) for row in zip(*(column.texts for column in sheet.columns), strict=True)]
        marked = [row.attributes.get('class') == 'few' for body in table.all('tbody') for row in body.all('tr')]
        assert sum(marked) == sum(sheet.few)
        assert names == [heading for heading, _ in sheet.sections if heading is not None]
        bold = [node.text for node in table.all('strong')]
        assert bold == [
            column.values[i] for i in range(len(rows)) for column in sheet.columns if column.strong and column.strong[i]
        ]
        assert all(note in page.text for note in sheet.notes)
    assert '+3.0' in bold and len(bold) == 4 * 18
    head = [cell.text for cell in table.first('thead').all('th')]
    assert head[:6] == ['stratum', 'AP', 'AP50', 'AP75', 'AR', 'images'] and head[6:8] == ['baseline', 'model']
    assert '*' not in page_of(result(), min_images=0).first('main').text


def test_category_table_holds_every_stratum():
    page = page_of(result('A'), result('B', shift=0.1))
    section = page.first('div', class_='categories')
    bodies = list(section.all('tbody'))
    assert 'hidden' in section.first('div', class_='controls').attributes
    titles = [[cell.text for cell in body.first('tr').all('th')] for body in bodies]
    assert len(bodies) == 20 and titles[:3] == [['all'], ['r = 0'], ['0 < r ≤ 0.1']]  # of 21, one has no categories
    assert all(len(list(body.all('tr'))) == 1 + 2 * len(CATEGORIES) for body in bodies)
    names = [row[:2] for row in section.first('table').rows()[1:7]]
    assert names == [[c, m] for c in ('bicycle & <b>', 'Hund $x$', 'person') for m in ('A', 'B')]
    assert ['person', 'A', '45.0', '63.0', '40.5', '45.0', '5,000', '10,000'] in section.first('table').rows()


def test_parts_that_are_not_there_are_left_out():
    page = page_of(result(full=False))
    assert [node.text for node in page.all('h2')] == [
        'In short', 'AP against r', 'Boxes (bbox)', 'How to read this', 'What was evaluated',
    ]  # fmt: skip
    assert [node.text for node in page.all('h3')] == ['AP by stratum']
    assert 'None were asked for' in page.text and 'interval' not in page.first('section', id='short').text
    assert not BAD_NUMBERS.search(page.first('main').text)


def test_the_answer_and_one_figure_come_first():
    strata = (all_images(), *bins((0, 0.5, 1)), *cumulative((0, 0.5)))
    a, b = result('A', strata=strata), result('B', shift=0.03, strata=strata)
    page = page_of(a, b, comparisons=[comparison(a, b)])
    first, second, *_ = page.first('main').all('section')
    assert first.first('p').text.replace('\N{NO-BREAK SPACE}', ' ') == (
        'B has the highest AP on all images, 48.0% [44.6, 50.9]: better than A (45.0%), '
        '+3.0 points [+2.0, +4.2], p = 0.040.'
    )
    assert [svg.first('title').text for svg in second.all('svg')] == [
        'AP in %: A and B, boxes (bbox)'
    ] * 2 and not list(second.all('table'))


def test_notes_are_near_the_top_each_once():
    one, two = (replace(small(name), notes=('both <b>', f'{name} alone')) for name in ('A', 'B'))
    page = page_of(one, two)
    notes = page.first('section', id='notes')
    assert [node.text for node in notes.all('li')] == ['both <b>', 'A: A alone', 'B: B alone']
    assert [node.attributes.get('id') for node in page.first('main').all('section')][:2] == ['short', 'notes']
    assert not list(page_of(small()).all('section', id='notes'))


def test_any_name_is_shown():
    name = 'a\ud800\u202e\x00\n<b>{{ 7 * 7 }}\ufffe مرحبا ' + 'x' * 300
    one = small(name, shift=math.nan)
    page = pages.read(render_report([one], title=name).encode().decode())
    shown = 'a\ufffd\ufffd\ufffd\n<b>{{ 7 * 7 }}\ufffd مرحبا ' + 'x' * 300
    assert page.first('h1').text == page.first('title').text == shown
    assert not BAD_NUMBERS.search(page.first('main').text) and 'AP is not defined' in page.text


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
    assert len(list(page.first('section', aria_labelledby='ap').all('svg', class_='plot'))) >= 1


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
    first, mixed, absent = (node for node in page.all('div') if node.attributes.get('class', '').startswith('pictures'))
    image = first.first('image')
    assert image.attributes['href'] == 'data:image/jpeg;base64,/9hqcGVn'
    alt = 'x&y.jpg with ground truth and detections: 3 missed'
    assert first.first('svg').attributes['aria-label'] == alt
    box = first.first('input', type='checkbox')
    assert box.attributes['aria-label'] == f'Labels in {alt}'
    assert first.first('label').attributes['for'] == box.attributes['id']
    assert [node.text for node in first.all('text')] == ['missed: <b>']  # what was found has none
    assert first.first('figcaption').text == 'x&y.jpg (id 7) costs 1.23 points of AP: 3 missed'
    one, two = mixed.all('figure')
    # The photograph is in the page once; marks are each picture's own.
    assert one.first('use').attributes['href'] == f'#{image.attributes["id"]}' and list(one.all('text'))
    assert two.first('div').text == 'The image file was not at hand.'
    assert len([node for node in absent.all('figcaption') if 'costs 0.20 points of AP' in node.text]) == 8
    assert any(node.text == f'{HOSTILE}, {HOSTILE}, masks' for node in page.all('h3'))


def test_same_arguments_same_page():
    assert render_report([small()]) == render_report([small()])


def test_titles():
    page = page_of(small(), title='T <1>')
    assert page.first('title').text == page.first('h1').text == 'T <1>'
    assert page_of(*(small(f'{i} {"x" * 30}') for i in range(3))).first('h1').text == (
        'Detection under occlusion: 3 models'
    )


@pytest.mark.parametrize(
    ('results', 'arguments', 'message'),
    [
        ([], {}, 'at least one result'),
        ([result(), result()], {}, "two bbox results are called 'TiedResNet-50'"),
        ([result(), result('B', strata=coco_occ())], {}, 'not on the same images and strata'),
        ([result(), replace(result('B'), measure=Measure('r', 'multi'))], {}, 'not on the same images'),
        ([result()], {'comparisons': [comparison(result(), result('B'))]}, "names 'B' (bbox)"),
        ([result(full=False)], {'comparisons': [comparison(result(iou_type='segm'), result('B'))]}, '(segm)'),
    ],
)
def test_what_does_not_belong_together(results, arguments, message):
    with pytest.raises(InputError, match=re.escape(message)):
        render_report(results, **arguments)
