"""Pictures of single images: ground truth and detections drawn over them."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import clean

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

Box = tuple[float, float, float, float]

WIDTH = 640
QUALITY = 70
MAX_ZOOM = 2.0
MASK_OPACITY = 0.35
# What data sets consist of. Among Pillow's other formats are programs, which it has others run: PostScript.
FORMATS = ('JPEG', 'MPO', 'PNG', 'WEBP', 'TIFF', 'BMP', 'GIF', 'PPM', 'JPEG2000', 'AVIF')
# Over photographs, where no ground is known: bright, on a dark outline.
OUTLINE = '#101418'
COLOURS = {
    'found': '#3ddc6c', 'missed': '#ff4d4d', 'true_positive': '#56b4e9', 'duplicate': '#f7e84a', 'confusion': '#ff9f1c',
    'partial': '#e9a6ff', 'background': '#ffffff',
}  # fmt: skip
DT_KINDS = tuple(COLOURS)[2:]


@dataclass(frozen=True)
class GalleryImage:
    """One image of the gallery.

    Attributes:
        image_id: Its id in the ground truth.
        file_name: Its name in the ground truth.
        cost: AP of the stratum without the image less AP with it; a fraction like AP itself.
        picture: JPEG, e.g. of :func:`draw_gallery_image`; None if the image is not at hand.
        counts: What to say below the picture, in order: ``{'instances': 12, 'missed': 3}``.
        outside: Where its file would be, if that is outside of the images' folder, so that it was not opened.
    """

    image_id: int | str
    file_name: str
    cost: float
    picture: bytes | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    outside: str = ''


@dataclass(frozen=True)
class GalleryGroup:
    """The images shown for one stratum.

    Attributes:
        stratum: The stratum's name.
        images: In the order to show them.
        model: Whose detections; needed in a report on several models.
        iou_type: How they were matched; needed in a report on several IoU types.
    """

    stratum: str
    images: Sequence[GalleryImage]
    model: str = ''
    iou_type: str = ''


def draw_gallery_image(
    path: str | PathLike[str],
    gt_boxes: np.ndarray,
    gt_labels: Sequence[str],
    dt_boxes: np.ndarray,
    dt_labels: Sequence[str],
    dt_scores: Sequence[float],
    dt_kinds: Sequence[str],
    gt_missed: Sequence[bool],
    masks: Sequence[Mapping[str, Any]] | None = None,
    width: int = WIDTH,
) -> bytes:
    """Draw ground truth and detections over an image.

    Ground truth that was found is a thin solid green frame, missed ground truth a dashed red one with its label.
    Detections are frames in the colour of their kind, labelled with class, score and, if wrong, the kind. Labels are
    placed where they cover no other label: missed instances first, then wrong detections, then right ones, each by
    descending score; one for which no place is left is not drawn.

    Args:
        path: An image file; boxes refer to its pixels as they are stored, whatever orientation its EXIF data ask for.
        gt_boxes: ``(m, 4)`` as ``x, y, width, height`` in pixels of the file.
        gt_labels: m class names.
        dt_boxes: ``(n, 4)``, likewise.
        dt_labels: n class names.
        dt_scores: n scores.
        dt_kinds: n of ``DT_KINDS``.
        gt_missed: m flags: no detection took the instance.
        masks: n masks of the detections, COCO's run-length encodings, filled in the kind's colour. None draws frames
            only.
        width: Of the picture in pixels; smaller images are enlarged by 2 at most, tall ones kept below ``1.5 width``.

    Returns:
        A JPEG file's bytes.

    Raises:
        InputError: The file is no image, or lengths, shapes or kinds do not fit.
    """
    gt_boxes, dt_boxes = _boxes(gt_boxes, 'gt_boxes'), _boxes(dt_boxes, 'dt_boxes')
    _check_lengths(len(gt_boxes), gt_labels=gt_labels, gt_missed=gt_missed)
    _check_lengths(len(dt_boxes), dt_labels=dt_labels, dt_scores=dt_scores, dt_kinds=dt_kinds)
    if masks is not None:
        _check_lengths(len(dt_boxes), masks=masks)
    unknown = sorted(set(dt_kinds) - set(DT_KINDS))
    if unknown:
        raise InputError(f'dt_kinds holds {unknown[0]!r}; choose from {", ".join(DT_KINDS)}.')
    image, scale = _open(path, width)
    # Ascending, so that what scores highest, and what is wrong, ends on top.
    order = sorted(range(len(dt_boxes)), key=lambda i: (dt_kinds[i] != 'true_positive', dt_scores[i]))
    if masks is not None:
        for i in order:
            image = _fill(image, masks[i], COLOURS[dt_kinds[i]], path, scale)
    canvas = _Canvas(image)
    # Back to front: a detection that fits well must not hide that its instance was there, so it is drawn inside.
    for box, is_missed in zip(gt_boxes * scale, gt_missed, strict=True):
        canvas.frame(box, COLOURS['missed' if is_missed else 'found'], 3 if is_missed else 5, bool(is_missed))
    for i in order:
        canvas.frame(dt_boxes[i] * scale, COLOURS[dt_kinds[i]], 2)
    for box, label, is_missed in zip(gt_boxes * scale, gt_labels, gt_missed, strict=True):
        if is_missed:
            canvas.label(box, f'missed: {label}', COLOURS['missed'])
    for i in reversed(order):
        # So that no one needs the colours.
        kind = '' if dt_kinds[i] == 'true_positive' else f' {dt_kinds[i]}'
        canvas.label(dt_boxes[i] * scale, f'{dt_labels[i]} {dt_scores[i]:.2f}{kind}', COLOURS[dt_kinds[i]])
    buffer = io.BytesIO()
    # Thin lines keep their colours only where colour has the full resolution.
    image.save(buffer, 'JPEG', quality=QUALITY, subsampling=0, optimize=True)
    return buffer.getvalue()


class _Canvas:
    """Frames and labels on an image, labels without overlap."""

    def __init__(self, image: Image.Image) -> None:
        from PIL import ImageDraw

        self._size = image.size
        self._draw: ImageDraw.ImageDraw = ImageDraw.Draw(image)
        self._font = _font(13)
        self._taken: list[Box] = []

    def frame(self, box: np.ndarray, colour: str, thickness: int, is_dashed: bool = False) -> None:
        """A frame, with a dark outline to stand out from any ground."""
        x0, y0, x1, y1 = _corners(box, self._size)
        edges = [(x0, y0, x1, y0), (x1, y0, x1, y1), (x1, y1, x0, y1), (x0, y1, x0, y0)]
        for paint, wide in ((OUTLINE, thickness + 2), (colour, thickness)):
            for edge in edges:
                for piece in _dashes(edge) if is_dashed and paint == colour else [edge]:
                    self._draw.line(piece, fill=paint, width=wide)

    def label(self, box: np.ndarray, words: str, colour: str) -> None:
        """A label at the first free place around the box's upper and lower edge."""
        words = clean(words)  # libraries for text layout fail on control characters
        left, top, right, bottom = self._draw.textbbox((0, 0), words, font=self._font)
        wide, high = right - left + 6, bottom - top + 5
        x0, y0, x1, y1 = _corners(box, self._size)
        for x, y in [(x0, y0 - high), (x0, y0), (x1 - wide, y0), (x0, y1 - high), (x1 - wide, y1 - high), (x0, y1)]:
            x = min(max(x, 0), max(self._size[0] - wide, 0))
            place = (x, y, x + wide, y + high)
            if y >= 0 and place[3] <= self._size[1] and not any(_overlap(place, other) for other in self._taken):
                self._taken.append(place)
                self._draw.rectangle(place, fill=colour, outline=OUTLINE)
                self._draw.text((x + 3 - left, y + 2.5 - top), words, fill='#000000', font=self._font)
                return


def _open(path: str | PathLike[str], width: int) -> tuple[Image.Image, float]:
    from PIL import Image

    Image.init()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('error', Image.DecompressionBombWarning)
            with Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN]) as file:
                image = file.convert('RGB')
    except Exception as error:  # decoders raise anything on broken files
        raise InputError(f'{Path(path)}: cannot be read as an image ({error}); give an image file.') from None
    scale = min(width / image.width, 1.5 * width / image.height, MAX_ZOOM)
    size = max(round(scale * image.width), 1), max(round(scale * image.height), 1)
    return image.resize(size, Image.Resampling.LANCZOS), scale


def _fill(
    image: Image.Image, mask: Mapping[str, Any], colour: str, path: str | PathLike[str], scale: float
) -> Image.Image:
    from PIL import Image
    from pycocotools import mask as mask_api

    height, width = mask['size']
    if (
        abs(width * scale - image.width) > 1 or abs(height * scale - image.height) > 1
    ):  # before it is as large as it says
        raise InputError(f'{Path(path)}: a mask has the shape {(height, width)}; give masks of the size of the image.')
    opacity = Image.fromarray(mask_api.decode(dict(mask)) * np.uint8(255 * MASK_OPACITY))
    return Image.composite(
        Image.new('RGB', image.size, colour), image, opacity.resize(image.size, Image.Resampling.BILINEAR)
    )


def _corners(box: np.ndarray, size: tuple[int, int]) -> Box:
    """The box's corners, moved onto the canvas where they lie outside."""
    x, y, w, h = box.tolist()
    return tuple(
        min(max(at, 0), end - 1) for at, end in ((x, size[0]), (y, size[1]), (x + w, size[0]), (y + h, size[1]))
    )


def _dashes(edge: Box, on: float = 8, off: float = 6) -> list[Box]:
    x0, y0, x1, y1 = edge
    length = math.hypot(x1 - x0, y1 - y0)
    if length == 0:
        return [edge]
    dx, dy = (x1 - x0) / length, (y1 - y0) / length
    starts = np.arange(0, length, on + off).tolist()
    return [(x0 + dx * s, y0 + dy * s, x0 + dx * min(s + on, length), y0 + dy * min(s + on, length)) for s in starts]


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along: class names may need more than ASCII."""
    from matplotlib import get_data_path
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(get_data_path(), 'fonts', 'ttf', 'DejaVuSans.ttf')), size)


def _boxes(boxes: np.ndarray, name: str) -> np.ndarray:
    boxes = np.asarray(boxes, dtype=np.float64)
    boxes = boxes.reshape(0, 4) if boxes.size == 0 else boxes
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
        raise InputError(f'{name} has the shape {boxes.shape} or is not finite; give (n, 4) x, y, width, height.')
    return boxes


def _check_lengths(expected: int, **values: Sequence[Any]) -> None:
    for name, value in values.items():
        if len(value) != expected:
            raise InputError(f'{name} has {len(value)} entries for {expected} boxes; give one a box.')
