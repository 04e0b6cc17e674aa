"""Pictures and videos with boxes and masks on them, by MMDetection's visualizer."""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import mmcv
import numpy as np
from mmdet.structures import DetDataSample
from mmengine import fileio
from mmengine.visualization import Visualizer

from mmhybrid.errors import InputError

from .pictures import Picture

# Written as they are; other formats become PNG.
_KEPT = ('.jpg', '.jpeg', '.png')


class Drawing:
    """Draws into a folder.

    Args:
        visualizer: MMDetection's.
        folder: Where the drawn pictures go, under their names.
        score_thr: Detections with a lower score are not drawn.
        frames: Write a video's frames as pictures instead of a video.
    """

    def __init__(self, visualizer: Visualizer, folder: Path, score_thr: float, frames: bool = False):
        self._visualizer, self._folder, self._score_thr, self._frames = visualizer, folder, score_thr, frames
        self._video: tuple[Path, cv2.VideoWriter] | None = None

    def draw(self, picture: Picture, sample: DetDataSample, fps: float | None) -> Path:
        """Draw what was found on a picture.

        Args:
            picture: A picture or frame.
            sample: What was found.
            fps: Frames a second of the video that is written.

        Returns:
            The file.
        """
        image = picture.image
        if isinstance(image, str):
            # As MMDetection's inferencer reads for drawing: turned as the file's EXIF orientation says.
            image = mmcv.imfrombytes(fileio.get(image))
        with warnings.catch_warnings():
            # A box may end at the border, or rounding put it there.
            warnings.filterwarnings('ignore', message='.*out of bounds', category=UserWarning)
            self._visualizer.add_datasample(
                picture.name, image[:, :, ::-1], sample, draw_gt=False, pred_score_thr=self._score_thr
            )
        drawn = np.ascontiguousarray(self._visualizer.get_image()[:, :, ::-1])
        if picture.frame is not None and not self._frames:
            return self._append(picture, drawn, fps or 25.0)
        path = self._folder / picture.name
        path = path if path.suffix.lower() in _KEPT else path.with_suffix('.png')
        if not mmcv.imwrite(drawn, str(path)):
            raise InputError(f'{path} cannot be written; choose another --out-dir.')
        return path

    def _append(self, picture: Picture, drawn: np.ndarray, fps: float) -> Path:
        path = self._folder / Path(picture.source.name).with_suffix('.mp4')
        if self._video is None or self._video[0] != path:
            self.close()
            path.parent.mkdir(parents=True, exist_ok=True)
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), fps, drawn.shape[1::-1])
            if not writer.isOpened():
                raise InputError(f'{path} cannot be written as a video; --frames writes its frames as pictures.')
            self._video = path, writer
        self._video[1].write(drawn)
        return path

    def close(self) -> None:
        """End the video that is being written."""
        if self._video is not None:
            self._video[1].release()
            self._video = None
