"""Which pictures and videos the words on a command line stand for, and what each is called in the output."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from mmcv import VideoReader

from mmhybrid.errors import InputError

# What is taken from a folder; of a file that is named itself, its content decides.
IMAGES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')
VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg')


@dataclass(frozen=True)
class Source:
    """A picture or a video.

    Attributes:
        path: The file.
        name: What it is called in the output: its path within the folder that was given, or its file's name.
    """

    path: Path
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
        name: The source's, or of a frame ``VIDEO/000012.jpg``, counted from 0.
        image: Path of the picture, or a frame's pixels, BGR.
        frame: The frame's number in its video.
    """

    source: Source
    name: str
    image: str | np.ndarray
    frame: int | None = None

    @property
    def place(self) -> Path:
        """The file, or where a frame would be if its video were a folder."""
        return self.source.path if self.frame is None else self.source.path.parent / self.name


def find(words: Sequence[str]) -> list[Source]:
    """Find the pictures and videos that were named.

    Args:
        words: Files, folders (with those below them) and patterns such as ``'photos/*.jpg'``.

    Returns:
        Each file once, in the order of the words and, within one, of names; names are unique.

    Raises:
        InputError: If a word stands for nothing.
    """
    found: dict[Path, Source] = {}
    for word in words:
        path = Path(word).expanduser()
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
            found.setdefault(file.resolve(), Source(file, name))
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
    # compared without their endings, since some are drawn as PNG and a video's frames have its name as their folder.
    taken: set[Path] = set()
    result = []
    for source in sources:
        name, count = Path(source.name), 1
        while name.with_suffix('') in taken:
            count += 1
            name = name.with_stem(f'{Path(source.name).stem}_{count}')
        taken.add(name.with_suffix(''))
        result.append(replace(source, name=name.as_posix()))
    return result


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

    def __len__(self) -> int:
        """How many there are, as the file says."""
        return -(-self._reader.frame_cnt // self._every)

    def __iter__(self) -> Iterator[Picture]:
        """Yield them.

        Raises:
            InputError: At the first that cannot be read, though the file says that it is there.
        """
        folder = Path(self._source.name).with_suffix('')
        for number in range(self._reader.frame_cnt):
            frame = self._reader.read()  # decoding is sequential: seeking would not be quicker, nor exact
            if frame is None:
                raise InputError(f'The video {self._source.path} cannot be read from frame {number} on.')
            if number % self._every == 0:
                yield Picture(self._source, f'{folder.as_posix()}/{number:06d}.jpg', frame, number)
