"""Pictures of single images: ground truth and detections drawn over them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import clean

if TYPE_CHECKING:
    from PIL import Image

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


class Shown(NamedTuple):
    """An instance of the ground truth or a detection, as drawn over an image."""

    box: np.ndarray  # x, y, width, height in pixels of the file
    name: str  # of its class
    kind: str  # of COLOURS: those after the first two are detections'
    score: float = 0.0
    mask: Mapping[str, Any] | None = None  # run lengths, filled in the kind's colour


def draw_gallery_image(path: str | PathLike[str], shown: Sequence[Shown]) -> bytes:
    """Draw ground truth and detections over an image.

    Ground truth that was found is a thin solid green frame, missed ground truth a dashed red one with its label.
    Detections are frames in the colour of their kind, labelled with class, score and, if wrong, the kind. Labels are
    placed where they cover no other label: missed instances first, then wrong detections, then right ones, each by
    descending score; one for which no place is left is not drawn. Boxes refer to the file's pixels as they are stored,
    whatever orientation its EXIF data ask for.

    Returns:
        A JPEG file's bytes, 640 pixels wide; small images are enlarged by 2 at most, tall ones kept below 960.

    Raises:
        InputError: The file is no image, or a mask is not of its size.
    """
    image, scale = _open(path)
    truths = [each for each in shown if each.kind not in DT_KINDS]
    detections = [each for each in shown if each.kind in DT_KINDS]
    # Ascending, so that what scores highest, and what is wrong, ends on top.
    detections.sort(key=lambda each: (each.kind != 'true_positive', each.score))
    for each in detections:
        if each.mask is not None:
            image = _fill(image, each.mask, COLOURS[each.kind], path, scale)
    canvas = _Canvas(image, scale)
    # Back to front: a detection that fits well must not hide that its instance was there, so it is drawn inside.
    for each in truths:
        canvas.frame(each, 3 if each.kind == 'missed' else 5)
    for each in detections:
        canvas.frame(each, 2)
    for each in truths:
        if each.kind == 'missed':
            canvas.label(each, f'missed: {each.name}')
    for each in reversed(detections):
        # So that no one needs the colours.
        kind = '' if each.kind == 'true_positive' else f' {each.kind}'
        canvas.label(each, f'{each.name} {each.score:.2f}{kind}')
    content = io.BytesIO()
    # Thin lines keep their colours only where colour has the full resolution.
    image.save(content, 'JPEG', quality=QUALITY, subsampling=0, optimize=True)
    return content.getvalue()


class _Canvas:
    """Frames and labels on an image, labels without overlap."""

    def __init__(self, image: Image.Image, scale: float) -> None:
        from matplotlib import get_data_path
        from PIL import ImageDraw, ImageFont

        self._size, self._scale = image.size, scale
        self._draw = ImageDraw.Draw(image)
        # DejaVu Sans, which matplotlib brings along: class names may need more than ASCII.
        self._font = ImageFont.truetype(str(Path(get_data_path(), 'fonts', 'ttf', 'DejaVuSans.ttf')), 13)
        self._taken: list[Box] = []

    def frame(self, shown: Shown, thickness: int) -> None:
        """A frame, with a dark outline to stand out from any ground; dashed for what was missed."""
        x0, y0, x1, y1 = self._corners(shown)
        edges = [(x0, y0, x1, y0), (x1, y0, x1, y1), (x1, y1, x0, y1), (x0, y1, x0, y0)]
        pieces = [dash for edge in edges for dash in _dashes(edge)] if shown.kind == 'missed' else edges
        for edge in edges:
            self._draw.line(edge, fill=OUTLINE, width=thickness + 2)
        for piece in pieces:
            self._draw.line(piece, fill=COLOURS[shown.kind], width=thickness)

    def label(self, shown: Shown, words: str) -> None:
        """A label at the first free place around the box's upper and lower edge."""
        words = clean(words)  # libraries for text layout fail on control characters
        left, top, right, bottom = self._draw.textbbox((0, 0), words, font=self._font)
        taken, wide, high = self._taken, right - left + 6, bottom - top + 5
        x0, y0, x1, y1 = self._corners(shown)
        for x, y in [(x0, y0 - high), (x0, y0), (x1 - wide, y0), (x0, y1 - high), (x1 - wide, y1 - high), (x0, y1)]:
            x = min(max(x, 0), max(self._size[0] - wide, 0))
            place = (x, y, x + wide, y + high)
            is_free = all(a[0] >= place[2] or place[0] >= a[2] or a[1] >= place[3] or place[1] >= a[3] for a in taken)
            if is_free and y >= 0 and place[3] <= self._size[1]:
                taken.append(place)
                self._draw.rectangle(place, fill=COLOURS[shown.kind], outline=OUTLINE)
                self._draw.text((x + 3 - left, y + 2.5 - top), words, fill='#000000', font=self._font)
                return

    def _corners(self, shown: Shown) -> Box:
        """The box's corners, moved onto the canvas where they lie outside."""
        x, y, w, h = np.asarray(shown.box, float) * self._scale
        return tuple(np.clip((x, y, x + w, y + h), 0, np.array(self._size * 2) - 1).tolist())


def _open(path: str | PathLike[str]) -> tuple[Image.Image, float]:
    from PIL import Image

    Image.init()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('error', Image.DecompressionBombWarning)
            with Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN]) as file:
                image = file.convert('RGB')
    except Exception as error:  # decoders raise anything on broken files
        raise InputError(f'{Path(path)}: cannot be read as an image ({error}); give an image file.') from None
    scale = min(WIDTH / image.width, 1.5 * WIDTH / image.height, MAX_ZOOM)
    size = max(round(scale * image.width), 1), max(round(scale * image.height), 1)
    return image.resize(size, Image.Resampling.LANCZOS), scale


def _fill(
    image: Image.Image, mask: Mapping[str, Any], colour: str, path: str | PathLike[str], scale: float
) -> Image.Image:
    from PIL import Image
    from pycocotools import mask as mask_api

    height, width = mask['size']
    # Before it is decoded: it is as large as it says.
    if abs(width * scale - image.width) > 1 or abs(height * scale - image.height) > 1:
        raise InputError(f'{Path(path)}: a mask has the shape {(height, width)}; give masks of the size of the image.')
    opacity = Image.fromarray(mask_api.decode(dict(mask)) * np.uint8(255 * MASK_OPACITY))
    opacity = opacity.resize(image.size, Image.Resampling.BILINEAR)
    return Image.composite(Image.new('RGB', image.size, colour), image, opacity)


def _dashes(edge: Box, on: float = 8, off: float = 6) -> list[Box]:
    ends = np.array(edge).reshape(2, 2)
    length = np.linalg.norm(ends[1] - ends[0])
    starts = np.arange(0, length, on + off)
    parts = np.stack([starts, np.minimum(starts + on, length)], 1)[..., None] / length
    return [tuple(dash) for dash in (ends[0] + parts * (ends[1] - ends[0])).reshape(-1, 4).tolist()]
