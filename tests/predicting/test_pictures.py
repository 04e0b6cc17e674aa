import re
from pathlib import Path

import cv2
import mmcv
import numpy as np
import pytest
from PIL import Image

from mmhybrid.errors import InputError
from mmhybrid.predicting.pictures import Frames, Picture, Source, find, size_of


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
    frames = Frames(Source(path, 'day/clip.avi', 'day/clip_2.avi'), 3)
    pictures = list(frames)
    assert (len(frames), frames.fps, frames.size) == (3, 4, (32, 16))
    assert [(p.name, p.frame) for p in pictures] == [(f'day/clip_2/{n:06d}.jpg', n) for n in (0, 3, 6)]
    assert [round(float(p.image.mean()), -1) for p in pictures] == [0, 90, 180]
    assert pictures[1].given == 'day/clip/000003.jpg'
    assert [p.place for p in pictures] == list(frames.places())
    assert pictures[1].place == tmp_path / 'clip' / '000003.jpg'


def test_what_is_no_video_is_told(tmp_path):
    (tmp_path / 'clip.mp4').write_bytes(b'no video')
    with pytest.raises(InputError, match=r'The video .*clip.mp4 cannot be read'):
        Frames(Source(tmp_path / 'clip.mp4', 'clip.mp4', 'clip.mp4'), 1)


def test_the_place_of_a_picture_is_its_file(tmp_path):
    picture = Picture(Source(tmp_path / 'a.jpg', 'a.jpg', 'a_2.jpg'), 'a_2.jpg', str(tmp_path / 'a.jpg'))
    assert (picture.place, picture.given) == (tmp_path / 'a.jpg', 'a.jpg')


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_who_has_a_name_to_himself_keeps_it(tmp_path):
    touch(tmp_path, 'a/x.jpg', 'b/x.png', 'a/x_2.jpg')
    sources = find([str(tmp_path / name) for name in ('a/x.jpg', 'b/x.png', 'a/x_2.jpg', 'b')])
    assert [(source.given, source.name) for source in sources] == [
        ('x.jpg', 'x.jpg'),
        ('x.png', 'x_3.png'),
        ('x_2.jpg', 'x_2.jpg'),
    ]


def test_frames_have_a_folder_to_themselves(tmp_path):
    touch(tmp_path, 'clip.mp4', 'clip/000001.jpg', 'clip/inner.mp4', 'other/clip_2.mp4', 'other/clip_2/a.jpg')
    for words in ([tmp_path], [tmp_path / 'clip', tmp_path / 'clip.mp4', tmp_path / 'other', tmp_path]):
        sources = find([str(word) for word in words])
        stems = [str(Path(source.name).with_suffix('')) for source in sources]
        assert len(sources) == len(set(stems)) == 5
        folders = {stem for stem, source in zip(stems, sources, strict=True) if source.is_video}
        assert not any(str(parent) in folders for stem in stems for parent in Path(stem).parents)
    assert 'clip_2.mp4' in names(tmp_path)


def test_links_are_files_of_their_own_and_what_was_named_twice_is_told(tmp_path):
    touch(tmp_path, 'a.jpg', 'out/drawn/a.jpg', 'sub/b.jpg')
    (tmp_path / 'link.jpg').symlink_to('a.jpg')
    left_out = []
    words = [tmp_path, tmp_path / 'sub' / '..' / 'a.jpg', tmp_path / 'link.jpg']
    sources = find([str(word) for word in words], tmp_path / 'out' / 'drawn', left_out)
    assert [source.given for source in sources] == ['a.jpg', 'link.jpg', 'sub/b.jpg']
    assert left_out == [
        f'files left out, since they are in {tmp_path}/out/drawn, which is written to: 1',
        'files left out, since they were named before: 2',
    ]
    with pytest.raises(InputError, match='All pictures that were named are in'):
        find([str(tmp_path / 'out')], tmp_path / 'out' / 'drawn')


@pytest.mark.parametrize('word', ['', ' '])
def test_an_empty_word_is_not_this_folder(word, tmp_path, monkeypatch):
    touch(tmp_path, 'a.jpg')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match='An empty word is among IMAGES'):
        find(['a.jpg', word])


def test_the_folder_of_nobody_is_told():
    with pytest.raises(InputError, match=r'~nobodyx/x.jpg is no file'):
        find(['~nobodyx/x.jpg'])


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_the_size_is_that_of_the_picture_as_it_is_seen(tmp_path, suffix):
    image = Image.new('RGB', (30, 20))
    exif = image.getexif()
    for orientation in range(1, 9):
        exif[0x0112] = orientation
        path = tmp_path / f'{orientation}{suffix}'
        image.save(path, exif=exif)
        assert size_of(path) == mmcv.imfrombytes(path.read_bytes()).shape[1::-1]
    (tmp_path / 'no.jpg').touch()
    assert size_of(tmp_path / 'no.jpg') is None
