import re

import cv2
import numpy as np
import pytest

from mmhybrid.errors import InputError
from mmhybrid.predicting.pictures import Frames, Picture, Source, find


@pytest.fixture
def folder(tmp_path):
    for name in ('b.jpg', 'a.PNG', 'sub/b.jpg', 'sub/b.png', 'sub/.hidden.jpg', '.git/x.jpg', 'notes.txt', 'clip.mp4'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(*words):
    return [source.name for source in find([str(word) for word in words])]


def test_a_folder_stands_for_the_pictures_and_videos_in_it_and_below(folder):
    assert names(folder) == ['a.PNG', 'b.jpg', 'clip.mp4', 'sub/b.jpg', 'sub/b_2.png']


def test_patterns_and_files_in_the_order_of_the_words_and_each_once(folder):
    assert names(folder / 'clip.mp4', folder / '**' / 'b.*', folder / 'b.jpg') == [
        'clip.mp4',
        'b.jpg',
        'b_2.jpg',
        'b_3.png',
    ]


def test_a_named_file_is_taken_whatever_it_is_called(folder):
    assert names(folder / 'notes.txt') == ['notes.txt']


def test_a_file_with_brackets_in_its_name_is_no_pattern(tmp_path):
    (tmp_path / 'a[1].jpg').touch()
    assert names(tmp_path / 'a[1].jpg') == ['a[1].jpg']


@pytest.mark.parametrize('word', ['nothing.jpg', '*.gif', 'empty'])
def test_a_word_that_stands_for_nothing_is_named(folder, word):
    (folder / 'empty').mkdir()
    with pytest.raises(InputError, match=rf'{re.escape(word)} (holds no pictures|is no file)'):
        find([str(folder / word)])


def test_every_third_frame_of_a_video(tmp_path):
    path = tmp_path / 'clip.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 12, (32, 16))
    for level in range(0, 240, 30):
        writer.write(np.full((16, 32, 3), level, np.uint8))
    writer.release()
    frames = Frames(Source(path, 'in/clip.avi'), 3)
    pictures = list(frames)
    assert (len(frames), frames.fps) == (3, 4)
    assert [(p.name, p.frame) for p in pictures] == [(f'in/clip/{n:06d}.jpg', n) for n in (0, 3, 6)]
    assert [round(float(p.image.mean()), -1) for p in pictures] == [0, 90, 180]
    assert pictures[1].place == tmp_path / 'in' / 'clip' / '000003.jpg'


def test_what_is_no_video_is_told(tmp_path):
    (tmp_path / 'clip.mp4').write_bytes(b'no video')
    with pytest.raises(InputError, match=r'The video .*clip.mp4 cannot be read'):
        Frames(Source(tmp_path / 'clip.mp4', 'clip.mp4'), 1)


def test_the_place_of_a_picture_is_its_file(tmp_path):
    assert Picture(Source(tmp_path / 'a.jpg', 'a.jpg'), 'a.jpg', str(tmp_path / 'a.jpg')).place == tmp_path / 'a.jpg'
