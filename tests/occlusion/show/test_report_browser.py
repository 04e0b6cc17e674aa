"""The report in a real browser. Needs a Chromium."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mmhybrid.occlusion.show.report.gallery import GalleryGroup, GalleryImage
from mmhybrid.occlusion.show.report.page import render_report

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
    jpeg = io.BytesIO()
    Image.new('RGB', (640, 400), 'navy').save(jpeg, 'JPEG')
    images = [GalleryImage(1, 'x' * 80 + '.jpg', 0.01, jpeg.getvalue(), {'missed': 2}), GalleryImage(2, 'b', 0.0)]
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
        aps = [float(row[4]) for row in chromium.run(SHOWN)[1:]]
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


def test_pictures_are_shown(chromium, pages):
    chromium.open(pages['several'])
    sizes = chromium.run('[...document.images].map(i => [i.complete, i.naturalWidth, i.offsetHeight > 100])')
    assert sizes == [[True, 640, True]]


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
