"""The metric in MMDetection's own hands with strata of instances, against the evaluation of the results file."""

import copy
import re

import pytest
from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS

import mmhybrid.registry  # noqa: F401
from mmhybrid.datasets.occluded_shapes import generate
from mmhybrid.errors import InputError
from mmhybrid.occlusion import Selection, Settings, evaluate
from mmhybrid.occlusion.instance_strata import InstanceStratum
from mmhybrid.occlusion.protocols import PROTOCOLS
from tests.test_evaluation import CLASSES, predictions, run


@pytest.mark.parametrize('classes', [CLASSES, CLASSES[:4]])
@pytest.mark.parametrize(
    ('occlusion', 'names'),
    [
        (dict(parts=list(map(InstanceStratum.parse, ('large: area > 400', 'h < 20')))), ['large', 'h < 20']),
        (dict(preset='amodal'), ['none', 'partial', 'heavy']),
    ],
)
def test_each_stratum_has_its_values(tmp_path, occlusion, names, classes):
    generate(tmp_path / 'data', {'val': 30}, size=128, progress=False)
    annotations, prefix = tmp_path / 'data' / 'annotations' / 'instances_val.json', str(tmp_path / 'results')
    options = dict(ann_file=str(annotations), metric='bbox', outfile_prefix=prefix)
    samples = list(predictions(annotations, classes))
    metric = METRICS.build(dict(type='OcclusionCocoMetric', occlusion=occlusion, **options))
    ours = run(metric, copy.deepcopy(samples), classes)
    plain = {key: value for key, value in ours.items() if '_occ_' not in key}
    assert plain == run(CocoMetric(**options), samples, classes)
    settings = Settings(categories=None if classes is CLASSES else classes)
    result = evaluate(annotations, f'{prefix}.bbox.json', by=Selection(**occlusion), settings=settings)['bbox']
    parts = result.of_kind('instances')
    assert [part.stratum.name for part in parts] == names
    fields = {'mAP': 'ap', 'mAP_50': 'ap50', 'mAP_75': 'ap75', 'AR': 'ar'}
    expected = {
        f'coco/bbox_{key}_occ_{part.stratum.name}': round(getattr(part, field), 3)
        for part in parts
        for key, field in fields.items()
    }
    assert {key: value for key, value in ours.items() if '_occ_' in key} == expected
    assert len({ours[f'coco/bbox_mAP_occ_{name}'] for name in names} | {ours['coco/bbox_mAP']}) == len(names) + 1


@pytest.mark.parametrize('preset', PROTOCOLS)
def test_presets_of_benchmarks_are_refused(preset):
    told = re.escape(f'evaluated from saved results: mmhybrid occlusion eval --preset {preset};')
    with pytest.raises(InputError, match=told):
        METRICS.build(dict(type='OcclusionCocoMetric', metric='bbox', occlusion=dict(preset=preset)))
