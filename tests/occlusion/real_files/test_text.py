"""Text that UTF-8 cannot hold, and text that would steer a terminal, wherever a file can bring it."""

import json
import sys

import pytest

from .base import Files
from .outcomes import assert_named, assert_same

# A lone surrogate, an escape sequence, a mark that turns the direction of writing, and ends of lines.
ODD = 'x\udcffy\x1b[2J\u202eb\nc\u2028d'
TEXTS = ('--format', 'json', 'csv', 'md')
PAGE = (*TEXTS, 'html')


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def assert_clean(outcome, folder):
    """Nothing that was said or written holds text that no terminal, editor or browser can show."""
    texts = [outcome.out, outcome.err, *(path.read_bytes().decode() for path in folder.rglob('out/*'))]
    for text in texts:
        assert not set(text) & set('\udcff\x1b\u202e\u2028'), text[:100]


@pytest.mark.parametrize('place', ['category', 'supercategory', 'file_name', 'unknown field', 'top'])
def test_text_of_ground_truth(files, place):
    if place == 'category':
        files.gt['categories'][1]['name'] = ODD
    elif place == 'supercategory':
        files.gt['categories'][1]['supercategory'] = ODD
    elif place == 'file_name':
        files.gt['images'][1]['file_name'] = ODD
    elif place == 'unknown field':
        files.gt['annotations'][1][ODD] = ODD
    else:
        files.gt[ODD] = {ODD: ODD}
    outcome = files.run('eval', '--per-category', *(PAGE if place == 'category' else TEXTS))
    assert_same(outcome, '--per-category') if place != 'category' else assert_clean(outcome, files.folder)
    assert_clean(outcome, files.folder)
    assert_clean(files.ratio(), files.folder)


def test_ids_of_images(files):
    names = {image['id']: f'{ODD}{image["id"]}' for image in files.gt['images']}
    for image in files.gt['images']:
        image['id'] = names[image['id']]
    for record in [*files.gt['annotations'], *files.dt]:
        record['image_id'] = names[record['image_id']]
    outcome = files.run('eval')
    assert_same(outcome)
    assert_clean(outcome, files.folder)
    assert_clean(files.ratio(), files.folder)
    assert not set((files.folder / 'r.csv').read_bytes().decode()) & set('\x1b\u202e\u2028')


def test_labels_and_names_of_values(files):
    values = files.write('v.json', {str(i): ODD if i % 2 else 'day' for i in range(1, 13)})
    outcome = files.run('eval', '--values', values, '--column', ODD, *PAGE)
    assert_clean(outcome, files.folder)
    assert [stratum['num_images'] for stratum in outcome.results[0]['strata']] == [12, 6, 6]


@pytest.mark.parametrize('place', ['image_id', 'category_id', 'score', 'bbox', 'segmentation', 'key'])
def test_text_in_a_refusal(files, place):
    for record in files.dt[:2]:
        record[place] = ODD
    if place == 'key':
        files.dt = {ODD: files.dt[0]}
    outcome = files.run('eval', *(('--iou-type', 'segm') if place == 'segmentation' else ()))
    assert_named(outcome, '^error: FILE')
    assert_clean(outcome, files.folder)


@pytest.mark.skipif(sys.platform != 'linux', reason='names of files are text elsewhere')
def test_names_of_files_of_another_encoding(files):
    """As Latin-1 has them: Python reads such a byte as a lone surrogate."""
    files.ann, files.results = 'l\udce4nder.json', ('caf\udce9.json',)
    for name, content in ((files.ann, files.gt), (files.results[0], files.dt)):
        (files.folder / name).write_text(json.dumps(content))
    outcome = files.run('eval', *PAGE)
    assert outcome.results[0]['strata'][0]['num_instances'] == 46
    assert_clean(outcome, files.folder)
    files.results = ('fehlt\udce9.json',)
    assert_clean(files.run('eval'), files.folder)


def test_name_of_a_model(files):
    outcome = files.run('eval', '--name', ODD, *PAGE)
    assert outcome.code == 0, outcome.err
    assert_clean(outcome, files.folder)
