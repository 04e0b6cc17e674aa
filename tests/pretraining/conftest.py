import mmcv
import numpy as np
import pytest


@pytest.fixture(scope='session')
def pictures(tmp_path_factory):
    """Three classes of small pictures that their colour tells: 12 each to train with and 5 each to validate with."""
    root = tmp_path_factory.mktemp('pictures')
    random = np.random.default_rng(0)
    for part, count in (('train', 12), ('test', 5)):
        for channel, name in enumerate(('blue', 'green', 'red')):  # as mmcv orders channels
            for i in range(count):
                image = random.integers(0, 120, (random.integers(28, 50), random.integers(28, 50), 3), dtype=np.uint8)
                image[..., channel] += 120
                mmcv.imwrite(image, str(root / part / name / f'{i}.jpg'))
    (root / 'train' / '.cache').mkdir()
    (root / 'train' / 'red' / '.hidden.jpg').write_bytes(b'')
    (root / 'train' / 'red' / 'notes.txt').write_text('no picture')
    (root / 'train' / 'list.txt').write_text('no class')
    return root
