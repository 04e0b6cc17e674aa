"""Other forms of the same data: what changes in a file while every number must stay the same to the last bit.

Each function changes :class:`~.base.Files` in place. Those of one group exclude each other; groups go together.
"""

import bz2
import gzip
import io
import json
import lzma
import struct
import zipfile
from pathlib import PureWindowsPath

from .base import encoded, uncompressed


def _images(new, in_gt=True, in_dt=True):
    """Give the images other ids: ``new`` makes one from the image's record."""

    def change(files):
        ids = {image['id']: new(image) for image in files.gt['images']}
        for record in [*(files.gt['annotations'] if in_gt else []), *(files.dt if in_dt else [])]:
            record['image_id'] = ids[record['image_id']]
        for image in files.gt['images'] if in_gt else []:
            image['id'] = ids[image['id']]

    return change


def stem(image):
    return PureWindowsPath(image['file_name']).stem  # of / and \\ alike


IMAGE_IDS = {
    'as they are': lambda files: None,
    'from 0': _images(lambda image: image['id'] - 1),
    'with gaps': _images(lambda image: 139 + 285 * image['id'] ** 2),
    'huge': _images(lambda image: 2**40 + image['id']),
    'text': _images(lambda image: f'seq_{image["id"]:04}_d_{7 * image["id"]:05}'),
    'digits on both sides': _images(lambda image: str(image['id'])),
    'digits in the results': _images(lambda image: str(image['id']), in_gt=False),
    'padded digits in the results': _images(lambda image: f'{image["id"]:012}', in_gt=False),
    'digits in the ground truth': _images(lambda image: str(image['id']), in_dt=False),
    'padded digits in the ground truth': _images(lambda image: f'{image["id"]:06}', in_dt=False),
    'floats in the results': _images(lambda image: float(image['id']), in_gt=False),
    'floats in the ground truth': _images(lambda image: float(image['id']), in_dt=False),
    'stems in the results': _images(stem, in_gt=False),
    'file names in the results': _images(lambda image: image['file_name'], in_gt=False),
}


def _categories(new, in_gt=True, in_dt=True):
    def change(files):
        records = [*(files.gt['annotations'] if in_gt else []), *(files.dt if in_dt else [])]
        for record in records:
            record['category_id'] = new(record['category_id'])
        for category in files.gt['categories'] if in_gt else []:
            category['id'] = new(category['id'])

    return change


CATEGORY_IDS = {
    'as they are': lambda files: None,
    'from 0': _categories(lambda value: value - 1),
    'with gaps': _categories(lambda value: (1, 18, 90)[value - 1]),
    'floats in the results': _categories(float, in_gt=False),
    'floats in the ground truth': _categories(float, in_dt=False),
    'digits in the results': _categories(str, in_gt=False),
}


def _annotations(new):
    def change(files):
        for position, record in enumerate(files.gt['annotations']):
            record['id'] = new(position)

    return change


def _without(section, name):
    def change(files):
        for record in files.dt if section == 'results' else files.gt[section]:
            record.pop(name, None)

    return change


ANNOTATION_IDS = {
    'as they are': lambda files: None,
    'from 0': _annotations(lambda position: position),
    'all the same': _annotations(lambda position: 1),
    'repeated': _annotations(lambda position: position // 2),
    'absent': _without('annotations', 'id'),
    'null': _annotations(lambda position: None),
    'text': _annotations(lambda position: f'ann-{position}'),
    'floats': _annotations(lambda position: position + 1.0),
    'negative': _annotations(lambda position: -position),
}


def no_area(files):
    _without('annotations', 'area')(files)


def no_boxes(files):
    """Neither side has boxes: only where masks are evaluated and measured."""
    _without('annotations', 'bbox')(files)
    _without('results', 'bbox')(files)


def no_boxes_in_results(files):
    _without('results', 'bbox')(files)


def no_boxes_in_ground_truth(files):
    _without('annotations', 'bbox')(files)


def _masks(new, in_gt):
    def change(files):
        for record in files.gt['annotations'] if in_gt else files.dt:
            record['segmentation'] = new(record['segmentation'])

    return change


def bytes_repr(segmentation):
    """Compressed run lengths whose bytes were made text by ``str``, as a careless ``json.dump(default=str)`` does."""
    rle = encoded(segmentation)
    return rle | {'counts': str(rle['counts'].encode())}


def _sizes_as_floats(segmentation):
    rle = encoded(segmentation)
    return rle | {'size': [float(value) for value in rle['size']]}


MASK_FORMS = {
    'as they are': lambda segmentation: segmentation,
    'compressed': encoded,
    'uncompressed': lambda segmentation: uncompressed(encoded(segmentation)),
    "b'...'": bytes_repr,
    'sizes as floats': _sizes_as_floats,
}
GT_MASKS = {name: _masks(new, True) for name, new in MASK_FORMS.items()}
DT_MASKS = {name: _masks(new, False) for name, new in MASK_FORMS.items()}


def _extra(files):
    files.gt |= {'info': {'year': 2024, 'version': None}, 'licenses': [{'id': 1, 'url': ''}], 'type': 'instances'}
    for image in files.gt['images']:
        image |= {'license': 0, 'flickr_url': '', 'coco_url': '', 'date_captured': 0}
    for annotation in files.gt['annotations']:
        annotation |= {'attributes': {'occluded': False, 'rotation': 0.0}, 'track_id': 4, 'caption': 'é\u2028"'}
    for position, record in enumerate(files.dt):
        record |= {'id': position, 'feature': [0.5, None], 'name': 'x', 'iscrowd': 0, 'area': 1.0}


def _reversed_keys(files):
    files.gt = {name: files.gt[name] for name in reversed(files.gt)}
    for name in ('images', 'annotations', 'categories'):
        files.gt[name] = [dict(reversed(record.items())) for record in files.gt[name]]
    files.dt = [dict(reversed(record.items())) for record in files.dt]


def _few_fields(files):
    for image in files.gt['images']:
        image.pop('license', None)
    for category in files.gt['categories']:
        category.pop('supercategory', None)
    for annotation in files.gt['annotations']:
        if not annotation['iscrowd']:
            del annotation['iscrowd']


def _flags(files):
    for annotation in files.gt['annotations']:
        annotation |= {'iscrowd': bool(annotation['iscrowd']), 'ignore': 0}


def _float_sizes(files):
    for image in files.gt['images']:
        image |= {'width': float(image['width']), 'height': float(image['height'])}


FIELDS = {
    'as they are': lambda files: None,
    'unknown ones': _extra,
    'in another order': _reversed_keys,
    'crowd flags only where set': _few_fields,
    'flags as true and false': _flags,
    'sizes of images as floats': _float_sizes,
}


def _file_names(new):
    def change(files):
        for image in files.gt['images']:
            image['file_name'] = new(image['file_name'])

    return change


# Results that name files name them without these.
FILE_NAMES = {
    'as they are': lambda files: None,
    'in a folder': _file_names('val/{}'.format),
    'in a folder of Windows': _file_names('images\\upload\\{}'.format),
    'whole paths': _file_names('/data/set 1/val/{}'.format),
}


def by_image(records):
    """Results as an object: image id -> its detections without the id."""
    found = {}
    for record in records:
        rest = {name: value for name, value in record.items() if name != 'image_id'}
        found.setdefault(record['image_id'], []).append(rest)
    return {str(image): rest for image, rest in found.items()}


def boxes_labels_scores(records):
    """Results as one record an image, each with lists."""
    found = {}
    for record in records:
        found.setdefault(record['image_id'], []).append(record)
    return [
        {
            'image_id': image,
            'boxes': [record['bbox'] for record in each],
            'labels': [record['category_id'] for record in each],
            'scores': [record['score'] for record in each],
        }
        for image, each in found.items()
    ]


WRAPPERS = {
    'as they are': lambda records: records,
    'predictions': lambda records: {'predictions': records},
    'annotations': lambda records: {'info': {}, 'annotations': records},
    'by image': by_image,
}


def zstandard(content):
    """A Zstandard frame of raw blocks, which needs no compressor."""
    size = 1 << 17
    blocks = [content[at : at + size] for at in range(0, max(len(content), 1), size)]
    frame = struct.pack('<IBI', 0xFD2FB528, 0xA0, len(content))
    for position, block in enumerate(blocks):
        frame += struct.pack('<I', len(block) << 3 | (position == len(blocks) - 1))[:3] + block
    return frame


def zipped(**files):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, 'w', zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return archive.getvalue()


CONTAINERS = {
    '': lambda content: content,
    '.gz': gzip.compress,
    '.bz2': bz2.compress,
    '.xz': lzma.compress,
    '.zip': lambda content: zipped(**{'detections.json': content}),
}


def json_lines(records):
    return '\n'.join(json.dumps(record) for record in records)


TEXTS = {
    'as it is': lambda text: text.encode(),
    'with a byte order mark': lambda text: b'\xef\xbb\xbf' + text.encode(),
    'with lines of Windows': lambda text: json.dumps(json.loads(text), indent=2).replace('\n', '\r\n').encode(),
    'not in ASCII': lambda text: json.dumps(json.loads(text), ensure_ascii=False).encode(),
    'with blanks around': lambda text: b'\n \t' + text.encode() + b' \r\n\n',
}
