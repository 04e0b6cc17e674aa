"""Which OpenMMLab stack is installed, told in one sentence when it cannot be used.

Only package metadata is read here: importing torch or MMDetection would cost seconds that the occlusion evaluation,
which needs neither, must not pay.
"""

import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

# Module, the OneDL line's distribution, stock OpenMMLab's distribution, and the oldest version of each that works.
_STACK = (
    ('mmengine', 'onedl-mmengine', (0, 10, 12), 'mmengine', (0, 10, 7)),
    ('mmcv', 'onedl-mmcv', (2, 3, 6), 'mmcv', (2, 1, 0)),
    ('mmdet', 'onedl-mmdetection', (3, 5, 1), 'mmdet', (3, 3, 0)),
)

SPINS = 3000  # as quick on a quiet machine as the default: benchmarks/demo_runs.py speed
_INSTALL = (
    "install the OneDL line with pip install -e '.[onedl]' in a checkout of mmhybrid (or keep a stock OpenMMLab: "
    "'.[openmmlab]') and compile mmcv as the README says"
)


def _version(distribution: str) -> tuple[int, ...] | None:
    try:
        return tuple(int(n) for n in re.findall(r'\d+', version(distribution))[:3])
    except PackageNotFoundError:
        return None


def problem() -> str | None:
    """Return one sentence that says why MMDetection cannot be used here, or None if it can."""
    if find_spec('torch') is None:
        return f'The backbones of mmhybrid need PyTorch and MMDetection, and torch is not installed: {_INSTALL}.'
    for module, onedl, onedl_min, stock, stock_min in _STACK:
        have_onedl, have_stock = _version(onedl), _version(stock)
        if have_onedl and have_stock:
            return (
                f'Both {onedl} and {stock} are installed and overwrite each other as the module {module}: '
                f'uninstall both, then {_INSTALL}.'
            )
        have, minimum, name = (have_onedl, onedl_min, onedl) if have_onedl else (have_stock, stock_min, stock)
        if have is None:
            if find_spec(module) is not None:
                continue  # installed by hand, from a source tree: no metadata, so nothing to object to
            if module == 'mmcv' and _version('mmcv-lite'):
                return f'mmcv-lite has no compiled operators, which detectors need: uninstall it, then {_INSTALL}.'
            return f'The backbones of mmhybrid need MMDetection 3.x, and {module} is not installed: {_INSTALL}.'
        if have < minimum:
            return (
                f'mmhybrid needs {name} >= {".".join(map(str, minimum))}, and {".".join(map(str, have))} is '
                f'installed: {_INSTALL}.'
            )
    return None


def require() -> None:
    """Raise ``ImportError`` with one sentence if MMDetection cannot be imported here."""
    sentence = problem()
    if sentence is not None:
        raise ImportError(sentence)
    try:
        import mmcv
        import mmdet  # noqa: F401
    except Exception as error:  # mmdet asserts on the versions it finds; broken installs raise anything
        raise ImportError(
            f'The installed OpenMMLab packages do not import ({type(error).__name__}: {error}): {_INSTALL}.'
        ) from error
    try:
        import mmcv._ext
    except ImportError as error:
        raise ImportError(f'mmcv {mmcv.__version__} has no usable compiled operators ({error}): {_INSTALL}.') from error


@contextmanager
def quiet() -> Iterator[None]:
    """Import MMDetection's data sets and metrics without being told, each time, that optional ones are not there."""
    import mmengine.logging

    told = mmengine.logging.print_log

    def tell(msg: object, *args: object, **kwargs: object) -> None:
        if not str(msg).startswith('Could not import OneDL'):
            told(msg, *args, **kwargs)

    mmengine.logging.print_log = tell
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', message='faster_coco_eval is not installed')
            yield
    finally:
        mmengine.logging.print_log = told


def wait_idly() -> None:
    """Let OpenMP's threads soon sleep while they wait for one another, unless the environment says how they wait.

    By default GNU's look for one another 300,000 times before, and on a machine that has other work to do each takes
    the core that another one needs. To be called before torch is imported.
    """
    if 'OMP_WAIT_POLICY' not in os.environ:
        os.environ.setdefault('GOMP_SPINCOUNT', str(SPINS))


def require_or_exit() -> None:
    """For commands: print the sentence and exit with status 2 if MMDetection cannot be imported here."""
    wait_idly()
    try:
        require()
        with quiet():
            import mmdet.evaluation  # noqa: F401
    except ImportError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(2)
