"""A contact sheet: images of a data set in the order of their occlusion ratio, with boxes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mmhybrid.datasets._coco import annotation_path, read_split_names

_COLOURS = ('#e69f00', '#56b4e9', '#009e73', '#f0e442', '#0072b2', '#d55e00', '#cc79a7')


def contact_sheet(root: str | Path, columns: int = 6, gap: int = 6) -> Image.Image:
    """Draw ``columns`` images of the first split, evenly spread over its ratios, with r written above.

    The upper row is plain; the lower one shows the same images with visible boxes (thick) and amodal boxes (thin).

    Raises:
        InputError: ``root`` holds no complete data set.
    """
    root = Path(root)
    split = read_split_names(root)[0]
    content = json.loads(annotation_path(root, split).read_text(encoding='ascii'))
    images = sorted(content['images'], key=lambda image: image['occlusion_ratio'])
    chosen = [images[i] for i in np.linspace(0, len(images) - 1, columns).round().astype(int)]
    size, text = images[0]['width'], 18
    sheet = Image.new('RGB', (columns * (size + gap) + gap, 2 * (size + gap) + text + gap), 'white')
    draw = ImageDraw.Draw(sheet)
    for number, record in enumerate(chosen):
        x, y = gap + number * (size + gap), gap + text
        draw.text((x, gap), f'r = {record["occlusion_ratio"]:.2f}', fill='black', font_size=14)
        plain = Image.open(root / split / record['file_name']).convert('RGB')
        sheet.paste(plain, (x, y))
        annotations = [a for a in content['annotations'] if a['image_id'] == record['id']]
        sheet.paste(_with_boxes(plain, annotations), (x, y + size + gap))
    return sheet


def _with_boxes(image: Image.Image, annotations: list[dict]) -> Image.Image:
    image = image.copy()
    draw = ImageDraw.Draw(image)
    for number, annotation in enumerate(annotations):
        colour = _COLOURS[number % len(_COLOURS)]
        for key, width in (('amodal_bbox', 1), ('bbox', 3)):
            left, top, w, h = annotation[key]
            draw.rectangle((left, top, left + w - 1, top + h - 1), outline=colour, width=width)
    return image
