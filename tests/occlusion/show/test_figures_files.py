import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from mmhybrid.errors import InputError
from mmhybrid.figure_style import THEMES
from mmhybrid.occlusion.cli.outputs import is_ours
from mmhybrid.occlusion.show.figures import css_variables, plot_ap, plot_recall, to_bytes, to_inline

from ..sample import result
from . import pages

ROOT = Path(__file__).parents[3]


def test_files(tmp_path):
    figure = plot_ap([result('a $ & <b>')])
    png, svg = to_bytes(figure, 'png'), to_bytes(figure, 'svg')
    for name, content in (('figure.PNG', png), ('figure.svg', svg)):
        (tmp_path / name).write_bytes(content)
        assert is_ours(tmp_path / name)
    width, height = np.frombuffer(png[16:24], '>u4')
    assert (width, height) == tuple(np.array(figure.get_size_inches() * 150, int))
    root = ElementTree.fromstring(svg)
    words = [element.text for element in root.iter('{http://www.w3.org/2000/svg}text')]
    assert 'a $ & <b>' in words and 'AP (%)' in words
    with pytest.raises(InputError, match='figures are png or svg, not pdf'):
        to_bytes(figure, 'pdf')


def test_the_same_result_gives_the_same_bytes():
    for name in ('svg', 'png'):
        one, two = (to_bytes(plot_recall([result()]), name) for _ in range(2))
        assert one == two and b'<dc:date>' not in one


def test_one_figure_may_be_written_as_both():
    figure = plot_recall([result()])
    png = to_bytes(figure, 'png')
    to_bytes(figure, 'svg')
    assert to_bytes(figure, 'png') == png


@pytest.mark.parametrize('suffix', ['png', 'svg'])
def test_files_of_others(tmp_path, suffix):
    path = tmp_path / f'x.{suffix}'
    Figure().savefig(path)
    assert not is_ours(path)
    for content in (b'', b'mmhybrid.occlusion', b'\x89PNG\r\n\x1a\n', b'<?xml'):
        path.write_bytes(content)
        assert not is_ours(path)


def test_users_settings_neither_matter_nor_change():
    before = to_bytes(plot_recall([result()]), 'svg')
    user = {
        'axes.facecolor': 'pink',
        'font.size': 20,
        'svg.fonttype': 'path',
        'text.color': 'red',
        'xtick.labelsize': 3,
    }
    with matplotlib.rc_context(user):
        settings = dict(matplotlib.rcParams)
        assert to_bytes(plot_recall([result()]), 'svg') == before
        assert dict(matplotlib.rcParams) == settings


def test_pyplot_stays_out():
    code = (
        'import sys; from tests.occlusion.sample import result; from mmhybrid.occlusion.show import figures;'
        'figures.to_bytes(figures.plot_ap([result()]), sys.argv[1]); sys.exit("matplotlib.pyplot" in sys.modules)'
    )
    done = subprocess.run([sys.executable, '-c', code, 'svg'], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def inline(results, identity='x', **arguments):
    return to_inline(plot_ap(results, families=['bin'], **arguments), identity, 'AP of <a> & "b"')


def test_inline_figures_are_parts_of_a_page():
    text = inline([result('a </svg> & <b>')])
    page = pages.read(f'<!DOCTYPE html>\n{text}{inline([result("a")], "y")}')  # no identifier is there twice
    svg, other = page.all('svg')
    assert svg.attributes['role'] == 'img' and other.first('title').text == svg.first('title').text
    assert svg.first('title', id=svg.attributes['aria-labelledby']).text == 'AP of <a> & "b"'
    words = [node.text for node in svg.all('text')]
    assert 'AP (%)' in words and 'a </svg> & <b>' in words
    ids = {node.attributes['id'] for node in page.all() if 'id' in node.attributes}
    uses = [node.attributes['href'] for node in page.all('use')]
    uses += re.findall(r'url\(([^)]*)\)', text)
    assert len(uses) > 20 and all(use[0] == '#' and use[1:] in ids for use in uses)
    assert not list(page.all('style', 'metadata', 'script')) and 'http' not in text
    assert inline([result('a </svg> & <b>')]) == text


def test_inline_figures_have_the_colours_and_the_font_of_the_page():
    text = inline([result('a'), result('b')], min_images=500)
    assert not re.search(r'#[0-9a-fA-F]{6}\b', text) and 'DejaVu' not in text
    asked = set(re.findall(r'var\((--[\w-]+)\)', text))
    assert {'--background', '--text', '--muted', '--grid', '--bar', '--models-0', '--models-1'} == asked
    for theme in THEMES:
        known = dict(each.split(': ') for each in css_variables(theme).strip(';').split('; '))
        assert asked <= set(known) and all(re.fullmatch('#[0-9a-f]{6}', colour) for colour in known.values())
    # A name that looks like a colour stays a name.
    assert 'a #ffffff' in inline([result('a #ffffff')])
