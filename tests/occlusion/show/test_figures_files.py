import io
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from mmhybrid.errors import InputError
from mmhybrid.occlusion.show.figures import is_ours, plot_ap, plot_recall, save, to_svg
from mmhybrid.occlusion.show.figures.style import THEMES

from ..sample import result

ROOT = Path(__file__).parents[2]


def test_files(tmp_path):
    figure = plot_ap([result('a $ & <b>')])
    save(figure, tmp_path / 'figure.PNG')
    save(figure, tmp_path / 'figure.svg')
    png, svg = (tmp_path / 'figure.PNG').read_bytes(), (tmp_path / 'figure.svg').read_bytes()
    assert png.startswith(b'\x89PNG') and is_ours(png) and is_ours(svg)
    width, height = np.frombuffer(png[16:24], '>u4')
    assert (width, height) == tuple(np.array(figure.get_size_inches() * 150, int))
    root = ElementTree.fromstring(svg)
    words = [element.text for element in root.iter('{http://www.w3.org/2000/svg}text')]
    assert 'a $ & <b>, bbox' in words and 'COCO AP (%)' in words
    with pytest.raises(InputError, match=r'figure\.pdf: figures are written as \.png or \.svg'):
        save(figure, tmp_path / 'figure.pdf')
    assert len(list(tmp_path.iterdir())) == 2


def test_the_same_result_gives_the_same_bytes():
    figures = [plot_recall([result()]) for _ in range(2)]
    one, two = map(to_svg, figures)
    assert one == two and '<dc:date>' not in one
    assert to_svg(figures[0], salt='x') != one


def test_transparent_svg_has_no_background():
    figure = plot_recall([result()], theme='dark')
    background = THEMES['dark'].background.lower()
    assert f'fill: {background}' in to_svg(figure) and f'fill: {background}' not in to_svg(figure, transparent=True)


def test_files_of_others():
    other = Figure()
    for suffix in ('png', 'svg'):
        content = io.BytesIO()
        other.savefig(content, format=suffix)
        assert not is_ours(content.getvalue())
    assert not is_ours(b'') and not is_ours(b'mmhybrid.occlusion') and not is_ours(b'\x89PNG\r\n\x1a\n')


def test_users_settings_neither_matter_nor_change():
    before = to_svg(plot_recall([result()]))
    user = {
        'axes.facecolor': 'pink',
        'font.size': 20,
        'svg.fonttype': 'path',
        'text.color': 'red',
        'xtick.labelsize': 3,
    }
    with matplotlib.rc_context(user):
        settings = dict(matplotlib.rcParams)
        assert to_svg(plot_recall([result()])) == before
        assert dict(matplotlib.rcParams) == settings


def test_pyplot_stays_out(tmp_path):
    code = (
        'import sys; from tests.occlusion.sample import result; from mmhybrid.occlusion import figures;'
        'figures.save(figures.plot_ap([result()]), sys.argv[1]); sys.exit("matplotlib.pyplot" in sys.modules)'
    )
    done = subprocess.run([sys.executable, '-c', code, tmp_path / 'f.svg'], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
