import re

from mmengine.config import Config

from . import toy_run

LINE = re.compile(r'Training runs: the first iteration took \d+\.\d s, (\d+) are left; a line follows every (\d+)\.')


def test_a_run_tells_once_that_it_has_begun(tmp_path):
    cfg = toy_run.config(tmp_path, val=False, custom_hooks=[dict(type='FirstIterationHook')])
    toy_run.run(cfg, stop_after=5)  # of 15 iterations
    toy_run.run(Config({**cfg.to_dict(), 'resume': True}))
    logs = ''.join(path.read_text() for path in sorted(tmp_path.glob('*/*.log')))
    assert LINE.findall(logs) == [('14', '10'), ('9', '10')]
