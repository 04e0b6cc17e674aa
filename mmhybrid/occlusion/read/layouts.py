"""Ground truth that is not in COCO's layout: read as COCO, or named for what it is."""

from __future__ import annotations

from typing import Any

from mmhybrid.errors import InputError
from mmhybrid.text import show


def as_coco(content: Any, source: str) -> Any:
    """Content of a file of ground truth, in COCO's layout if it was in CrowdHuman's (https://www.crowdhuman.org).

    CrowdHuman's ``.odgt`` has an object an image and line. Its ``ID`` is the image's id, ``fbox`` of a person the whole
    body's box, of which hidden parts and parts beyond the image are in it, and ``vbox`` that of the visible part. As in
    CrowdHuman's own evaluation, what is tagged ``mask`` or has ``extra.ignore`` set is ignored.

    Raises:
        InputError: It is CrowdHuman's with a line that is not, or COCOA's original layout.
    """
    lines = [content] if isinstance(content, dict) else content
    if isinstance(lines, list) and lines and isinstance(lines[0], dict) and 'gtboxes' in lines[0]:
        return _of_crowdhuman(lines, source)
    rows = content.get('annotations') if isinstance(content, dict) else None
    if isinstance(rows, list) and rows and all(isinstance(row, dict) and 'regions' in row for row in rows):
        raise InputError(
            f"{source}: is COCOA's original layout, with the 'regions' of an image in one annotation and without "
            "categories; give COCOA with COCO's categories, one instance an annotation with 'segmentation' and "
            "'visible_mask'."
        )
    return content


def _of_crowdhuman(lines: list[Any], source: str) -> dict[str, Any]:
    images, annotations = [], []
    for number, image in enumerate(lines, 1):
        try:
            size = {key: image[key] for key in ('height', 'width') if key in image}
            images.append({'id': image['ID'], 'file_name': f'{image["ID"]}.jpg'} | size)
            annotations += [
                {
                    'image_id': image['ID'],
                    'category_id': 1,
                    'bbox': person['fbox'],
                    'vis_bbox': person.get('vbox'),
                    'ignore': int(person['tag'] != 'person' or bool(person.get('extra', {}).get('ignore', 0))),
                }
                for person in image['gtboxes']
            ]
        except (KeyError, TypeError, AttributeError):
            raise InputError(
                f"{source}: image {number} is {show(image)}, without 'ID', and 'gtboxes' with 'tag' and 'fbox' as in "
                'CrowdHuman; give such a file, or COCO JSON.'
            ) from None
    return {'images': images, 'categories': [{'id': 1, 'name': 'person'}], 'annotations': annotations}
