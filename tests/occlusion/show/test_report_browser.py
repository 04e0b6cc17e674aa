"""The report in a real browser. Needs a Chromium."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mmhybrid.occlusion.show.report.gallery import GalleryGroup, GalleryImage
from mmhybrid.occlusion.show.report.page import render_report
from mmhybrid.occlusion.show.report.pictures import Shown, draw_picture

from ..sample import comparison, result, scored
from . import browser

pytestmark = pytest.mark.skipif(
    browser.executable() is None, reason=f'no Chromium on the path ({", ".join(browser.NAMES)})'
)
LONG = 'A_model_without_any_space_' * 6 + ' & <b>"others"</b>'


@pytest.fixture(scope='module')
def chromium(tmp_path_factory):
    with browser.Browser(tmp_path_factory.mktemp('browser') / 'profile') as running:
        yield running


@pytest.fixture(scope='module')
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp('reports')
    results = [result(n, t, shift=s) for t in ('bbox', 'segm') for n, s in (('A', 0), (LONG, 0.03), ('C', 0.05))]
    Image.new('RGB', (640, 400), 'navy').save(folder / 'x.png')
    shown = [Shown((10, 50, 600, 300), 'dog', 'missed'), Shown((300, 90, 90, 90), 'cat', 'partial', 0.4)]
    picture = draw_picture(folder / 'x.png', shown)
    images = [GalleryImage(i, 'x' * 80 + '.jpg', 0.01, picture, {'missed': 2}) for i in range(3)]
    (folder / 'one.html').write_text(render_report([scored(results[0])]))
    results[0] = replace(results[0], notes=(LONG,))
    page = render_report(results, [comparison(*results[:2])], [GalleryGroup('r = 0', images)])
    (folder / 'several.html').write_text(page)
    return {'one': folder / 'one.html', 'several': folder / 'several.html'}


@pytest.mark.parametrize('name', ['one', 'several'])
@pytest.mark.parametrize('width', [320, 768, 1280, 2560])
def test_nothing_is_wider_than_the_window(chromium, pages, name, width):
    chromium.open(pages[name], width)
    assert chromium.run('innerWidth') == width
    assert chromium.run('document.documentElement.scrollWidth <= innerWidth')
    # No text is cut: whatever reaches beyond the window does so inside a region that scrolls.
    outside = chromium.run(
        '[...document.querySelectorAll("main *")].filter(e => !e.closest(".scroll table, svg")'
        ' && e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.outerHTML.slice(0, 80))'
    )
    assert outside == []


@pytest.mark.parametrize('name', ['one', 'several'])
def test_no_request_and_no_complaint(chromium, pages, name):
    chromium.open(pages[name])
    requested = [event['request']['url'] for event in chromium.named('Network.requestWillBeSent')]
    assert [url for url in requested if not url.startswith('data:')] == [pages[name].as_uri()]
    for kind in ('Log.entryAdded', 'Runtime.exceptionThrown', 'Runtime.consoleAPICalled'):
        assert chromium.named(kind) == []


def test_the_page_itself_forbids_requests(chromium, pages):
    chromium.open(pages['one'])
    asked = chromium.run('fetch("data:text/plain,x").then(() => "answered", () => "refused")')
    assert asked == 'refused' and 'Content Security Policy' in str(chromium.events)


def test_light_dark_and_print(chromium, pages):
    def ground_and_text():
        found = chromium.run(
            '(s => [s.backgroundColor, s.color, getComputedStyle(document.querySelector(".plot text")).fill])'
            '(getComputedStyle(document.body))'
        )
        return [sum(map(int, colour[4:-1].split(','))) / 3 for colour in found]

    chromium.open(pages['one'])
    ground, text, label = ground_and_text()
    assert ground > 240 and text < 50 and label < 50
    chromium.open(pages['one'], dark=True)
    ground, text, label = ground_and_text()
    assert ground < 40 and text > 200 and label > 200
    corner = np.asarray(Image.open(io.BytesIO(chromium.screenshot())))[-5:, :5, :3]
    assert corner.max() < 40  # what is painted is dark too
    chromium.open(pages['one'], dark=True, media='print')
    assert ground_and_text()[0] > 240
    assert chromium.run('getComputedStyle(document.querySelector("nav")).display') == 'none'


SHOWN = (
    '[...document.querySelectorAll(".categories")][0].querySelectorAll("tbody tr").values()'
    '.filter(r => r.offsetParent !== null).map(r => [...r.cells].map(c => c.textContent)).toArray()'
)


def test_categories_are_chosen_filtered_and_sorted(chromium, pages):
    chromium.open(pages['several'])
    rows = chromium.run(SHOWN)
    assert rows[0] == ['all'] and len(rows) == 1 + 9  # three categories, three models
    chromium.run(
        's = document.querySelector(".categories select"); s.selectedIndex = 3; s.dispatchEvent(new Event("change"));'
        'i = document.querySelector(".categories input"); i.focus()'
    )
    assert chromium.run(SHOWN)[0] == ['0.1 < r ≤ 0.2']
    chromium.call('Input.insertText', text='PERS')
    rows = chromium.run(SHOWN)
    assert [row[:2] for row in rows[1:]] == [['person', 'A'], ['person', LONG], ['person', 'C']]
    assert chromium.run('document.querySelector(".categories output").textContent') == '3 of 9 rows'
    for expected in ('descending', 'ascending'):
        chromium.run('[...document.querySelectorAll(".categories th button")].find(b => b.textContent == "AP").click()')
        aps = [float(row[2]) for row in chromium.run(SHOWN)[1:]]
        assert aps == sorted(aps, reverse=expected == 'descending') and len(set(aps)) == 3
        states = chromium.run('[...document.querySelectorAll(".categories th")].map(t => t.getAttribute("aria-sort"))')
        assert [state for state in states if state] == [expected]
    chromium.run(
        'i.value = ""; i.dispatchEvent(new Event("input"));document.querySelector(".categories th button").click()'
    )
    names = [row[0] for row in chromium.run(SHOWN)[1:]]
    assert len(names) == 9 and names == sorted(names, key=str.casefold)


def test_the_keyboard_reaches_everything(chromium, pages):
    chromium.open(pages['one'])
    reached = set()
    for _ in range(60):
        for kind in ('keyDown', 'keyUp'):
            chromium.call('Input.dispatchKeyEvent', type=kind, key='Tab', code='Tab', windowsVirtualKeyCode=9)
        reached.add(
            chromium.run(
                '(e => (e.closest(".categories") ? "categories " : "") + e.tagName'
                ' + (e.className ? "." + e.className : ""))(document.activeElement)'
            )
        )
    expected = {
        'A.skip',
        'A',
        'DIV.scroll',
        'categories SELECT',
        'categories INPUT',
        'categories BUTTON',
        'categories DIV.scroll',
    }
    assert expected <= reached


def test_without_scripts_every_stratum_is_there(chromium, pages):
    chromium.open(pages['one'], scripts=False)
    # DevTools may still evaluate: only the page's own scripts are off.
    shown = chromium.run('[...document.querySelectorAll(".categories tbody")].filter(b => b.offsetHeight > 0).length')
    controls = chromium.run('document.querySelector(".controls").offsetHeight')
    chromium.call('Emulation.setScriptExecutionDisabled', value=False)
    assert shown == 20 and controls == 0


LABELS = (
    '[...document.querySelectorAll(".picture text")].filter(e => getComputedStyle(e).visibility == "visible")'
    '.map(e => e.textContent)'
)


def press(chromium, x, y, kinds=('mousePressed', 'mouseReleased')):
    for kind in ('mouseMoved', *kinds):
        chromium.call('Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left', clickCount=1)


@pytest.mark.parametrize('scripts', [True, False])
def test_pictures_show_labels_when_asked(chromium, pages, scripts):
    chromium.open(pages['several'], scripts=scripts)
    try:
        # The second is the same photograph.
        boxes = chromium.run(
            'document.querySelector(".pictures").scrollIntoView(), [...document.querySelectorAll(".picture")]'
            '.map(e => e.getBoundingClientRect()).map(r => [r.left, r.top, r.width, r.height])'
        )
        assert len(boxes) == 3 and min(box[2] for box in boxes) > 300
        assert chromium.run(LABELS) == []
        (x, y, width, height), scale = boxes[0], boxes[0][2] / 640
        top = y + (height - 400 * scale) / 2  # a picture keeps its shape
        press(chromium, x + 340 * scale, top + 130 * scale, ())
        assert chromium.run(LABELS) == ['cat 0.40 partial']  # the smallest box at the pointer
        press(chromium, x + 100 * scale, top + 130 * scale, ())
        assert chromium.run(LABELS) == ['missed: dog']
        press(chromium, x + width / 2, top + 5)
        assert chromium.run(LABELS) == ['missed: dog', 'cat 0.40 partial']
        press(chromium, x + width / 2, top + 5)
        assert chromium.run(LABELS) == []
        chromium.run('document.querySelector(".pictures .toggle").focus({preventScroll: true})')
        chromium.call('Input.dispatchKeyEvent', type='keyDown', key=' ', code='Space', text=' ')
        chromium.call('Input.dispatchKeyEvent', type='keyUp', key=' ', code='Space')
        assert len(chromium.run(LABELS)) == 2
        chromium.run('document.querySelector("#every-label").click()')
        chromium.call('Emulation.setEmulatedMedia', media='print')
        assert len(chromium.run(LABELS)) == 6  # prints as it is shown
    finally:
        chromium.call('Emulation.setScriptExecutionDisabled', value=False)


@pytest.mark.parametrize('width', [400, 1280])
def test_rows_of_pictures_are_full(chromium, pages, width):
    chromium.open(pages['several'], width)
    figures, room = chromium.run(
        '[[...document.querySelectorAll(".pictures > figure")].map(e => e.getBoundingClientRect())'
        '.map(r => [Math.round(r.top), r.left, r.right]),'
        ' document.querySelector(".pictures").getBoundingClientRect().right]'
    )
    rows = {top: max(right for t, _, right in figures if t == top) for top, *_ in figures}
    assert len(rows) == (3 if width == 400 else 1) and all(abs(right - room) < 1 for right in rows.values())


@pytest.mark.parametrize('width', [400, 1280])
def test_navigation_stays_and_tells_where_one_is(chromium, pages, width):
    chromium.open(pages['several'], width)
    for _ in range(2):
        for link in chromium.run('[...document.querySelectorAll("nav a")].map(e => e.hash)'):
            found = chromium.run(
                f'new Promise(done => {{ location.hash = ""; location.hash = "{link}"; requestAnimationFrame(() =>'
                ' requestAnimationFrame(() => { const n = document.querySelector("nav"), c = [...n.querySelectorAll('
                f'"[aria-current]")], r = c[0].getBoundingClientRect(), t = document.querySelector("{link}")'
                '.getBoundingClientRect(), b = n.getBoundingClientRect(); done([c.map(e => e.hash), r.left >= 0 &&'
                ' r.right <= innerWidth, t.top >= b.bottom - 1, b.height]) })) })'
            )
            # Sections at the end of the page, which cannot come to its top, may share their place.
            assert len(found[0]) == 1 and found[1:3] == [True, True] and found[3] < 60
            if link not in ('#reading', '#evaluated'):
                assert (
                    found[0] == [link]
                    and chromium.run('document.querySelector("nav").getBoundingClientRect().top') <= 130
                )


@pytest.mark.parametrize('name', ['one', 'several'])
def test_ap_is_seen_on_a_telephone(chromium, pages, name):
    chromium.open(pages[name], 400)
    tables = chromium.run(
        '[...document.querySelectorAll("table")].map(t => [t.caption.textContent, [...t.tHead.querySelectorAll("th")]'
        '.filter(e => !e.hasAttribute("colspan")).map(e => [e.textContent, e.getBoundingClientRect().right])])'
    )
    seen = 0
    for caption, columns in tables:
        for wanted in ('AP', 'baseline', 'difference'):
            rights = [right for title, right in columns if title == wanted][:1]
            # LONG folds: a model's name may take more than a telephone has.
            assert all(right < 400 for right in rights) or LONG in caption or 'by category' in caption, (
                caption,
                columns,
            )
            seen += len(rights)
    assert seen > (1 if name == 'one' else 6)


@pytest.mark.parametrize('name', ['one', 'several'])
def test_the_answer_is_short(chromium, pages, name):
    chromium.open(pages[name], 1280)
    lines = chromium.run(
        '[...document.querySelectorAll("#short p")]'
        '.map(p => p.offsetHeight / parseFloat(getComputedStyle(p).lineHeight))'
    )
    assert 0 < len(lines) <= 6
    if name == 'one':
        assert sum(map(round, lines)) <= 6


@pytest.mark.parametrize('font', ['inherit', 'serif', '"DejaVu Sans Condensed"'])
def test_labels_of_figures_do_not_overlap_in_any_font(chromium, pages, font):
    chromium.open(pages['several'])
    counted, overlaps = chromium.run(
        f"document.body.style.fontFamily = '{font}';"
        '(() => { let counted = 0; const found = [...document.querySelectorAll("svg.plot")].flatMap(c => {'
        'const t = [...c.querySelectorAll("text:not([transform])")]'
        '.map(e => [e.textContent, e.getBoundingClientRect()]); counted += t.length;'
        'return t.flatMap(([n, a], i) => t.slice(i + 1).filter(([, b]) =>'
        'a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom).map(([m]) => [n, m])) });'
        'return [counted, found] })()'
    )
    assert counted > 200 and overlaps == []
