"""Tell, as JSON, what an environment lacks of some requirements and of MMDetection with compiled operators.

``setup_env.py`` runs this file with the Python of the environment. It believes what lies there now and keeps no record
of its own. To stay below a second it imports neither torch nor MMDetection: the metadata of the distributions says
what is installed, and the linker says whether the operators of mmcv fit the installed torch.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
from importlib import metadata
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlparse
from urllib.request import url2pathname

try:
    from packaging.requirements import Requirement
except ImportError:  # then it is among what is missing
    from pip._vendor.packaging.requirements import Requirement

REPO = Path(__file__).resolve().parent.parent
# Module of MMDetection's stack, and its distributions in the OneDL line and in the stock line.
STACK = {
    'torch': ('torch', 'torch'),
    'mmengine': ('onedl-mmengine', 'mmengine'),
    'mmcv': ('onedl-mmcv', 'mmcv'),
    'mmdet': ('onedl-mmdetection', 'mmdet'),
}
# One of these is as good as another.
OPENCV = {f'opencv-{kind}' for kind in ('python', 'python-headless', 'contrib-python', 'contrib-python-headless')}


def canonical(name: str) -> str:
    """Return the name of a distribution as all spellings of it have it."""
    return name.lower().replace('_', '-').replace('.', '-')


class Found(NamedTuple):
    """An installed distribution: its version and what it requires."""

    version: str
    requires: list[str]


def installed() -> tuple[dict[str, Found], list[str]]:
    """Return the distributions by name, and the names of those whose files are gone though their metadata is not.

    The first one on the path counts, as it does for imports.
    """
    have: dict[str, Found] = {}
    hollow = []
    for distribution in metadata.distributions():
        text = distribution.read_text('METADATA') or distribution.read_text('PKG-INFO') or ''
        head = text.partition('\n\n')[0]  # parsing the long descriptions takes half of the time
        fields = dict(re.findall(r'^(Name|Version): *(.+?) *$', head, re.MULTILINE))
        # What is left of an interrupted uninstall has no name.
        if len(fields) < 2 or (name := canonical(fields['Name'])) in have or name in hollow:
            continue
        if _hollow(distribution):
            hollow.append(name)
        else:
            have[name] = Found(fields['Version'], re.findall(r'^Requires-Dist: *(.+)$', head, re.MULTILINE))
    return have, hollow


def _hollow(distribution: metadata.Distribution) -> bool:
    modules = re.finditer(r'^([^.,][^,]*\.py),', distribution.read_text('RECORD') or '', re.MULTILINE)
    files = [Path(distribution.locate_file(module[1])) for module in islice(modules, 10)]
    return bool(files) and not any(file.exists() for file in files)


def stack_line(have: dict[str, Found]) -> str:
    """Return which line of OpenMMLab is there, or what is left of one: ``onedl``, ``stock`` or nothing."""
    onedl, stock = (sum(pair[line] in have for pair in list(STACK.values())[1:]) for line in (0, 1))
    return '' if not onedl + stock else 'onedl' if onedl >= stock else 'stock'


def lacking_stack() -> list[str]:
    """Return the modules of the stack that are not there; one that was installed by hand, without metadata, is."""
    # A folder without __init__.py, which an uninstall leaves where caches remain, has a spec without an origin.
    return [module for module in STACK if not getattr(find_spec(module), 'origin', None)]


def operators() -> str:
    """Return why the operators of mmcv do not link with the installed torch, or nothing if they do."""
    mmcv, torch = (find_spec(module) for module in ('mmcv', 'torch'))
    if not (mmcv and mmcv.origin and torch and torch.origin):
        return 'mmcv or torch is not installed'
    extension = next(Path(mmcv.origin).parent.glob('_ext*.so'), None)
    if extension is None:
        return 'mmcv was installed without its operators'
    try:
        ctypes.CDLL(str(Path(torch.origin).parent / 'lib' / 'libtorch_python.so'), ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(extension), os.RTLD_NOW)  # now: every symbol must be found
    except OSError as error:
        return str(error)
    return ''


def package() -> str:
    """Return why mmhybrid is not this checkout as its pyproject.toml is now, or nothing if it is."""
    # PYTHONPATH may show the checkout's own egg-info, which tells nothing of what is installed.
    mine = [d for d in metadata.distributions(name='mmhybrid') if d.read_text('RECORD')]
    if not mine:
        return 'mmhybrid is not installed'
    source = json.loads(mine[0].read_text('direct_url.json') or '{}')
    folder = Path(url2pathname(urlparse(source.get('url', '')).path))
    if not source.get('dir_info', {}).get('editable') or folder.resolve() != REPO:
        return 'mmhybrid is installed from elsewhere'
    record = next(Path(file.locate()) for file in mine[0].files or () if file.name == 'RECORD')
    # The time of the last change of any kind, which unpacking or checking out cannot set back.
    if (REPO / 'pyproject.toml').stat().st_ctime > record.stat().st_mtime:
        return 'pyproject.toml changed since mmhybrid was installed'
    return ''


def problem() -> str:
    """Return what mmhybrid objects to in the stack, such as a version that is too old, or nothing."""
    from mmhybrid import _stack

    return _stack.problem() or ''


def missing(have: dict[str, Found], roots: list[str]) -> list[str]:
    """Return the requirements, and requirements of these, that are not installed.

    The versions of what mmhybrid and ``roots`` require are checked. Deeper, a distribution must only be there: packages
    demand versions of one another that cannot all be had, and pip has settled that.
    """
    wanted: dict[str, set[str]] = {}
    seen = set()
    todo = [(Requirement(root), True) for root in roots]
    while todo:
        requirement, exact = todo.pop()
        name = canonical(requirement.name)
        if name in OPENCV:
            name = next((kind for kind in OPENCV if kind in have), name)
        if name == 'mmhybrid' and name not in have:
            continue  # ``package`` tells
        if (key := (name, frozenset(requirement.extras), exact and str(requirement.specifier))) in seen:
            continue
        seen.add(key)
        if name not in have or (exact and not requirement.specifier.contains(have[name].version, prereleases=True)):
            requirement.marker = None
            wanted.setdefault(name, set()).add(str(requirement))
            continue
        for line in have[name].requires:
            below = Requirement(line)
            if below.marker is None or any(below.marker.evaluate({'extra': e}) for e in ('', *requirement.extras)):
                todo.append((below, name == 'mmhybrid'))
    # One that tells no version adds nothing to one that does.
    return sorted(t for all_ in wanted.values() for t in all_ if len(all_) == 1 or Requirement(t).specifier)


def main() -> None:
    """Print what is lacking for the requirements on the command line."""
    have, hollow = installed()
    line = stack_line(have)
    stack = [name for names in STACK.values() if (name := names[line == 'stock']) in have]
    report = {
        'line': line,
        'hollow': hollow,
        'lacking': lacking_stack(),
        'missing': missing(have, [*sys.argv[1:], *stack]),
        'operators': operators(),
        'package': package(),
    }
    report['problem'] = '' if report['package'] or report['lacking'] else problem()
    print(json.dumps(report))


if __name__ == '__main__':
    main()
