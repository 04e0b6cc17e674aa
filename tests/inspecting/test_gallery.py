"""The gallery: what is on it, in which order, and that hostile or broken files do it no harm."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from mmhybrid import figure_style as style
from mmhybrid.errors import InputError
from mmhybrid.inspecting import cli, gallery
from mmhybrid.inspecting.findings import Findings, Table, contents

VOID = {'meta', 'img', 'link', 'br'}
HOSTILE = '<script>alert(1)</script> "&\' \u202e'


class Page(HTMLParser):
    """Elements in order; every end closes the last begin, and every id is one of its own."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.words = [], [], []
        self.feed(text)
        self.close()
        assert not self.open
        ids = [attributes['id'] for _, attributes in self.elements if 'id' in attributes]
        assert len(ids) == len(set(ids))
        for tag, attributes in self.elements:
            for name in ('aria-labelledby', 'href'):
                target = attributes.get(name, '')
                if name == 'aria-labelledby' or target.startswith('#'):
                    assert not target or target.lstrip('#') in ids, (tag, target)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ('style', 'pre'):
            self.words += data.split()

    def all(self, tag):
        return [attributes for each, attributes in self.elements if each == tag]

    @property
    def text(self):
        return ' '.join(self.words)


def plot():
    with style.drawing():
        figure = style.new_figure(4, 3)
        figure.subplots().plot([1, 2])
        return style.settle(figure)


@pytest.fixture
def write():
    def make(folder, kind='cka', name='tiny', formats=('png', 'svg'), **about):
        folder.mkdir(parents=True, exist_ok=True)
        found = Findings(
            [f'{name} has an answer.'],
            'How to read it.',
            {'n': np.array([1.0, np.nan])},
            {'': plot()},
            [Table('A table', ['level', 'CKA'], [['one', '0.5'], ['two', '–']])],
            ['A note.'],
        )
        model = dict(name=name, given='a.py', checkpoint='/x/run/epoch_3.pth', kind='detector', model='MaskRCNN')
        about = {
            'command': 'mmhybrid inspect cka a.py', 'models': [{**model, 'backbone': 'ResNet'}], 'device': 'cpu',
            'seed': 3, 'images': ['a.jpg', 'b.jpg'], 'seconds': 1.5, **about,
        }  # fmt: skip
        for file, content in contents(kind, found, about, formats).items():
            made = content()
            (folder / file).write_bytes(made.encode() if isinstance(made, str) else made)
        return folder / f'{kind}.json'

    return make


def change(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_page_holds_all_of_a_finding_and_fetches_nothing(write, tmp_path):
    write(tmp_path / 'in')
    text = gallery.render(tmp_path / 'in', tmp_path)
    page = Page(text)
    assert text.startswith('<!DOCTYPE html>')
    for part in ('tiny has an answer.', 'How to read it.', 'A table', 'two –', 'A note.', 'MaskRCNN with ResNet'):
        assert part in page.text
    assert 'epoch_3.pth' in page.text
    assert '/x/run' not in page.text
    assert 'mmhybrid inspect cka a.py' in text
    assert 'cka: how alike' in page.text
    (image,) = page.all('img')
    files = {each.suffix[1:]: each.read_bytes() for each in (tmp_path / 'in').glob('cka.[ps]*')}
    form = min(files, key=lambda each: len(files[each]))
    head, data = image['src'].split(',')
    assert head == f'data:image/{ {"svg": "svg+xml", "png": "png"}[form] };base64'
    assert base64.b64decode(data) == files[form]
    assert {each['href'] for each in page.all('a')} >= {'in/cka.png', 'in/cka.svg', 'in/cka.json', '#finding-1'}
    assert not re.search(r'(?:src|href)="(?:https?:)?//', text)
    assert "default-src 'none'" in text


def test_the_order_is_that_of_kinds_then_of_paths(write, tmp_path):
    for folder, kind in (('a', 'cka'), ('b', 'filters'), ('c/d', 'cam'), ('c', 'cam'), ('e', 'unheard-of')):
        write(tmp_path / folder, kind, name=folder)
    links = [each['href'] for each in Page(gallery.render(tmp_path, tmp_path)).all('a') if 'json' in each['href']]
    assert links == ['b/filters.json', 'c/cam.json', 'c/d/cam.json', 'a/cka.json', 'e/unheard-of.json']
    text = Page(gallery.render(tmp_path, tmp_path)).text
    assert 'cam (c/cam.json)' in text
    assert 'filters (b/filters.json)' not in text  # there is one alone


def test_the_same_files_give_the_same_page(write, tmp_path):
    write(tmp_path / 'one')
    write(tmp_path / 'two', 'cam')
    assert gallery.render(tmp_path, tmp_path) == gallery.render(tmp_path, tmp_path)


def test_hostile_names_stay_text(write, tmp_path):
    path = write(tmp_path / 'a<b>&"#?%', name=HOSTILE, command=HOSTILE)
    table = {'title': HOSTILE, 'columns': [HOSTILE], 'rows': [[HOSTILE]]}
    models = [{'name': HOSTILE, 'model': HOSTILE, 'backbone': HOSTILE, 'checkpoint': HOSTILE}]
    change(path, answer=[HOSTILE], about=HOSTILE, notes=[HOSTILE], tables=[table], models=models, seed=HOSTILE)
    text = gallery.render(tmp_path, tmp_path)
    page = Page(text)
    assert not page.all('script')
    assert '\u202e' not in text
    assert text.count('alert(1)') == text.count('&lt;script&gt;alert(1)')
    hrefs = [each['href'] for each in page.all('a')]
    assert 'a%3Cb%3E%26%22%23%3F%25/cka.json' in hrefs


@pytest.mark.parametrize('name', ['../secret.png', '/etc/hostname.png', 'sub/other.png', '..'])
def test_no_file_elsewhere_is_shown(write, tmp_path, name):
    path = write(tmp_path / 'in')
    for folder in (tmp_path, tmp_path / 'in' / 'sub'):
        folder.mkdir(exist_ok=True)
        for file in ('secret.png', 'other.png'):
            (folder / file).write_bytes((tmp_path / 'in' / 'cka.png').read_bytes())
    change(path, figures=[[name]])
    page = Page(gallery.render(tmp_path / 'in', tmp_path))
    assert not page.all('img')
    assert f'could not be read: {name}' in page.text


def test_figures_that_are_missing_or_are_none_are_told(write, tmp_path):
    path = write(tmp_path)
    (tmp_path / 'cka.svg').unlink()
    assert 'png' in Page(gallery.render(tmp_path, tmp_path)).all('img')[0]['src'][:20]
    (tmp_path / 'cka.png').write_text('no picture')
    page = Page(gallery.render(tmp_path, tmp_path))
    assert not page.all('img')
    assert 'could not be read: cka.png, cka.svg' in page.text
    change(path, figures=[])
    assert 'could not' not in Page(gallery.render(tmp_path, tmp_path)).text


def test_broken_files_are_told_and_others_passed_over(write, tmp_path):
    good = write(tmp_path)
    text = good.read_text()
    (tmp_path / 'cut.json').write_text(text[: len(text) // 2])
    (tmp_path / 'newer.json').write_text(text.replace('"schema_version": 1', '"schema_version": 99'))
    for number, (key, value) in enumerate([('answer', 3), ('tables', [{}]), ('figures', ['x']), ('models', [1])]):
        other = tmp_path / f'odd{number}.json'
        other.write_text(text)
        change(other, **{key: value})
    (tmp_path / 'odd4.json').write_text(text)
    change(tmp_path / 'odd4.json', tables=[{'title': 't', 'columns': ['a', 'b'], 'rows': [['1']]}])
    (tmp_path / 'other.json').write_text('{"schema": "somebody"}')
    (tmp_path / 'list.json').write_text('["mmhybrid.inspect"]')
    (tmp_path / 'folder.json').mkdir()
    page = Page(gallery.render(tmp_path, tmp_path))
    assert len(page.all('section')) == 1
    assert 'cut.json is damaged' in page.text
    assert 'newer.json is of another version' in page.text
    assert page.text.count('is not as mmhybrid inspect writes it') == 5
    assert 'other.json' not in page.text
    assert 'list.json' not in page.text


def test_nothing_found_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match='holds no findings'):
        gallery.render(tmp_path, tmp_path)
    with pytest.raises(InputError, match='There is no folder'):
        gallery.render(tmp_path / 'nowhere', tmp_path)
    (tmp_path / 'cut.json').write_text('{"schema": "mmhybrid.inspect", ')
    with pytest.raises(InputError, match=r'cut\.json is damaged'):
        gallery.render(tmp_path, tmp_path)


@pytest.mark.parametrize('form', ['webp', 'jpeg'])
def test_large_figures_are_made_light(write, tmp_path, monkeypatch, form):
    write(tmp_path, formats=('png',))
    noise = np.random.default_rng(0).integers(0, 255, (600, 2000, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / 'cka.png')
    if form == 'jpeg':
        # As of a Pillow that was built without WebP.
        save = Image.Image.save

        def without(self, file, format, **options):
            if format == 'webp':
                raise KeyError('WEBP')
            return save(self, file, format, **options)

        monkeypatch.setattr(Image.Image, 'save', without)
    (image,) = Page(gallery.render(tmp_path, tmp_path)).all('img')
    head, data = image['src'].split(',')
    assert head == f'data:image/{form};base64'
    shown = Image.open(io.BytesIO(base64.b64decode(data)))
    assert shown.size == (gallery.WIDTH, 420)
    # One that cannot be read in full stays as it is.
    (tmp_path / 'cka.png').write_bytes((tmp_path / 'cka.png').read_bytes()[:500_000])
    assert Page(gallery.render(tmp_path, tmp_path)).all('img')[0]['src'].startswith('data:image/png')


def test_the_command_writes_it_again_but_not_over_other_pages(write, tmp_path, capsys):
    write(tmp_path / 'in')
    assert cli.main(['gallery', str(tmp_path / 'in')]) == 0
    target = tmp_path / 'in' / 'gallery.html'
    assert f'wrote {target}' in capsys.readouterr().out
    assert cli.main(['gallery', str(tmp_path / 'in')]) == 0
    target.write_text('<!DOCTYPE html><title>mine</title>')
    with pytest.raises(InputError, match='was not written by this command'):
        cli.main(['gallery', str(tmp_path / 'in')])
    assert cli.main(['gallery', str(tmp_path / 'in'), '--force', '--out', str(tmp_path / 'page.html')]) == 0
    assert {each['href'] for each in Page((tmp_path / 'page.html').read_text()).all('a')} >= {'in/cka.json'}
