"""Checks on image files: there, whole, and of the size that the annotations say.

Images are read as MMDetection's ``LoadImageFromFile`` does by default, by OpenCV as 8-bit colour: it turns an image by
its EXIF orientation. Pillow reads them here, since it notices what OpenCV passes over, such as an end that is missing.
"""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from mmhybrid.text import clean

from .contents import Contents, name_image
from .findings import Finding, found

KINDS = ('file-missing', 'file-broken', 'file-size', 'file-orientation', 'file-turned', 'file-mode')
_ORIENTATION = 274  # EXIF's tag
_TURNED = {
    2: 'mirrored', 3: 'turned by 180 degrees', 4: 'mirrored upside down', 5: 'mirrored and turned by 90 degrees',
    6: 'turned by 90 degrees', 7: 'mirrored and turned by 90 degrees', 8: 'turned by 270 degrees',
}  # fmt: skip
_SWAPS = 5  # from this orientation on, width and height change places
_MODES = {
    '1': 'black and white', 'L': 'grey', 'LA': 'grey with transparency', 'La': 'grey with transparency',
    'RGBA': 'with transparency', 'RGBa': 'with transparency', 'PA': 'with transparency', 'CMYK': 'CMYK',
    'YCbCr': 'YCbCr', 'LAB': 'Lab', 'HSV': 'HSV', 'I': '32 or 16 bits', 'I;16': '16 bits', 'I;16B': '16 bits',
    'I;16L': '16 bits', 'I;16N': '16 bits', 'F': 'floating point',
}  # fmt: skip
Fault = tuple[str, str]


def sample(count: int, wanted: int | None) -> list[int]:
    """Indices of ``wanted`` of ``count`` images, evenly spread; of all with None."""
    if wanted is None or wanted >= count:
        return list(range(count))
    return np.linspace(0, count - 1, wanted).round().astype(int).tolist()


def check_images(
    contents: Contents, folder: Path, chosen: Sequence[int], workers: int, report: Callable[[int], None]
) -> list[Finding]:
    """Open image files.

    Args:
        contents: The annotation file.
        folder: What its ``file_name`` are relative to.
        chosen: Indices of the images to open.
        workers: Threads; Pillow decodes without Python's lock.
        report: Is told how many more are done.
    """
    faults: dict[str, list[str]] = {kind: [] for kind in KINDS}
    rows, sizes = contents.image_rows, contents.sizes
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # Pillow's, of large images and odd metadata: set once for all threads
        pool = ThreadPoolExecutor(max(workers, 1))
        try:
            looked = pool.map(lambda i: look(os.path.join(folder, rows[i]['file_name']), *sizes[i]), chosen)  # noqa: PTH118
            for i, found_here in zip(chosen, looked, strict=True):
                for kind, detail in found_here:
                    faults[kind].append(f'{name_image(rows[i])} {clean(detail)}'.strip())
                report(1)
        finally:
            pool.shutdown(cancel_futures=True)
    hints = {}
    if len(chosen) > 1 and len(faults['file-missing']) == len(chosen):
        hints['file-missing'] = f'is {clean(str(folder))} the folder that the file names are relative to?'
    return [each for kind in KINDS for each in found(kind, faults[kind], hint=hints.get(kind, ''))]


def look(path: str, width: float, height: float) -> list[Fault]:
    """Open one image.

    Args:
        path: The file.
        width: As annotated, in pixels.
        height: Likewise.

    Returns:
        Kind and detail of what is wrong with it.
    """
    from PIL import Image

    try:
        kind = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError) as error:  # a name may hold what no path can
        return [('file-missing', '' if isinstance(error, FileNotFoundError) else _short(error))]
    if not stat.S_ISREG(kind.st_mode):
        return [('file-missing', 'is no file')]
    if not kind.st_size:
        return [('file-broken', 'is empty')]
    try:
        with Image.open(path) as image:
            form, mode, size = image.format, image.mode, image.size
            transparent = 'transparency' in image.info
            orientation = image.getexif().get(_ORIENTATION, 1)
            if form in ('JPEG', 'MPO'):
                image.draft(None, (1, 1))  # an eighth of the size: all of the file is read in a third of the time
            image.load()
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads them to
        return [('file-broken', _short(error))]
    faults = _size_faults(form, size, orientation, (width, height))
    word = _MODES.get(mode, '') or ('with transparency' if transparent else '')
    return faults + ([('file-mode', word)] if word else [])


def _size_faults(form: str, size: tuple[int, int], orientation: int, annotated: tuple[float, float]) -> list[Fault]:
    # OpenCV turns these; Pillow has turned a TIFF by now, and others stay as they are.
    turned = _TURNED.get(orientation, '') if form in ('JPEG', 'MPO', 'PNG') else ''
    read = size[::-1] if turned and orientation >= _SWAPS else size
    stored = f'{size[0]} x {size[1]}'
    note = f'{stored}, {turned}, annotated as {annotated[0]:g} x {annotated[1]:g}'
    if read != annotated:
        if turned and size == annotated:
            return [('file-orientation', note)]
        return [('file-size', note if turned else f'{stored}, annotated as {annotated[0]:g} x {annotated[1]:g}')]
    if turned and (orientation < _SWAPS or size[0] == size[1]):  # else the size shows that they knew
        return [('file-turned', turned)]
    return []


def _short(error: Exception) -> str:
    text = clean(str(error)) or type(error).__name__
    return text if len(text) <= 80 else f'{text[:77]}...'
