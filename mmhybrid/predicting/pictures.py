"""Which pictures and videos the words on a command line stand for, and what each is called in the output."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from mmcv import VideoReader
from PIL import Image

from mmhybrid.errors import InputError
from mmhybrid.paths import expanded

# What is taken from a folder; of a file that is named itself, its content decides.
IMAGES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')
_ORIENTATION = 0x0112  # of EXIF; from 5 on the sides change places
VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg')


@dataclass(frozen=True)
class Source:
    """A picture or a video.

    Attributes:
        path: The file.
        given: Its path within the folder that was given, or its file's name.
        name: What it is called where it is drawn: the same, unless another has this name.
    """

    path: Path
    given: str
    name: str

    @property
    def is_video(self) -> bool:
        """Whether the file's name is a video's."""
        return self.path.suffix.lower() in VIDEOS


@dataclass(frozen=True)
class Picture:
    """What the detector is given: a picture's path, or a frame.

    Attributes:
        source: Where it is from.
        name: The source's, or of a frame ``VIDEO/000012.jpg``, counted from 0; so is what was given.
        image: Path of the picture, or a frame's pixels, BGR.
        frame: The frame's number in its video.
    """

    source: Source
    name: str
    image: str | np.ndarray
    frame: int | None = None

    @property
    def given(self) -> str:
        """Its path within the folder that was given, a frame's if its video were a folder."""
        return self.source.given if self.frame is None else frame_name(self.source.given, self.frame)

    @property
    def place(self) -> Path:
        """The file, or where a frame would be if its video were a folder."""
        return self.source.path if self.frame is None else Path(frame_name(self.source.path, self.frame))


def frame_name(video: str | Path, number: int) -> str:
    """``VIDEO/000012.jpg``."""
    return f'{Path(video).with_suffix("").as_posix()}/{number:06d}.jpg'


def size_of(path: Path) -> tuple[int, int] | None:
    """Width and height of a picture as it is seen, from the beginning of its file; None if Pillow does not know it."""
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(_ORIENTATION, 1) >= 5
            return image.size[::-1] if turned else image.size
    except Exception:  # what cannot be read is told where it is read
        return None


def find(words: Sequence[str], drawn: Path | None = None, left_out: list[str] | None = None) -> list[Source]:
    """Find the pictures and videos that were named.

    Args:
        words: Files, folders (with those below them) and patterns such as ``'photos/*.jpg'``.
        drawn: A folder that is written to, whose files are not taken.
        left_out: Gets a sentence about what was named and not taken.

    Returns:
        Each file once, in the order of the words and, within one, of names; names are unique.

    Raises:
        InputError: If a word stands for nothing.
    """
    found: dict[str, Source] = {}
    twice = ours = 0
    for word in words:
        if not word.strip():
            raise InputError('An empty word is among IMAGES; give pictures, folders or videos, "." for this folder.')
        path = expanded(word)
        if path.is_dir():
            files = [(file, file.relative_to(path).as_posix()) for file in _files(path)]
        elif path.exists():
            files = [(path, path.name)]
        else:
            files = [(Path(file), Path(file).name) for file in _matching(str(path))]
        if not files:
            what = 'holds no pictures' if path.is_dir() else 'is no file, folder or pattern of files that are there'
            raise InputError(f'{word} {what} (from {Path.cwd()}); give pictures, a folder of them, or a video.')
        for file, name in files:
            # Links are files of their own: somebody gave them names.
            place = os.path.abspath(file)  # noqa: PTH100 (without .. too)
            if drawn is not None and Path(place).is_relative_to(os.path.abspath(drawn)):  # noqa: PTH100
                ours += 1
            elif place in found:
                twice += 1
            else:
                found[place] = Source(file, name, name)
    if ours and not found:
        raise InputError(f'All pictures that were named are in {drawn}, which is written to; choose another --out-dir.')
    for number, why in ((ours, f'are in {drawn}, which is written to'), (twice, 'were named before')):
        if number and left_out is not None:
            left_out.append(f'files left out, since they {why}: {number}')
    return _with_unique_names(list(found.values()))


def _matching(pattern: str) -> list[str]:
    # Path.glob takes no absolute patterns.
    return sorted(file for file in glob.glob(pattern, recursive=True) if Path(file).is_file())  # noqa: PTH207


def _files(folder: Path) -> list[Path]:
    inside = (file for file in folder.rglob('*') if file.suffix.lower() in IMAGES + VIDEOS)
    return sorted(
        file for file in inside if file.is_file() and not any(p.startswith('.') for p in file.relative_to(folder).parts)
    )


def _with_unique_names(sources: list[Source]) -> list[Source]:
    # Pictures of two folders may be called the same, and what is drawn of one must not overwrite the other's. Names are
    # compared without their endings, since some are drawn as PNG; a video's frames have its name as their folder, in
    # which there must be nothing else. Who has a name to himself keeps it.
    folders = {folder for source in sources for folder in Path(source.given).parents}
    names: dict[int, Path] = {}
    taken: set[Path] = set()

    def take(i: int, name: Path) -> bool:
        stem = name.with_suffix('')
        if stem in taken or (sources[i].is_video and stem in folders):
            return False
        taken.add(stem)
        names[i] = name
        return True

    changed = [i for i, source in enumerate(sources) if not take(i, Path(source.given))]
    for i in changed:
        name, count = Path(sources[i].given), 2
        while not take(i, name.with_stem(f'{name.stem}_{count}')):
            count += 1
    return [replace(source, name=names[i].as_posix()) for i, source in enumerate(sources)]


class Frames:
    """Every n-th frame of a video.

    Args:
        source: The video.
        every: n.

    Raises:
        InputError: If it cannot be read.
    """

    def __init__(self, source: Source, every: int):
        self._source, self._every = source, every
        self._reader = VideoReader(str(source.path))
        if not self._reader.opened or self._reader.frame_cnt < 1:
            raise InputError(f'The video {source.path} cannot be read (it is not a video, or damaged).')
        self.fps = (self._reader.fps or 25) / every
        self.size = (self._reader.width, self._reader.height)

    def __len__(self) -> int:
        """How many there are, as the file says."""
        return -(-self._reader.frame_cnt // self._every)

    def places(self) -> Iterator[Path]:
        """Where they would be if the video were a folder, without reading them."""
        for number in range(0, self._reader.frame_cnt, self._every):
            yield Path(frame_name(self._source.path, number))

    def __iter__(self) -> Iterator[Picture]:
        """Yield them.

        Raises:
            InputError: At the first that cannot be read, though the file says that it is there.
        """
        for number in range(self._reader.frame_cnt):
            frame = self._reader.read()  # decoding is sequential: seeking would not be quicker, nor exact
            if frame is None:
                raise InputError(f'The video {self._source.path} cannot be read from frame {number} on.')
            if number % self._every == 0:
                yield Picture(self._source, frame_name(self._source.name, number), frame, number)
