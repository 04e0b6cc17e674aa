"""Quality of strata through the public calls: what it is of, its intervals, and paired differences."""

import math
from dataclasses import replace

import numpy as np
import pytest

from mmhybrid.errors import InputError
from mmhybrid.occlusion import Details, Selection, Settings, compare, evaluate
from mmhybrid.occlusion.analysis.bootstrap import draw
from mmhybrid.occlusion.analysis.quality import quality
from mmhybrid.occlusion.instance_strata import InstanceStratum
from mmhybrid.occlusion.strata import all_images, bins

from ..synthetic import dataset
from .test_quality import evaluated

STRATA = (all_images(), *bins((0, 0.3, 1)))


def test_quality_and_its_differences_are_those_of_the_matches():
    content, results = dataset(11, num_images=30)
    models = {'a': results, 'b': results[::2]}
    details = Details(quality=True, resamples=25, seed=3, min_score=0.2)
    compared = compare(content, models, by=STRATA, details=details)
    known = np.sort([image['id'] for image in content['images']])
    weights, samples = draw(len(known), 25, 3), []
    for result, each in zip(compared.results, models.values(), strict=True):
        matches, gt, dt = evaluated(content, each)
        stratification = Selection(parts=STRATA).apply(gt)
        members = [np.searchsorted(known, sorted(ids)) for ids in stratification.members().values()]
        found, drawn = quality(matches, gt, dt, members, weights, min_score=0.2)
        assert [repr(row.quality) for row in result.strata] == list(map(repr, found))
        assert set(result.all.intervals) == {'ap', 'ap50', 'ap75', 'ar'}
        assert result.category_names == tuple((k, str(k)) for k in matches.category_ids.tolist())
        samples.append(drawn)
    (comparison,) = compared.comparisons
    for row in comparison.differences:
        if row.metric not in ('f1', 'ece', 'olrp'):
            continue
        s = [stratum.name for stratum in STRATA].index(row.stratum.name)
        values = [getattr(result.strata[s].quality, row.metric) for result in compared.results]
        assert (row.baseline, row.model, row.difference) == (*values, values[1] - values[0])
        gaps = samples[1][row.metric][:, s] - samples[0][row.metric][:, s]
        low, middle, high = np.nanquantile(gaps, (0.025, 0.5, 0.975))
        assert row.interval.high - row.interval.low == pytest.approx(high - low)
        assert row.interval.low == pytest.approx(row.difference + low - middle)
    metrics = [row.metric for row in comparison.differences if row.stratum.kind == 'all']
    assert metrics == ['ap', 'ap50', 'ap75', 'ar', 'f1', 'ece', 'olrp']


def test_of_one_image_with_instances_nothing_is_known():
    content, results = dataset(4)
    first = content['annotations'][0]['image_id']
    content['annotations'] = [row for row in content['annotations'] if row['image_id'] == first]
    row = evaluate(content, results, details=Details(quality=True, resamples=20))['bbox'].all
    assert not math.isnan(row.quality.f1) and not row.quality.precision_interval
    assert all(math.isnan(each.low) for each in (*row.quality.intervals.values(), *row.intervals.values()))


def test_instances_outside_of_a_stratum_count_neither_way():
    content, results = dataset(6)
    tall = InstanceStratum.parse('tall: h >= 12')
    result = evaluate(content, results, by=Selection(parts=[tall]), details=Details(quality=True))['bbox']
    ignored = [row | {'ignore': int(row['bbox'][3] < 12)} for row in content['annotations']]
    expected = evaluate(content | {'annotations': ignored}, results, details=Details(quality=True))['bbox'].all
    (row,) = result.of_kind('instances')
    assert repr(row.quality) == repr(expected.quality) != repr(result.all.quality)
    assert 0 < row.num_instances < result.all.num_instances


def test_at_the_threshold_asked_for():
    content, results = dataset(6)
    settings, details = Settings(iou_thrs=(0.6, 0.75)), Details(quality=True)
    nearest, asked = (
        evaluate(content, results, details=each, settings=settings)['bbox'].all.quality
        for each in (details, replace(details, iou_thr=0.75))
    )
    assert (nearest.iou_thr, asked.iou_thr) == (0.6, 0.75) and nearest.f1 > asked.f1
    with pytest.raises(InputError, match=r'quality cannot be told at IoU 0\.5'):
        evaluate(content, results, details=replace(details, iou_thr=0.5), settings=settings)
