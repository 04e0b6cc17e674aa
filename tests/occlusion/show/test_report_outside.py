"""Pictures of a report: only files of the folder that the user gave."""

import json
import os
from pathlib import Path

import pytest
from PIL import Image
from pycocotools import mask as mask_api

from mmhybrid.errors import InputError
from mmhybrid.occlusion.cli import main
from mmhybrid.occlusion.show.report.gallery import _find
from mmhybrid.occlusion.show.report.pictures import Shown, draw_picture

from ..synthetic import SIZE, dataset


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'images' / 'sub').mkdir(parents=True)
    (tmp_path / 'images' / 'a.png').write_bytes(b'a')
    (tmp_path / 'images' / 'sub' / 'b.png').write_bytes(b'b')
    (tmp_path / 'secret.png').write_bytes(b'secret')
    return tmp_path / 'images'


def test_files_of_the_folder_are_found_by_any_name(folder):
    for name in ('a.png', './a.png', 'sub/../a.png', 'train/a.png', '/elsewhere/a.png', '../../images/a.png'):
        assert _find(folder, name) == (folder / 'a.png', '')
    for name in ('sub/b.png', str(folder / 'sub' / 'b.png')):
        assert _find(folder, name) == (folder / 'sub' / 'b.png', '')
    for name in ('', '.', 'sub', 'c.png', 'x' * 5000, 'a\0.png', '\ud800'):
        assert _find(folder, name) == (None, '')
    assert _find(None, 'a.png') == (None, '')


@pytest.mark.parametrize('name', ['../secret.png', 'sub/../../secret.png', '{secret}', 'link.png', 'linked/secret.png'])
def test_what_is_outside_is_not_opened(folder, name):
    secret = folder.parent / 'secret.png'
    (folder / 'link.png').symlink_to(secret)
    (folder / 'linked').symlink_to(folder.parent)
    assert _find(folder, name.format(secret=secret)) == (None, str(secret))


def test_links_within_the_folder_and_to_it(folder):
    (folder / 'link.png').symlink_to('sub/b.png')
    (folder.parent / 'train2017').symlink_to(folder)
    assert _find(folder.parent / 'train2017', 'link.png') == (folder / 'sub' / 'b.png', '')
    (folder / 'loop.png').symlink_to('loop.png')
    assert _find(folder, 'loop.png') == (None, '')


def test_neighbours_whose_names_begin_alike_are_outside(folder):
    (folder.parent / 'images2').mkdir()
    (folder.parent / 'images2' / 'c.png').write_bytes(b'c')
    assert _find(folder, '../images2/c.png')[0] is None


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='needs named pipes')
def test_a_pipe_is_no_picture(folder):
    os.mkfifo(folder / 'pipe.png')
    assert _find(folder, 'pipe.png') == (None, '')


def test_the_command_says_what_it_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    gt, dt = dataset(2)
    Path('images').mkdir()
    Image.new('RGB', (SIZE, SIZE), 'red').save('outside.png')
    for i, image in enumerate(gt['images']):
        image['file_name'] = f'{image["id"]}.png' if i % 2 else '../outside.png'
        if i % 2:
            Image.new('RGB', (SIZE, SIZE)).save(f'images/{image["id"]}.png')
    Path('gt.json').write_text(json.dumps(gt))
    Path('dt.json').write_text(json.dumps(dt))
    run = ['report', '--ann', 'gt.json', '--results', 'dt.json', '--bootstrap', '0', '--format', 'html']
    assert main([*run, '--images', 'images', '--out-dir', 'out']) == 0
    (note,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith('note: '))
    assert "'file_name' leads out of --images images (first to " in note
    assert note.endswith('outside.png); to show them, give the folder in which the files themselves lie.')
    page = Path('out/occlusion.html').read_text()
    assert 'data:image/webp' in page and 'The image file was not at hand.' in page and str(tmp_path) not in page


def test_programs_and_pictures_without_bounds_are_not_drawn(tmp_path, monkeypatch):
    path = tmp_path / 'x.png'
    path.write_bytes(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n')
    with pytest.raises(InputError, match='cannot be read as an image'):
        draw_picture(path, [])
    Image.new('L', (40, 40)).save(path)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    with pytest.raises(InputError, match=r'cannot be read as an image .*1600 pixels'):
        draw_picture(path, [])


def test_a_mask_is_not_decoded_that_is_larger_than_the_picture(tmp_path, monkeypatch):
    path = tmp_path / 'x.png'
    Image.new('L', (40, 40)).save(path)
    monkeypatch.setattr(mask_api, 'decode', None)
    with pytest.raises(InputError, match=r'a mask has the shape \(50000, 50000\)'):
        mask = {'size': [50000, 50000], 'counts': b'PPYo1'}
        draw_picture(path, [Shown((0, 0, 9, 9), 'x', 'partial', 0.5, mask)])
