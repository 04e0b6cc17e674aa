"""What does not fit a benchmark's protocol is told: its category, the size of images, a category without instances."""

import pytest

from mmhybrid.errors import InputError
from mmhybrid.occlusion import Selection, evaluate
from mmhybrid.occlusion.cli import main


def ground_truth(names=('person',), category=1, size=(512, 640)):
    box = {'bbox': [100, 100, 30, 80], 'height': 80, 'occlusion': 0, 'vis_ratio': 1.0}
    return {
        'images': [{'id': i, 'im_name': f'set06/V000/I{i}', 'height': size[0], 'width': size[1]} for i in range(3)],
        'categories': [{'id': i, 'name': name} for i, name in enumerate(names, 1)],
        'annotations': [{'id': i + 1, 'image_id': i, 'category_id': category, **box} for i in range(3)],
    }


def notes(preset, **options):
    result = evaluate(ground_truth(**options), [], by=Selection(preset=preset))['bbox']
    return [note for note in result.notes if preset in note]


@pytest.mark.parametrize(
    ('preset', 'options', 'words'),
    [
        ('citypersons', {}, []),
        ('citypersons', {'names': ('pedestrian', 'rider')}, []),
        ('citypersons', {'names': ('rider', 'pedestrian')}, ["the category 1, 'rider'", "'pedestrian' is meant"]),
        ('citypersons', {'size': (1024, 2048)}, []),  # it has no border
        ('caltech', {'size': (480, 640)}, []),
        ('caltech', {'size': (1024, 2048)}, ['3 of 3 images are not of 640x480 pixels']),
    ],
)
def test_a_note_tells_what_does_not_fit(preset, options, words):
    told = [note for note in notes(preset, **options) if 'no detection' not in note]
    assert len(told) == bool(words)
    assert all(word in told[0] for word in words)


def test_a_category_without_instances_is_refused_unless_it_was_asked_for(tmp_path):
    import json

    gt = ground_truth(('rider', 'pedestrian'), category=2)
    with pytest.raises(InputError, match=r'evaluates the category 1, of which none counts; name the one'):
        evaluate(gt, [], by=Selection(preset='citypersons'))
    (tmp_path / 'gt.json').write_text(json.dumps(gt))
    (tmp_path / 'dt.json').write_text('[]')
    asked = ['eval', '--ann', f'{tmp_path}/gt.json', '--results', f'{tmp_path}/dt.json', '--preset', 'citypersons']
    assert main([*asked, '--categories', 'rider', '--out-dir', str(tmp_path / 'out')]) == 0
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['occlusion.json', 'occlusion.png']
