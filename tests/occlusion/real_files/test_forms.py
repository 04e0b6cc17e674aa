"""Random combinations of forms that mean the same give the same numbers, to the last bit."""

import copy
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from . import forms, test_notes
from .base import Files, plain, unchanged, unchanged_plain
from .outcomes import assert_named, assert_noted, assert_plain, assert_same

KINDS = {'bbox': ['--iou-type', 'bbox'], 'segm': ['--iou-type', 'segm'], 'both': ['--iou-type', 'bbox', 'segm']}
# In the order in which they are applied; the first of each group changes nothing.
GROUPS = {
    'file_names': forms.FILE_NAMES,
    'image_ids': forms.IMAGE_IDS,
    'category_ids': forms.CATEGORY_IDS,
    'annotation_ids': forms.ANNOTATION_IDS,
    'gt_masks': forms.GT_MASKS,
    'dt_masks': forms.DT_MASKS,
    'fields': forms.FIELDS,
}
NEEDS_MASKS = {
    'all fields': lambda files: None,
    'no boxes': forms.no_boxes,
    'no boxes in results': forms.no_boxes_in_results,
    'no boxes in ground truth': forms.no_boxes_in_ground_truth,
}


@st.composite
def combinations(draw):
    """Names of one form of each group, and how both files are written."""
    kind = draw(st.sampled_from(list(KINDS)))
    chosen = {name: draw(st.sampled_from(list(group))) for name, group in GROUPS.items()}
    chosen |= {'kind': kind, 'area': draw(st.booleans())}
    chosen['boxes'] = draw(st.sampled_from(list(NEEDS_MASKS))) if kind == 'segm' else 'all fields'
    chosen['shards'] = draw(st.sampled_from([1, 1, 3]))
    chosen['wrapper'] = draw(st.sampled_from(list(forms.WRAPPERS)))
    chosen['lines'] = chosen['wrapper'] == 'as they are' and draw(st.booleans())
    for side in ('gt', 'dt'):
        chosen[f'{side}_text'] = draw(st.sampled_from(list(forms.TEXTS)))
        chosen[f'{side}_container'] = draw(st.sampled_from(list(forms.CONTAINERS)))
    return chosen


def write(files, chosen):
    """Both files as the names say."""
    for name, group in GROUPS.items():
        group[chosen[name]](files)
    if not chosen['area']:
        forms.no_area(files)
    NEEDS_MASKS[chosen['boxes']](files)
    pack, text = forms.CONTAINERS[chosen['gt_container']], forms.TEXTS[chosen['gt_text']]
    files.ann = 'gt.json' + chosen['gt_container']
    files.write(files.ann, pack(text(json.dumps(files.gt))))

    size = -(-len(files.dt) // chosen['shards'])
    pack, text = forms.CONTAINERS[chosen['dt_container']], forms.TEXTS[chosen['dt_text']]
    files.results = ()
    for start in range(0, len(files.dt), size):
        part = files.dt[start : start + size]
        if chosen['lines']:
            name, content = f'part_{start}.jsonl', forms.json_lines(part).encode()
        else:
            name, content = f'part_{start}.json', text(json.dumps(forms.WRAPPERS[chosen['wrapper']](part)))
        files.write(name + chosen['dt_container'], pack(content))
        files.results += (name + chosen['dt_container'],)


def check(chosen):
    options = KINDS[chosen['kind']] + (['--geometry', 'segm'] if chosen['kind'] == 'segm' else [])
    with tempfile.TemporaryDirectory() as folder:
        files = Files(Path(folder))
        write(files, chosen)
        outcome = files.run('eval', *options, *(['--merge'] if chosen['shards'] > 1 else []))
    assert outcome.code == 0, outcome.err
    assert_same(outcome, *options)
    assert chosen['area'] or any('area' in note for note in outcome.notes)
    # Nothing else is to be said but by what images were matched and how something was read.
    alarms = [
        note for note in outcome.notes if any(word in note for word in ('corner', 'no detection', 'limit', 'score'))
    ]
    assert not alarms


SETTINGS = dict(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


@settings(max_examples=50, **SETTINGS)
@given(combinations())
def test_forms_do_not_change_numbers(chosen):
    check(chosen)


@pytest.mark.slow
@settings(max_examples=1500, **SETTINGS)
@given(combinations())
def test_many_forms_do_not_change_numbers(chosen):
    check(chosen)


@st.composite
def noted(draw):
    """A change that must be noted, and forms on top of it."""
    forms_ = {name: draw(st.sampled_from(list(group))) for name, group in GROUPS.items()}
    return draw(st.sampled_from(NOTED_IN_ANY_FORM)), forms_


# Those that do not set ids or file names by hand.
NOTED_IN_ANY_FORM = ['one_image_of_twelve', 'corners_as_integers', 'boxes_of_a_larger_image', 'logits_for_scores']


@settings(max_examples=25, **SETTINGS)
@given(noted())
def test_notes_do_not_hang_on_forms(chosen):
    name, forms_ = chosen
    change, patterns, options = test_notes.NOTED[name]
    with tempfile.TemporaryDirectory() as folder:
        files = Files(Path(folder))
        change(files)
        right = plain(*copy.deepcopy((files.gt, files.dt)))
        for group, form in forms_.items():
            GROUPS[group][form](files)
        outcome = files.run('eval', *options)
    assert_plain(outcome, right)
    assert_noted(outcome.notes, *patterns)


@pytest.mark.parametrize(
    'group, form', [(group, form) for group, forms_ in GROUPS.items() for form in list(forms_)[1:]]
)
def test_one_form(group, form):
    """Each by itself, so that a failure names it."""
    chosen = {name: next(iter(each)) for name, each in GROUPS.items()} | {group: form}
    kind = 'segm' if group.endswith('masks') or form.startswith('sizes') else 'bbox'
    chosen |= {'kind': kind, 'area': True, 'boxes': 'all fields', 'shards': 1, 'wrapper': 'as they are', 'lines': False}
    check(
        chosen | dict.fromkeys(['gt_text', 'dt_text'], 'as it is') | dict.fromkeys(['gt_container', 'dt_container'], '')
    )


def test_the_set_has_the_numbers_of_pycocotools():
    for engine in ('pycocotools', None):
        options = ('--iou-type', 'bbox', 'segm', *(['--engine', engine] if engine else []))
        bbox, segm = unchanged(*options)
        for result, iou_type in ((bbox, 'bbox'), (segm, 'segm')):
            right = unchanged_plain(iou_type)
            assert 0.2 < right['ap'] < 0.5 and right['apl'] > 0.5 > right['aps'] > 0.1
            if engine:
                assert {name: result['strata'][0][name] for name in right} == right
        assert sum(stratum['num_images'] > 0 for stratum in bbox['strata'][1:12]) > 4


def test_the_set_is_the_same_with_each_engine(tmp_path):
    pytest.importorskip('hotcoco')
    outcome = Files(tmp_path).run('eval', '--iou-type', 'bbox', 'segm', '--engine', 'hotcoco')
    assert_plain(outcome, unchanged_plain('bbox'), unchanged_plain('segm'))


def test_what_is_no_form_is_refused(tmp_path):
    """The same checks do see a fault."""
    files = Files(tmp_path)
    files.dt[3]['image_id'] = 99
    assert_named(files.run('eval'), '99', r'1 record|results\[3\]')
    with pytest.raises(AssertionError):
        other = Files(tmp_path / 'other')
        other.dt[3]['score'] += 1e-9
        other.dt[0]['bbox'][0] += 12
        assert_same(other.run('eval'))
