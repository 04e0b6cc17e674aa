"""A small data set with one of each fault, of images of 64 x 48 pixels: ``python -m tests.datasets.faulty DIR``."""

import json
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask

WIDTH, HEIGHT = 64, 48
# In another order than the file's categories, one of which is missing there.
CLASSES = ('car', 'person', 'tram')
CATEGORIES = ('person', 'car', 'dog')
# Kinds of fault in the file by themselves, and how many of each.
RECORDS = {
    'image-record': 1,
    'category-record': 1,
    'annotation-record': 2,
    'duplicate-image-id': 1,
    'duplicate-category-id': 1,
    'duplicate-category-name': 1,
    'duplicate-annotation-id': 1,
    'unknown-category': 1,
    'unlisted-image': 1,
    'duplicate-file-name': 1,
    'duplicate-annotation': 1,
    'image-empty': 2,
    'box-not-finite': 1,
    'box-degenerate': 3,
    'box-outside': 1,
    'box-partly-outside': 1,
    'area-not-positive': 1,
}
MASKS = {
    'mask-missing': 1,
    'mask-malformed': 2,
    'mask-size': 1,
    'mask-few-points': 1,
    'mask-empty': 2,
    'mask-outside': 1,
}
CLASSWISE = {'class-missing': 1, 'category-order': 3, 'category-unused': 2, 'class-empty': 1}
FILES = {
    'file-missing': 1,
    'file-broken': 3,
    'file-size': 1,
    'file-orientation': 1,
    'file-turned': 1,
    'file-mode': 3,
}


def picture(size=(WIDTH, HEIGHT), mode='RGB'):
    """An image with content, so that a part of its file is less than the whole."""
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def jpeg(orientation=None, **options):
    """The bytes of a JPEG file."""
    exif = Image.Exif()
    if orientation:
        exif[274] = orientation
    file = BytesIO()
    picture(**options).save(file, 'JPEG', exif=exif)
    return file.getvalue()


def png(image):
    """The bytes of a PNG file."""
    file = BytesIO()
    image.save(file, 'PNG')
    return file.getvalue()


def image_files():
    """Content by name; None for a file that is not there."""
    whole = jpeg()
    return {
        'good.jpg': whole,
        'fine.jpg': whole,
        'known.jpg': jpeg(6, size=(HEIGHT, WIDTH)),  # annotated as it is seen
        'missing.jpg': None,
        'empty.jpg': b'',
        'truncated.jpg': whole[: len(whole) // 2],
        'text.jpg': b'no image at all',
        'other_size.jpg': jpeg(size=(WIDTH, HEIGHT + 2)),
        'orientation.jpg': jpeg(6),
        'upside_down.jpg': jpeg(3),
        'grey.jpg': jpeg(mode='L'),
        'alpha.png': png(picture(mode='RGBA')),
        'deep.png': png(Image.fromarray(np.full((HEIGHT, WIDTH), 40_000, dtype=np.uint16))),
        'without_instances.jpg': whole,
    }


def rle(height, width):
    """Run lengths of a rectangle, as JSON holds them."""
    canvas = np.zeros((height, width), dtype=np.uint8, order='F')
    canvas[5:15, 5:15] = 1
    code = mask.encode(canvas)
    return {'size': code['size'], 'counts': code['counts'].decode()}


def instance(identity, image=1, category=1, box=(5, 5, 10, 10), **fields):
    """An annotation that is as it should be, but for ``fields``; None leaves a field out."""
    x, y, width, height = box
    polygon = [x, y, x + width, y, x + width, y + height, x, y + height]
    row = dict(id=identity, image_id=image, category_id=category, bbox=list(box), area=100, iscrowd=0)
    row |= dict(segmentation=[polygon]) | fields
    return {key: value for key, value in row.items() if value is not None}


def sound(images=('good.jpg', 'fine.jpg'), categories=CATEGORIES, per_image=2):
    """An annotation file's content without a fault."""
    return {
        'images': [dict(id=i, file_name=name, width=WIDTH, height=HEIGHT) for i, name in enumerate(images, 1)],
        'categories': [dict(id=i, name=name) for i, name in enumerate(categories, 1)],
        'annotations': [
            instance(1 + i, 1 + i // per_image, 1 + i % len(categories), (5 + i % 9, 6, 20, 20))
            for i in range(max(len(images) * per_image, len(categories)))
        ][: len(images) * per_image],
    }


def content():
    """An annotation file's content with one of each fault."""
    names = list(image_files())
    document = sound(names)
    images, categories = document['images'], document['categories']
    rows = [row for row in document['annotations'] if row['image_id'] < len(names)]
    for row in rows:
        row['category_id'] = 1 + row['id'] % 2  # no dogs
    images += [
        dict(id=1, file_name='good.jpg', width=WIDTH, height=HEIGHT),  # of the first's name and id
        dict(id=100, file_name='no_width.jpg', height=HEIGHT),
    ]
    categories += [dict(id=3, name='cat'), dict(id=5, name='car'), dict(id=6)]
    wrong_size, cut = rle(HEIGHT + 1, WIDTH), rle(HEIGHT, WIDTH)
    cut['counts'] = cut['counts'][:-1]
    rows += [
        instance(101, box=(7, 7, 11, 11), bbox=[1, 2, 3]),
        instance(102, area=None),
        instance(103, box=(8, 8, 12, 12)),
        instance(103, box=(9, 9, 12, 12)),
        instance(104, category=99),
        instance(105, image=999),
        instance(106, box=(11, 11, 13, 13)),
        instance(107, box=(11, 11, 13, 13)),
        instance(108, bbox=[5, 5, float('inf'), 10]),
        instance(109, bbox=[5, 5, 0, 10]),
        instance(110, bbox=[5, 5, 10, -3]),
        instance(111, bbox=[0.1, 0.2, 0.5, 0.4]),
        instance(112, bbox=[200, 5, 10, 10]),
        instance(113, bbox=[60, 5, 10, 10]),
        instance(114, area=0),
        instance(115, box=(6, 5, 10, 10), segmentation=None),
        instance(116, box=(6, 6, 10, 10), segmentation='nowhere'),
        instance(117, box=(6, 7, 10, 10), segmentation=cut),
        instance(118, box=(6, 8, 10, 10), segmentation=wrong_size),
        instance(119, box=(6, 9, 10, 10), segmentation=[[5, 5, 15, 15]]),
        instance(120, box=(6, 10, 10, 10), segmentation={'size': [HEIGHT, WIDTH], 'counts': [HEIGHT * WIDTH]}),
        instance(121, box=(6, 11, 10, 10), segmentation=[[5.1, 5.1, 5.2, 5.1, 5.2, 5.2]]),
        instance(122, box=(6, 12, 10, 10), segmentation=[[5, 5, 90, 5, 90, 20]]),
    ]  # fmt: skip
    document['annotations'] = rows
    return document


def write(root, document=None):
    """Write images and annotations.

    Returns:
        The annotation file and the folder of images.
    """
    folder = root / 'images'
    folder.mkdir(parents=True)
    for name, data in image_files().items():
        if data is not None:
            (folder / name).write_bytes(data)
    path = root / 'annotations.json'
    path.write_text(json.dumps(content() if document is None else document))
    return path, folder


if __name__ == '__main__':
    write(Path(sys.argv[1]))
