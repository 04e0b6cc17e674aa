"""The benchmark of what r measures: its correlations, its readers, its page, on annotations made by hand."""

import json
import re

import numpy as np
import pytest

from tests.benchmarks.study_runs import ROOT

import what_r_measures as benchmark  # isort: skip
from what_r_measures_steps import correlations, page  # isort: skip
from what_r_measures_steps.sources import SOURCES  # isort: skip

PERSON = [{'id': 1, 'name': 'person'}]


def people(*images):
    """COCO ground truth: an image a list of (box, further fields)."""
    rows = [(i, box, fields) for i, image in enumerate(images, 1) for box, fields in image]
    return {
        'images': [{'id': i, 'im_name': f'{i}.png', 'height': 100, 'width': 100} for i in range(1, len(images) + 1)],
        'categories': PERSON,
        'annotations': [
            {'id': i, 'image_id': image, 'category_id': 1, 'bbox': box, **fields}
            for i, (image, box, fields) in enumerate(rows, 1)
        ],
    }


# Two that half overlap, of which the rear one is half hidden; one behind a wall; one alone in the open, and one that is
# ignored over a part of it; nobody.
HALF, REAR, ALONE = [0, 0, 20, 20], [10, 0, 20, 20], [50, 50, 10, 20]
SCENE = people(
    [(HALF, {'vis_ratio': 1, 'occlusion': 0}), (REAR, {'vis_ratio': 0.5, 'occlusion': 1})],
    [(ALONE, {'vis_ratio': 0.1, 'occlusion': 2})],
    [(ALONE, {'vis_ratio': 1, 'occlusion': 0}), ([50, 50, 10, 5], {'vis_ratio': 1, 'occlusion': 0, 'ignore': 1})],
    [],
)


def read(tmp_path, **contents):
    """The first of the data sets, from files with these contents; text stays as it is."""
    files = {}
    for name, content in contents.items():
        files[name] = tmp_path / f'{name}.json'
        files[name].write_text(content if isinstance(content, str) else json.dumps(content))
    return SOURCES[next(iter(contents))].read(files)


def test_correlations_are_spearmans_and_weights_are_repetitions():
    stats = pytest.importorskip('scipy.stats')
    rng = np.random.default_rng(0)
    for levels in (3, 10, 1000):
        a, b = rng.integers(levels, size=80) / levels, rng.normal(size=80).round(1)
        weights = rng.integers(4, size=80)
        codes = correlations.codes(a), correlations.codes(b)
        assert correlations.spearman(*codes) == pytest.approx(stats.spearmanr(a, b)[0], abs=1e-12)
        repeated = stats.spearmanr(a.repeat(weights), b.repeat(weights))[0]
        assert correlations.spearman(*codes, weights) == pytest.approx(repeated, abs=1e-12)
    assert correlations.codes([0.1 + 0.2, 0.3, 0]).tolist() == [1, 1, 0]
    assert np.isnan(correlations.spearman(correlations.codes([1, 1, 1]), correlations.codes([1, 2, 3])))


def test_numbers_of_a_scene_are_those_by_hand(tmp_path):
    stats = pytest.importorskip('scipy.stats')
    found = correlations.measure(read(tmp_path, citypersons=SCENE), 200, 0)
    assert (found['images'], found['instances']) == (3, 4)  # the last image has nobody
    # Of the four persons: half covered, half covered, not, not; hidden 0, 0.5, 0.9, 0.
    hidden = [0, 0.5, 0.9, 0]
    alone, wider = found['by_instance']
    assert alone['value'] == pytest.approx(stats.spearmanr([0.5, 0.5, 0, 0], hidden)[0], abs=1e-6)
    assert wider['value'] == pytest.approx(stats.spearmanr([0.5, 0.5, 0, 0.25], hidden)[0], abs=1e-6)
    assert alone['low'] <= alone['value'] <= alone['high']
    assert alone['most'] == pytest.approx(stats.spearmanr([0, 0, 0.5, 0.5], sorted(hidden))[0], abs=1e-6)
    assert found['uncovered'][0]['instances'] == 1
    assert found['uncovered'][0]['value'] == 1
    by_image = {target: {row['measure']: row for row in rows} for target, rows in found['by_image'].items()}
    mean, largest = by_image[correlations.MEAN], by_image[correlations.LARGEST]
    assert mean['covered']['value'] == pytest.approx(stats.spearmanr([0.5, 0, 0], [0.25, 0.9, 0])[0], abs=1e-6)
    assert largest['number of instances']['value'] == pytest.approx(
        stats.spearmanr([2, 1, 1], [0.5, 0.9, 0])[0], abs=1e-6
    )
    assert mean['multi']['minus_number']['value'] == pytest.approx(0, abs=1e-6)
    assert found == correlations.measure(read(tmp_path, citypersons=SCENE), 200, 0), 'the same seed, the same draws'


def test_each_data_set_is_read_as_it_is_published(tmp_path):
    assert read(tmp_path, kaist=SCENE).hidden[:4].tolist() == [0, 1, 2, 0]
    crowd = [
        {'ID': 'a,1', 'gtboxes': [
            {'tag': 'person', 'fbox': [0, 0, 10, 20], 'vbox': [0, 0, 10, 5], 'hbox': [0, 0, 2, 2], 'extra': {}},
            {'tag': 'mask', 'fbox': [0, 0, 30, 30], 'vbox': [0, 0, 30, 30], 'extra': {'ignore': 1}},
        ]},
        {'ID': 'b,2', 'gtboxes': []},
    ]  # fmt: skip
    found = read(tmp_path, crowdhuman='\n'.join(map(json.dumps, crowd)))
    assert found.hidden[0] == 0.75
    assert found.gt.is_region.tolist() == [False, True]
    pose = {**SCENE, 'images': [{**image, 'crowdIndex': image['id'] / 10} for image in SCENE['images']]}
    assert read(tmp_path, crowdpose=pose).labels.tolist() == [0.1, 0.2, 0.3, 0.4]
    names = {
        f'{image["id"]:012d}': label
        for image, label in zip(SCENE['images'], ['high', 'mid', 'low', 'low'], strict=True)
    }
    coco = json.loads(json.dumps(SCENE))
    for image in coco['images']:
        image['file_name'] = f'{image["id"]:012d}.jpg'
    assert read(tmp_path, olac={**names, '000000000099': 'low'}, coco=coco).labels.tolist() == [2, 1, 0, 0]
    for row in coco['annotations']:
        x, y, w, h = row['bbox']
        row['segmentation'] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    assert read(tmp_path, olac=names, coco=coco).geometries == ('bbox', 'segm')


def test_hidden_shares_of_amodal_masks(tmp_path):
    def square(x, y, w, h):
        return [[x, y, x + w, y, x + w, y + h, x, y + h]]

    both = people([
        (HALF, {'amodal_segmentation': square(*HALF), 'segmentation': square(*HALF)}),
        ([20, 0, 10, 20], {'amodal_segmentation': square(*REAR), 'segmentation': square(20, 0, 10, 20)}),
    ])  # fmt: skip
    found = read(tmp_path, shapes=both)
    assert found.hidden.tolist() == [0, 0.5]
    rows = correlations.measure(found, 20, 0)['by_instance']
    assert [row['geometry'] for row in rows] == ['bbox', 'amodal']
    assert [row['value'] for row in rows] == [None, None], 'all fractions are equal, so there is no order'


def test_from_annotations_to_the_page(tmp_path, capsys):
    gt, kept, text = tmp_path / 'gt.json', tmp_path / 'kept', tmp_path / 'page.md'
    gt.write_text(json.dumps(SCENE))
    text.write_text(f'before\n{page.BEGIN}\nold\n{page.END}\nafter\n')
    options = ['--resamples', '20', '--kept', str(kept), '--page', str(text)]
    assert benchmark.main([*options, '--citypersons', str(gt)]) == 0
    assert benchmark.main([*options, '--kaist', str(gt)]) == 0
    written = text.read_text()
    assert written.startswith('before\n')
    assert written.endswith('after\n')
    assert 'old' not in written
    assert '**CityPersons, a sample of 4 of the 500 images of its validation set**' in written
    assert 'KAIST, a sample of 4 of the 2,252' in written
    assert (tmp_path / 'images' / page.FIGURE).read_bytes()[1:4] == b'PNG'
    record = (kept / 'kaist.json').read_text()
    assert str(tmp_path) not in record
    assert json.loads(record)['command'] == (
        'python benchmarks/what_r_measures.py --kaist gt.json --resamples 20 --seed 0'
    )
    assert 'by instance' in capsys.readouterr().out
    assert benchmark.main(options) == 0, 'without data, of what is kept'
    assert text.read_text() == written


@pytest.mark.parametrize(
    ('options', 'told'),
    [
        (['--olac', 'GT'], 'one of --olac and --coco is given alone'),
        (['--crowdhuman', 'GT'], 'has no visible share'),
        (['--crowdpose', 'GT'], "field 'crowdIndex' is missing"),
        (['--kins', 'GT'], 'no amodal and visible mask'),
        (['--olac', 'LABELS', '--coco', 'GT'], "the label 'dark'; give labels out of low, mid, high"),
        (['--kaist', 'nowhere.json'], 'nowhere.json'),
    ],
)
def test_what_cannot_be_measured_is_told_in_a_sentence(options, told, tmp_path, capsys):
    plain = people(*([[(ALONE, {})]] * 2))
    for name, content in {'GT': plain, 'LABELS': {'1': 'low', '2': 'dark'}}.items():
        (tmp_path / name).write_text(json.dumps(content))
    options = [str(tmp_path / each) if each in ('GT', 'LABELS') else each for each in options]
    assert benchmark.main([*options, '--kept', str(tmp_path), '--page', str(tmp_path / 'page.md')]) == 1
    error = capsys.readouterr().err
    assert told in error
    assert 'Traceback' not in error


def test_the_page_has_the_recorded_numbers():
    documents = benchmark.recorded(benchmark.KEPT)
    between = benchmark.PAGE.read_text(encoding='utf-8').partition(page.BEGIN)[2].partition(page.END)[0]
    assert between.strip() == page.render(documents)
    assert documents
    for name, document in documents.items():
        assert (document['name'], document['schema']) == (name, benchmark.SCHEMA)
        assert all(re.fullmatch('[0-9a-f]{64}', value) for value in document['files'].values())
    assert (ROOT / 'docs' / 'images' / page.FIGURE).exists()
