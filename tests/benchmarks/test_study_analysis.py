"""What follows from the study's runs: its statistics, its verdicts, its page."""

import copy
import json
import re

import numpy as np
import pytest

from mmhybrid.errors import InputError
from tests.benchmarks.study_runs import ROOT, detection, finish

import occlusion_study  # isort: skip
from study import analysis, coverage, effects, pages, plan, runs, words  # isort: skip

KEPT = ROOT / 'benchmarks' / 'results' / 'study'
RATIOS = (0.0, 0.15, 0.45, 0.75)
PER_BIN = 12


@pytest.mark.slow
def test_the_interval_holds_the_truth_as_often_as_it_says():
    rows = coverage.numbers(seeds=4, trials=1000, resamples=100)
    for row in rows:
        # Three standard errors of a share of 1000 below 95%; what is shared by chance makes it wider than need be.
        assert 0.93 <= row['coverage'] <= 0.985, row
        assert 0.015 <= row['p_below_0.05'] <= 0.07, row
    assert rows[0]['case'] == 'seeds alone'
    assert rows[0]['coverage_of_percentiles'] < 0.9, 'then nothing but percentiles would be needed'


def test_intervals_of_made_up_detectors_are_counted():
    rows = coverage.detectors(seeds=2, trials=2, resamples=10, per_bin=5)
    assert [row['metric'] for row in rows] == ['overall', 'last bin', 'slope'] * 2
    alike, better = rows[:3], rows[3:]
    assert all('p_below_0.05' in row for row in alike)
    assert better[0]['mean'] > 0.01


def test_variance_is_split_into_its_parts():
    images = np.random.default_rng(0).normal(0, 1, 4000)
    shared = effects.effect(np.array([1.0, 2.0, 3.0]), np.repeat(images[:, None], 3, axis=1), images=50)
    assert shared.var_both == pytest.approx(0)
    assert shared.var_image == pytest.approx(images.var(ddof=1) * 50 / 49)
    assert shared.var_seed == pytest.approx(1)  # of 1, 2, 3
    alone = np.random.default_rng(0).normal(0, 1, (4000, 3))
    own = effects.effect(np.array([0.99, 1.0, 1.01]), alone, images=50)
    assert own.var_both == pytest.approx(50 / 49, rel=0.05)
    # Seeds hardly differ, so their spread has no part in it, and h is counted once.
    assert (own.var_seed, own.df) == (0, pytest.approx(49))
    assert own.high - own.low == pytest.approx(2 * 2.0096 * (50 / 49 / 3) ** 0.5, rel=0.05)


def test_seeds_and_images_that_would_decide():
    found = effects.Effect(1.0, -1, 3, 0.2, 5, 4, 500, 490, var_seed=4.0, var_both=1.0, var_image=0.04)
    seeds = effects.seeds_needed(found)
    assert found.half_width(seeds) < 1 <= found.half_width(seeds - 1)
    forbidden = effects.Effect(1.0, -1, 3, 0.2, 5, 4, 500, 490, var_seed=4.0, var_both=1.0, var_image=0.5)
    assert effects.seeds_needed(forbidden) is None
    assert effects.images_needed(forbidden) == pytest.approx(500 * 0.5 * 1.96**2, abs=1)


def test_slope_and_holm():
    r, values = [0.0, 0.1, 0.5, 0.9], np.array([0.3, 0.1, 0.5, 0.2])
    assert effects.slope_weights(r) @ values == pytest.approx(np.polyfit(r, values, 1)[0])
    assert effects.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


# Analysis of run folders with known truth


@pytest.fixture(scope='module')
def content():
    """Two boxes an image, of which r is covered; the second's share r is hidden."""
    images, annotations = [], []
    for i in range(len(RATIOS) * PER_BIN):
        r = RATIOS[i // PER_BIN]
        images.append(dict(id=i + 1, width=300, height=200))
        for category, (left, visible) in enumerate(((10, 1.0), (10 + 100 * (1 - r) + (r == 0), 1 - r)), start=1):
            annotations.append(dict(
                id=len(annotations) + 1, image_id=i + 1, category_id=category, bbox=[left, 10, 100, 100], area=10000,
                iscrowd=0, visible_fraction=visible,
            ))  # fmt: skip
    return dict(images=images, annotations=annotations, categories=[dict(id=k, name=str(k)) for k in (1, 2)])


def detected(content, seed, more=lambda r: 0.0, share=lambda r: 0.9 - 0.6 * r):
    """Each instance is found with a chance that falls with r, the same ones for the same seed; ``more`` adds to it."""
    luck = np.random.default_rng(seed).random(len(content['annotations']))
    ratios = [RATIOS[(row['image_id'] - 1) // PER_BIN] for row in content['annotations']]
    return [
        detection(row['image_id'], row['category_id'], row['bbox'], 0.9 - 0.001 * row['id'])
        for row, u, r in zip(content['annotations'], luck, ratios, strict=True)
        if u < share(r) + more(r)
    ]


def studied(root, content, models):
    """The analysis of runs of the size trial: model -> seed -> detections."""
    for model, by_seed in models.items():
        for seed, detections in by_seed.items():
            finish(root, runs.Run('trial', model, seed), detections)
    return analysis.analyse(root, 'trial', content, resamples=200)


@pytest.fixture(scope='module')
def document(content, tmp_path_factory):
    """The baseline; one like it; one better by occlusion, of other seeds; one worse by a factor; one with one seed."""
    base = {seed: detected(content, seed) for seed in range(4)}
    models = {
        'resnet50': base,
        'tiedresnet50': {seed: detected(content, seed, lambda r: 0.6 * (r > 0.5)) for seed in (1, 2, 3, 7)},
        'tiedresnet50_s': base,
        'hcgnet_b': {seed: detected(content, seed, lambda r: 0.6 * r - 0.9 + 0.3 * (0.9 - 0.6 * r)) for seed in base},
        'dsnet50': {0: detected(content, 5)},
        'hsresnet50': {9: detected(content, 5)},
    }
    return studied(tmp_path_factory.mktemp('kept'), content, models)


def test_help_under_occlusion_alone_gives_a_slope_above_0(document, content):
    found = document['models']['tiedresnet50']['against']
    assert found['seeds'] == [1, 2, 3]
    assert found['slope']['verdict'] == 'supported' and found['slope']['low'] > 0.2
    assert found['overall']['verdict'] == 'better'
    assert [row['value'] for row in found['strata'][:3]] == [0, 0, 0]
    assert found['strata'][3]['p_holm'] < 0.05
    # By instance: those of images with r > 0.5, hidden or not, and no others.
    gained = [row for row in content['annotations'] if RATIOS[(row['image_id'] - 1) // PER_BIN] == 0.75]
    luck = np.stack([np.random.default_rng(seed).random(len(content['annotations'])) for seed in (1, 2, 3)])
    new = [row['id'] for row in gained if row['visible_fraction'] < 0.4]
    hits = luck[:, np.array(new) - 1]
    expected = ((hits < 1.05) & (hits >= 0.45)).mean()
    at = [row['name'] for row in document['instances']].index('0.6 < h <= 1')
    assert found['recall50'][at]['value'] == pytest.approx(expected)
    assert document['instances'][at]['instances'] == PER_BIN


def test_strata_are_described(document):
    assert [row['name'] for row in document['strata']] == [
        'r = 0',
        '0.1 < r <= 0.2',
        '0.4 < r <= 0.5',
        '0.7 < r <= 0.8',
    ]
    assert [row['mean_r'] for row in document['strata']] == pytest.approx(RATIOS)
    assert {(row['images'], row['instances']) for row in document['strata']} == {(PER_BIN, 2 * PER_BIN)}


def test_identical_detections_differ_by_exactly_0(document):
    found = document['models']['tiedresnet50_s']['against']
    for each in (found['slope'], found['overall'], *found['strata'], *found['recall']):
        assert (each['value'], each['low'], each['high'], each['p']) == (0, 0, 0, 1)
    assert found['slope']['verdict'] == 'undecided'


def test_a_network_worse_by_a_factor_is_not_called_a_help(document):
    found = document['models']['hcgnet_b']['against']
    assert found['slope']['low'] > 0, 'the trap is not there'
    assert found['overall']['verdict'] == 'worse'
    assert found['slope']['verdict'] == 'a loss that shrinks'


def test_one_seed_decides_nothing_and_no_common_seed_compares_nothing(document):
    found = document['models']['dsnet50']['against']
    assert found['seeds'] == [0] and found['slope']['low'] is None
    assert (found['slope']['verdict'], found['slope']['seeds_needed']) == ('undecided', None)
    assert document['models']['hsresnet50']['against'] == dict(seeds=[])


def test_without_baseline_or_visible_fraction_there_is_no_analysis(content, tmp_path):
    with pytest.raises(InputError, match='no trial run of resnet50'):
        studied(tmp_path, content, {'tiedresnet50': {0: detected(content, 0)}})
    bare = copy.deepcopy(content)
    del bare['annotations'][3]['visible_fraction']
    with pytest.raises(InputError, match='visible_fraction'):
        analysis.analyse(tmp_path, 'trial', bare, resamples=2)


# The page


def test_the_page_follows_from_the_recorded_numbers():
    text = (ROOT / 'docs' / pages.PAGE).read_text()
    documents, simulated = pages.recorded(KEPT)
    assert text == pages.render(pages.TEMPLATE.read_text(), documents, simulated)
    assert '{{' not in text and 'cpu' in documents
    assert set(re.findall(r'images/study_(\w+)\.png', text)) == set(documents)
    assert all((ROOT / 'docs' / 'images' / f'study_{size}.png').exists() for size in documents)
    assert ('No runs of this size were made' in text) == ('gpu' not in documents)


def test_the_recorded_numbers_are_of_the_kept_runs():
    for size, document in pages.recorded(KEPT)[0].items():
        assert document['settings'] == plan.described(size)
        for model, found in document['models'].items():
            for seed, ap in zip(found['seeds'], found['by_seed']['ap'], strict=True):
                made = runs.record(KEPT, runs.Run(size, model, seed))
                # MMDetection's own number, of unrounded boxes, with three digits.
                assert ap[0] == pytest.approx(made['overall']['coco/bbox_mAP'], abs=0.0015), (model, seed)


@pytest.mark.slow
def test_the_recorded_numbers_are_what_the_runs_give(tmp_path):
    for size, document in pages.recorded(KEPT)[0].items():
        annotations = json.loads(runs.validation(tmp_path, size).read_text())
        again = analysis.analyse(KEPT, size, annotations)
        assert again['models'] == document['models'] and again['strata'] == document['strata']


def test_page_and_figure_of_any_numbers(document, tmp_path):
    from study.figure import plot

    text = pages.render(pages.TEMPLATE.read_text(), {'cpu': document}, None)
    slope = document['models']['tiedresnet50']['against']['slope']
    assert 'TiedResNet-50, 3 seeds: the claim is **supported**. ' in text
    assert words.change(slope) in text
    assert 'HCGNet-B a loss that shrinks' in text
    assert 'one seed decides nothing' not in text  # said of tied networks alone
    titles = [axes.get_title(loc='left').splitlines()[0] for axes in plot(document).axes if axes.get_visible()]
    assert titles == ['TiedResNet-50', 'TiedResNet-50-S', 'HCGNet-B', 'DSNet-50']


def test_words():
    undecided = dict(verdict='undecided', seeds=4, images=500, seeds_needed=None, images_needed=12345)
    assert '500 images no number of seeds' in words.needed(undecided) and '13,000' in words.needed(undecided)
    assert words.needed({**undecided, 'seeds_needed': 9}).endswith('9 seeds would decide it')
    assert words.needed({**undecided, 'seeds': 1}) == '; one seed decides nothing'
    assert words.needed({**undecided, 'verdict': 'supported'}) == ''
    assert words.change(dict(value=-0.0001, low=-0.02, high=0.03)) == '+0.0 [-2.0, +3.0]'


def test_the_command_writes_numbers_and_page(content, tmp_path, monkeypatch):
    kept, docs, annotations = (tmp_path / name for name in ('kept', 'docs', 'val.json'))
    annotations.write_text(json.dumps(content))
    monkeypatch.setattr(runs, 'validation', lambda work_dir, size: annotations)
    perfect = detected(content, 0, share=lambda r: 1)
    finish(kept, runs.Run('trial', 'resnet50', 0), perfect)
    finish(kept, runs.Run('trial', 'tiedresnet50', 0), perfect[::2])
    monkeypatch.setattr('sys.argv', f'study.py analyse --size trial --kept {kept} --docs {docs}'.split())
    assert occlusion_study.main() == 0
    found = json.loads((kept / 'trial.json').read_text())
    assert found['command'] == 'python benchmarks/occlusion_study.py analyse --size trial'
    assert found['models']['resnet50']['mean']['ap'] == pytest.approx([1] * (1 + len(RATIOS)))
    assert found['models']['tiedresnet50']['against']['overall']['value'] == pytest.approx(-0.5)
    # A trial is no result: the page shows none.
    assert 'No runs of this size were made' in (docs / pages.PAGE).read_text()
