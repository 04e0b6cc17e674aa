"""Ground truth that is not in COCO's layout: read as COCO, or named for what it is."""

from __future__ import annotations

from os import PathLike
from typing import Any

from mmhybrid.errors import InputError
from mmhybrid.text import show

from .files import explained, garbage_collector_paused, loads, open_input, unpacked


def read_crowdhuman(path: str | PathLike[str]) -> dict[str, Any]:
    """CrowdHuman's ``.odgt`` (https://www.crowdhuman.org), of a JSON object an image and line, as COCO ground truth.

    An image's id is its ``ID``, a person's box the whole body's ``fbox``, of which hidden parts and parts beyond the
    image are in it. As in CrowdHuman's own evaluation, what is tagged ``mask`` or has ``extra.ignore`` set is ignored.

    Raises:
        InputError: The file cannot be read, or a line is not in this layout.
    """
    images, annotations = [], []
    with explained(path, 'ground truth'), garbage_collector_paused(), open_input(path) as file:
        for number, line in enumerate(unpacked(file, path), 1):
            if not line.strip():
                continue
            try:
                image = loads(line)
            except ValueError as error:
                raise ValueError(f'line {number}: {error}') from None
            try:
                images.append({'id': image['ID'], 'file_name': f'{image["ID"]}.jpg'})
                annotations += [
                    {
                        'image_id': image['ID'],
                        'category_id': 1,
                        'bbox': person['fbox'],
                        'ignore': int(person['tag'] != 'person' or bool(person.get('extra', {}).get('ignore', 0))),
                    }
                    for person in image['gtboxes']
                ]
            except (KeyError, TypeError, AttributeError):
                raise InputError(
                    f"{path}: line {number} is {show(image)}, without 'ID', and 'gtboxes' with 'tag' and 'fbox' as in "
                    'CrowdHuman; give such a file, or COCO JSON.'
                ) from None
    return {'images': images, 'categories': [{'id': 1, 'name': 'person'}], 'annotations': annotations}


def refuse_regions(rows: Any, source: str) -> None:
    """Raise an ``InputError`` about COCOA's original layout, which has all regions of an image in one record."""
    if isinstance(rows, list) and rows and all(isinstance(row, dict) and 'regions' in row for row in rows):
        raise InputError(
            f"{source}: is COCOA's original layout, with the 'regions' of an image in one annotation and without "
            "categories; give COCOA with COCO's categories, one instance an annotation with 'segmentation' and "
            "'visible_mask'."
        )
