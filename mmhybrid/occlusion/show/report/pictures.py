"""Pictures of single images: a photograph, and ground truth and detections as marks over it."""

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

WIDTH = 640  # of a picture, in its own units
PIXELS = 560  # of a photograph's width at most, which keeps 80 of them near 2 MB; a page shows them about as wide
QUALITY = {'WEBP': 40, 'JPEG': 50}  # by the first of them that Pillow can write
FONT_SIZE = 17  # of labels, in units of the picture: 10 pixels on a telephone
# What data sets consist of. Among Pillow's other formats are programs, which it has others run: PostScript.
FORMATS = ('JPEG', 'MPO', 'PNG', 'WEBP', 'TIFF', 'BMP', 'GIF', 'PPM', 'JPEG2000', 'AVIF')
# Over photographs, where no ground is known: bright, on a dark outline. The dashes tell kinds apart without colour.
OUTLINE = '#101418'
COLOURS = {
    'found': '#3ddc6c', 'missed': '#ff4d4d', 'true_positive': '#56b4e9', 'duplicate': '#f7e84a', 'confusion': '#ff9f1c',
    'partial': '#e9a6ff', 'background': '#ffffff',
}  # fmt: skip
DASHES = {'missed': '8 5', 'duplicate': '2 3', 'confusion': '12 4', 'partial': '10 3 2 3', 'background': '4 3'}
DT_KINDS = tuple(COLOURS)[2:]


class Shown(NamedTuple):
    """An instance of the ground truth or a detection, as drawn over an image."""

    box: np.ndarray  # x, y, width, height in pixels of the file
    name: str  # of its class
    kind: str  # of COLOURS: those after the first two are detections'
    score: float = 0.0
    mask: Mapping[str, Any] | None = None  # run lengths, filled in the kind's colour


class Mark(NamedTuple):
    """A frame over a picture and its label, in units of the picture."""

    kind: str
    frame: str  # data of an SVG path, as `mask` is
    label: str  # empty for instances that were found: their detections have one
    at: tuple[int, int] = (0, 0)  # where the label's base line starts
    has_room: bool = True  # whether the label covers no other
    mask: str = ''


class Picture(NamedTuple):
    """A photograph and the marks over it, back to front."""

    photo: bytes  # WebP, or JPEG where Pillow cannot write WebP
    size: tuple[int, int]  # width and height, in units of the picture
    marks: tuple[Mark, ...] = ()

    @property
    def mime_type(self) -> str:
        """Of the photograph."""
        return 'image/webp' if self.photo[:4] == b'RIFF' else 'image/jpeg'

    def frames(self, kind: str = '') -> str:
        """All frames, or those of one kind, as the data of an SVG path."""
        return ''.join(mark.frame for mark in self.marks if not kind or mark.kind == kind)


def draw_picture(path: str | PathLike[str], shown: Sequence[Shown]) -> Picture:
    """An image with ground truth and detections over it.

    Marks are apart from the photograph, so that a page can hold it once for several models, and show labels only when
    asked: they hide what is below. Labels say class, score and, if wrong, the kind. Their places are such that they
    cover no other label: of missed instances first, then of wrong detections, then of right ones, each by descending
    score; one for which no place is left has no ``has_room``. Instances that were found are behind all else, then come
    large boxes before small ones. Boxes refer to the file's pixels as they are stored, whatever orientation its EXIF
    data ask for.

    Returns:
        A picture 640 units wide, tall ones narrower and 960 high. Its photograph is no larger than the file.

    Raises:
        InputError: The file is no image, or a mask is not of its size.
    """
    image = _open(path)
    scale = min(WIDTH / image.width, 1.5 * WIDTH / image.height)
    size = max(round(scale * image.width), 1), max(round(scale * image.height), 1)
    # So that the label of what is missed or wrong, and of high score, finds a place first.
    by_worth = sorted(shown, key=lambda each: (each.kind != 'missed', each.kind == 'true_positive', -each.score))
    places, marks = _Places(size), []
    for each in by_worth:
        corners = _corners(each.box, scale, size)
        label = _label(each)
        at, has_room = places.find(label, corners) if label else ((0, 0), True)
        mask = '' if each.mask is None else _outline(each.mask, image.size, size, path)
        area = (corners[2] - corners[0]) * (corners[3] - corners[1])
        rank = each.kind != 'found', -area, each.score
        marks.append((rank, Mark(each.kind, _frame(corners), label, at, has_room, mask)))
    marks.sort(key=lambda mark: mark[0])
    return Picture(_encode(image), size, tuple(mark for _, mark in marks))


def _label(shown: Shown) -> str:
    if shown.kind == 'found':
        return ''
    if shown.kind == 'missed':
        return clean(f'missed: {shown.name}')
    # So that no one needs the colours.
    return clean(f'{shown.name} {shown.score:.2f}{"" if shown.kind == "true_positive" else " " + shown.kind}')


class _Places:
    """Where labels go: around the upper and lower edge of their boxes, without overlap."""

    def __init__(self, size: tuple[int, int]) -> None:
        from matplotlib import get_data_path
        from PIL import ImageFont

        self._size, self._taken = size, []
        # DejaVu Sans, which matplotlib brings along: what pages are shown in is hardly ever wider.
        self._font = ImageFont.truetype(str(Path(get_data_path(), 'fonts', 'ttf', 'DejaVuSans-Bold.ttf')), FONT_SIZE)

    def find(self, label: str, corners: Box) -> tuple[tuple[int, int], bool]:
        """Where the label's base line starts: the first free place and True, or else the usual one and False."""
        wide, high = self._font.getlength(label) + 6, FONT_SIZE + 4
        x0, y0, x1, y1 = corners
        places = []
        for x, y in [(x0, y0 - high), (x0, y0), (x1 - wide, y0), (x0, y1 - high), (x1 - wide, y1 - high), (x0, y1)]:
            x = min(max(x, 0), max(self._size[0] - wide, 0))
            y = min(max(y, 0), max(self._size[1] - high, 0))
            places.append((x, y, x + wide, y + high))
        free = next((place for place in places if not any(_meet(place, other) for other in self._taken)), None)
        if free is not None:
            self._taken.append(free)
        x, y, *_ = free or places[0]
        return (round(x + 3), round(y + FONT_SIZE)), free is not None


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _corners(box: np.ndarray, scale: float, size: tuple[int, int]) -> Box:
    """The box's corners, moved into the picture where they lie outside."""
    x, y, w, h = np.asarray(box, float) * scale
    return tuple(np.clip((x, y, x + w, y + h), 0, np.array(size * 2) - 1).tolist())


def _frame(corners: Box) -> str:
    x0, y0, x1, y1 = map(round, corners)
    return f'M{x0} {y0}H{x1}V{y1}H{x0}z'


def _open(path: str | PathLike[str]) -> Image.Image:
    from PIL import Image

    Image.init()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('error', Image.DecompressionBombWarning)
            with Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN]) as file:
                return file.convert('RGB')
    except Exception as error:  # decoders raise anything on broken files
        raise InputError(f'{Path(path)}: cannot be read as an image ({error}); give an image file.') from None


def _encode(image: Image.Image) -> bytes:
    from PIL import Image

    scale = min(PIXELS / image.width, 1.5 * PIXELS / image.height, 1)
    size = max(round(scale * image.width), 1), max(round(scale * image.height), 1)
    kind = next(kind for kind in QUALITY if kind in Image.SAVE)
    content = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(content, kind, quality=QUALITY[kind])
    return content.getvalue()


def _outline(
    mask: Mapping[str, Any], of_image: tuple[int, int], size: tuple[int, int], path: str | PathLike[str]
) -> str:
    """A mask's border as the data of an SVG path, to about a unit of the picture."""
    from contourpy import contour_generator  # which matplotlib stands on
    from PIL import Image
    from pycocotools import mask as mask_api

    # Before it is decoded: it is as large as it says.
    height, width = mask['size']
    if max(abs(width / of_image[0] * size[0] - size[0]), abs(height / of_image[1] * size[1] - size[1])) > 1:
        raise InputError(f'{Path(path)}: a mask has the shape {(height, width)}; give masks of the size of the image.')
    filled = Image.fromarray(mask_api.decode(dict(mask)) * np.uint8(255)).resize(size, Image.Resampling.BILINEAR)
    # A margin, for borders to close at the picture's edge; pixels are where their middle is.
    values = np.pad(np.asarray(filled, float), 1)
    data = []
    for line in contour_generator(z=values).lines(127.5):
        points = _simplified(line[:-1] - 0.5).clip(0, size).round().astype(int)
        steps = np.diff(points, axis=0)
        steps = steps[steps.any(axis=1)].tolist()
        if len(steps) > 1:
            # Relative, and without the blanks that a minus sign stands for: half as long.
            steps = ' '.join(f'{x} {y}' for x, y in steps).replace(' -', '-')
            data.append(f'M{points[0, 0]} {points[0, 1]}l{steps}z')
    return ''.join(data)


def _simplified(points: np.ndarray) -> np.ndarray:
    """Those of the points ``(n, 2)`` of a line that keep it within 1 of where it was (Douglas and Peucker, 1973)."""
    kept, parts = {0, len(points) - 1}, [(0, len(points) - 1)]
    while parts:
        first, last = parts.pop()
        (dx, dy), (x, y) = points[last] - points[first], (points[first + 1 : last] - points[first]).T
        off = abs(dx * y - dy * x) / np.hypot(dx, dy) if dx or dy else np.hypot(x, y)
        if off.size and off.max() > 1:
            at = first + 1 + int(off.argmax())
            kept.add(at)
            parts += [(first, at), (at, last)]
    return points[sorted(kept)]
