"""Which boxes belong to which instance, and what they come to: against loops and formulas, without a detector."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhybrid.inspecting import cli
from mmhybrid.inspecting.analyses import proposal_counts as counts
from mmhybrid.inspecting.analyses import proposal_words as words
from mmhybrid.inspecting.analyses.proposal_steps import Boxes, Steps
from mmhybrid.inspecting.findings import Findings

EVERY_BOX = st.tuples(*[st.integers(0, 12)] * 4).map(
    lambda v: (min(v[0], v[2]), min(v[1], v[3]), max(v[0], v[2]), max(v[1], v[3]))
)
LABELLED = st.lists(st.tuples(EVERY_BOX, st.integers(-1, 1)), max_size=6)


def boxes(rows, labels=None, scores=None, levels=None):
    n = len(rows)
    return Boxes(
        np.array(rows, float).reshape(-1, 4),
        np.zeros(n, int) if labels is None else np.array(labels, int),
        np.linspace(1, 0.5, n) if scores is None else np.array(scores, float),
        np.zeros(n, int) if levels is None else np.array(levels, int),
    )


def iou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union else 0.0


def greedy(candidates, thr):
    """Indices that non-maximum suppression keeps, a class at a time."""
    kept = []
    for i in np.argsort(-candidates.scores, kind='stable'):
        same = [j for j in kept if candidates.labels[j] == candidates.labels[i]]
        if all(iou(candidates.boxes[i], candidates.boxes[j]) <= thr for j in same):
            kept.append(i)
    return kept


def picked(some, rows):
    return Boxes(some.boxes[rows], some.labels[rows], some.scores[rows], some.levels[rows])


@settings(max_examples=150, deadline=None)
@given(LABELLED, LABELLED, st.sampled_from([0.3, 0.5, 0.75]), st.booleans())
def test_owners_are_those_of_a_loop(candidates, instances, thr, classes):
    found = boxes([row for row, _ in candidates], [label for _, label in candidates])
    if not classes:
        found = Boxes(found.boxes)
    known = boxes([row for row, _ in instances], [label for _, label in instances])
    owner, could = counts.owners(found, known, thr)
    for i, (box, label) in enumerate(candidates):
        best, most, number = -1, 0.0, 0
        for j, (other, other_label) in enumerate(instances):
            overlap = iou(box, other)
            number += overlap >= thr
            if overlap >= thr and overlap > most and (not classes or label == other_label):
                best, most = j, overlap
        assert (owner[i], could[i]) == (best, number)


@settings(max_examples=150, deadline=None)
@given(LABELLED, LABELLED, st.randoms(use_true_random=False))
def test_counts_are_those_of_loops_over_greedy_suppression(candidates, instances, random):
    candidates = [each for each in candidates if each[1] >= 0]
    scores = random.sample(range(1, 100), len(candidates))
    before = boxes([row for row, _ in candidates], [label for _, label in candidates], scores)
    after = picked(before, greedy(before, 0.5))
    known = boxes([row for row, _ in instances], [abs(label) for _, label in instances])
    found = counts.count(Steps(None, before, after, False), known, 0.5, 0.5, 1)
    for k in range(len(instances)):
        own = [i for i in range(len(before.boxes)) if counts.owners(before, known, 0.5)[0][i] == k]
        left = [i for i in greedy(before, 0.5) if i in own]
        assert found['before'][k] == len(own) and found['after'][k] == len(left)
        assert found['removed'][k] == len(own) - len(left)
        assert found['missed'][k] == (not left) and found['twice'][k] == (len(left) > 1)
        assert found['suppressed'][k] == (bool(own) and not left)
        assert found['without_candidate'][k] + found['suppressed'][k] == found['missed'][k]
        assert found['levels_before'][k].tolist() == [len(own)]
    assert 'proposals' not in found and 'without_proposal' not in found


# Two instances of 10 x 10 that are moved by 2.5: IoU 7.5 / 12.5 = 0.6.
NEAR = boxes([(0, 0, 10, 10), (2.5, 0, 12.5, 10)])


def test_a_neighbour_suppresses_an_instance():
    before = boxes(NEAR.boxes, scores=[0.8, 0.9])
    after = picked(before, greedy(before, 0.5))
    assert after.boxes.tolist() == [[2.5, 0, 12.5, 10]]
    found = counts.count(Steps(before, before, after, False), NEAR, 0.5, 0.5, 1)
    assert found['suppressed'].tolist() == found['missed'].tolist() == [1, 0]
    assert found['suppressed_by_neighbour'].tolist() == [1, 0]
    assert found['removed'].tolist() == [1, 0]
    # Each box reaches the other instance, too.
    assert found['ambiguous_before'].tolist() == [1, 1] and found['ambiguous_after'].tolist() == [0, 1]
    assert found['without_proposal'].tolist() == [0, 0]


def test_at_a_higher_threshold_both_survive():
    before = boxes(NEAR.boxes, scores=[0.8, 0.9])
    found = counts.count(Steps(None, before, picked(before, greedy(before, 0.7)), False), NEAR, 0.5, 0.7, 1)
    assert found['suppressed'].tolist() == found['missed'].tolist() == [0, 0]


def test_a_box_of_no_instance_suppresses_as_well_but_is_no_neighbour():
    instance = boxes([(0, 0, 10, 10)])
    # IoU with the instance 0.7 and 0.45, with each other 0.64.
    before = boxes([(0, 0, 10, 7), (0, 0, 10, 4.5)], scores=[0.6, 0.9])
    after = picked(before, greedy(before, 0.5))
    found = counts.count(Steps(None, before, after, False), instance, 0.5, 0.5, 1)
    assert found['suppressed'].tolist() == [1] and found['suppressed_by_neighbour'].tolist() == [0]


def test_another_class_is_no_detection_of_the_instance():
    box = boxes([(0, 0, 10, 10)], labels=[1])
    found = counts.count(Steps(box, box, box, False), boxes([(0, 0, 10, 10)], labels=[0]), 0.5, 0.5, 1)
    assert found['missed'].tolist() == [1]
    proposal = Boxes(box.boxes, None, box.scores, box.levels)
    assert counts.count(Steps(proposal, box, box, False), NEAR, 0.5, 0.5, 1)['proposals'].tolist() == [1, 0]


def test_levels_are_counted_for_each_instance():
    proposals = boxes([(0, 0, 10, 10), (0, 0, 10, 9), (2.5, 0, 12.5, 10), (90, 90, 99, 99)], levels=[0, 1, 2, 0])
    nothing = boxes([])
    found = counts.count(Steps(proposals, nothing, nothing, False), NEAR, 0.5, 0.5, 3)
    assert found['levels_proposals'].tolist() == [[1, 1, 0], [0, 0, 1]]
    shares, number = counts.level_shares(found['levels_proposals'], np.array([0, 5]))
    assert shares[0].tolist() == [0.5, 0.5, 0] and shares[5].tolist() == [0, 0, 1] and np.isnan(shares[1]).all()
    assert shares[-1].tolist() == [0.25, 0.25, 0.5] and number.tolist() == [1, 0, 0, 0, 0, 1, 2]


@pytest.mark.parametrize(
    ('fraction', 'stratum'),
    [(0, '0'), (1e-9, '(0, 0.2]'), (0.2, '(0, 0.2]'), (0.21, '(0.2, 0.4]'), (0.8, '(0.6, 0.8]'), (1, '(0.8, 1]')],
)
def test_strata_are_closed_above(fraction, stratum):
    assert counts.STRATA[counts.stratum_of(np.array([fraction]))[0]] == stratum


def test_intervals_are_those_of_images_drawn_by_hand():
    rng = np.random.default_rng(3)
    n, images = 60, 9  # the last two have no instance
    image, stratum = np.sort(rng.integers(images - 2, size=n)), rng.integers(3, size=n)
    columns = {'before': rng.integers(5, size=n), 'missed': rng.integers(2, size=n)}
    columns['ambiguous_before'] = rng.binomial(columns['before'], 0.4)
    found = counts.summarise(columns, image, stratum, images, seed=7)
    draws = np.random.default_rng(7)
    drawn = {name: [] for name in found}
    for _ in range(counts.RESAMPLES):
        rows = np.concatenate([np.flatnonzero(image == i) for i in draws.integers(images, size=images)])
        for s in range(len(counts.STRATA) + 1):
            part = rows if s == len(counts.STRATA) else rows[stratum[rows] == s]
            for name in found:
                whole = columns['before'][part].sum() if name.startswith('ambiguous') else len(part)
                drawn[name].append(columns[name][part].sum() / whole if whole else np.nan)
    for name, summary in found.items():
        values = np.array(drawn[name]).reshape(counts.RESAMPLES, -1)
        for s in range(values.shape[1]):
            own = image >= 0 if s == len(counts.STRATA) else stratum == s
            if not own.any():
                assert np.isnan([summary.values[s], summary.low[s], summary.high[s]]).all()
                continue
            total = columns['before'][own].sum() if name.startswith('ambiguous') else own.sum()
            np.testing.assert_allclose(summary.values[s], columns[name][own].sum() / total)
            bounds = np.nanquantile(values[:, s], [0.025, 0.975])
            assert bounds[0] < bounds[1]  # else there is none
            np.testing.assert_allclose([summary.low[s], summary.high[s]], bounds, rtol=1e-12)


def test_one_image_has_no_interval():
    found = counts.summarise({'before': np.array([1, 2])}, np.array([0, 0]), np.array([1, 1]), 3, seed=0)['before']
    assert found.values[1] == 1.5 and np.isnan(found.low).all() and np.isnan(found.high).all()


def test_none_or_all_of_the_instances_have_no_interval_and_a_note_says_so():
    image, stratum = np.arange(90), np.repeat([0, 1, 2], 30)
    missed = np.concatenate([np.zeros(30, int), np.ones(30, int), np.arange(30) % 2])
    columns = {'before': missed, 'after': 1 - missed, 'missed': missed}
    found = counts.summarise(columns, image, stratum, 90, seed=0)
    for name in ('missed', 'before'):
        assert found[name].values[:3].tolist() == [0, 1, 0.5]
        assert np.isnan(found[name].low[:2]).all() and np.isnan(found[name].high[:2]).all()
        assert found[name].low[2] < 0.5 < found[name].high[2]
    reader = SimpleNamespace(least_score=0.05, score_thr=0.3, two_stages=True, levels=[])
    model = counts.Measured('it', reader, columns, found, {}, 0)
    tables = words.tables(model, np.array([30, 30, 30, 0, 0, 0, 90]))
    cells = [row[2] for row in tables[1].rows]
    assert tables[1].title.startswith('it: percent of instances') and tables[1].columns[2] == 'missed'
    assert cells[:2] == ['0', '100'] and re.fullmatch(r'50 \[\d\d, \d\d\]', cells[2]) and cells[3] == '–'
    args = SimpleNamespace(score_thr=0.3)
    assert any('none of n leaves up to about 3/n open' in note for note in words.notes([model], np.full(7, 30), args))
    half = {'missed': counts.summarise({'missed': missed[60:]}, image[:30], stratum[60:], 30, seed=0)['missed']}
    model = counts.Measured('it', reader, columns, half, {}, 0)
    assert not any('3/n' in note for note in words.notes([model], np.full(7, 30), args))


def test_the_widest_cells_fit_80_columns(capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    rows = len(counts.STRATA) + 1
    for two_stages in (True, False):
        names = [name for name in counts.MEASURES if two_stages or 'proposal' not in name]
        found = {
            name: counts.Summary(*(np.full(rows, x) for x in ((0.98, 0.88, 0.998) if name in counts.SHARES else wide)))
            for name in names
            for wide in [(12.34, 10.01, 14.56)]
        }
        levels = {step: (np.full((rows, 6), 0.98), np.full(rows, 12345)) for step in counts.STEPS if step in names}
        reader = SimpleNamespace(two_stages=two_stages, levels=[f'stride {2**i}' for i in range(2, 8)])
        tables = words.tables(counts.Measured('it', reader, {}, found, levels, 0), np.full(rows, 12345))
        cli._print(Findings([], '', {}, tables=tables))
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 80
        assert sum(line.startswith('(0.2, 0.4]') for line in lines) == len(tables)
        for table in tables:
            assert any(re.fullmatch(r'\s+'.join(map(re.escape, table.rows[2])), line.strip()) for line in lines)
            assert any(re.fullmatch(r'\s+'.join(map(re.escape, table.columns)), line.strip()) for line in lines)


def test_titles_name_each_threshold_once():
    models = [SimpleNamespace(reader=SimpleNamespace(score_thr=thr)) for thr in (0.3, 0.05, 0.3)]
    assert words.threshold(models) == '0.3 or 0.05' and words.threshold(models[::2]) == '0.3'


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        (0, '0'),
        (0.4, '<1'),
        (0.5, '<1'),
        (0.6, '1'),
        (19.3, '19'),
        (99.5, '>99'),
        (99.6, '>99'),
        (100, '100'),
        (np.nan, '–'),
    ],
)
def test_only_none_and_all_are_0_and_100_percent(value, text):
    assert words._percent(value) == text


def test_a_box_at_the_threshold_belongs_and_one_as_near_to_two_belongs_to_the_first():
    half = boxes([(0, 0, 10, 5)])  # IoU with each 0.5
    owner, could = counts.owners(half, boxes([(0, 0, 10, 10), (0, -5, 10, 5)]), 0.5)
    assert (owner.tolist(), could.tolist()) == ([0], [2])
