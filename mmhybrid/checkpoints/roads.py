"""Every road by which MMEngine reaches a checkpoint leads to the one reader.

MMEngine reads a checkpoint for ``init_cfg=dict(type='Pretrained', ...)``, ``load_from``, ``resume``,
``mmdet.apis.init_detector`` and others through a table of prefixes, with a function for each: local files, URLs, model
zoos, object stores. Its functions fall back to running what a file brings. The functions here find a file in the same
places and then call :func:`mmhybrid.checkpoints.reading.read`.

Importing ``mmhybrid.backbones`` or ``mmhybrid.engine`` puts them into the table, for the whole process and on purpose:
a checkpoint of any model that MMEngine loads thereafter is read as data, or refused.
"""

import difflib
import io
import os
import re
from collections import OrderedDict
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from mmengine.dist import get_dist_info
from mmengine.fileio import get_file_backend
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint

from mmhybrid.checkpoints import cards, layouts, loading
from mmhybrid.checkpoints.reading import MapLocation, read
from mmhybrid.errors import InputError
from mmhybrid.paths import expanded

_GIVE = 'give weights, or what a training run saved'
# A published file's name ends in the beginning of its SHA-256; eight digits may also be a date.
_HASH = re.compile(r'-(?!20\d{6}\.)([0-9a-f]{8,64})\.')


def install() -> None:
    """Put this module's functions into MMEngine's table, in place of its own. Doing it again changes nothing.

    What they read is then loaded through :mod:`mmhybrid.checkpoints.loading`.
    """
    for prefixes, loader in _ROADS:
        CheckpointLoader.register_scheme(prefixes, loader, force=True)
    loading.install()


def load_from_local(filename: str, map_location: MapLocation = None) -> Mapping[str, Any]:
    """Read a file; ``~`` is the home directory."""
    return _without_programs(read(filename, map_location), filename)


def load_from_http(
    filename: str, map_location: MapLocation = None, model_dir: str | None = None, progress: bool | None = None
) -> Mapping[str, Any]:
    """Download a file once into PyTorch's cache, and read it. With several processes, the first one downloads."""
    rank, world_size = get_dist_info()
    try:
        if rank == 0:
            _fetch(filename, model_dir, progress)
    finally:
        if world_size > 1:
            torch.distributed.barrier()
    path = _fetch(filename, model_dir, progress)  # on another machine's disk there may be none yet
    try:
        content = read(path, map_location)
    except InputError as error:
        raise InputError(
            f'{str(error)[:-1]}; it is a download of {filename}, which is repeated once you delete it.'
        ) from error
    return _without_programs(content, filename)


def load_from_torchvision(filename: str, map_location: MapLocation = None) -> Mapping[str, Any]:
    """Download weights that torchvision publishes."""
    return load_from_http(_look_up(filename, mmengine_checkpoint.get_torchvision_models()), map_location)


def load_from_openmmlab(filename: str, map_location: MapLocation = None) -> Mapping[str, Any]:
    """Download weights of MMEngine's table, or read a file of its folder."""
    renamed = mmengine_checkpoint.get_deprecated_model_names()
    scheme, _, name = filename.partition('://')
    place = _look_up(f'{scheme}://{renamed.get(name, name)}', mmengine_checkpoint.get_external_models())
    if place.startswith(('http://', 'https://')):
        return load_from_http(place, map_location)
    cache = os.environ.get('XDG_CACHE_HOME', '~/.cache')
    home = os.environ.get('MMENGINE_HOME', str(Path(cache, 'mmengine')))
    return load_from_local(str(Path(home, place)), map_location)


def load_from_mmcls(filename: str, map_location: MapLocation = None) -> dict[str, Any]:
    """Download a classifier of MMClassification's table, of which only the backbone is taken."""
    checkpoint = load_from_http(_look_up(filename, mmengine_checkpoint.get_mmcls_models()), map_location)
    state_dict = checkpoint.get('state_dict', checkpoint)
    prefix = 'backbone.'
    return dict(
        state_dict=OrderedDict((k.removeprefix(prefix), v) for k, v in state_dict.items() if k.startswith(prefix))
    )


def load_from_ceph(filename: str, map_location: MapLocation = None, backend: str = 'petrel') -> Mapping[str, Any]:
    """Get a file from an object store, into memory."""
    store = get_file_backend(filename, backend_args={'backend': backend})
    with io.BytesIO(store.get(filename)) as file:
        return _without_programs(read(file, map_location), filename)


def load_from_pavi(filename: str, map_location: MapLocation = None) -> Mapping[str, Any]:
    """Get a file from SenseTime's model cloud, which needs their library."""
    try:
        from pavi import modelcloud
    except ImportError as error:
        raise ImportError(f'{filename} cannot be reached: the library pavi is not installed.') from error
    model = modelcloud.get(filename.removeprefix('pavi://'))
    with TemporaryDirectory() as folder:
        path = Path(folder, Path(model.name).name)
        model.download(str(path))
        return _without_programs(read(path, map_location), filename)


# MMEngine prints a loader's name from its eleventh letter on, and takes a prefix for a regular expression.
_ROADS = (
    ('', load_from_local),
    (['http://', 'https://'], load_from_http),
    (['modelzoo://', 'torchvision://'], load_from_torchvision),
    (['open-mmlab://', 'openmmlab://'], load_from_openmmlab),
    ('mmcls://', load_from_mmcls),
    ([r'(\S+\:)?s3://', r'(\S+\:)?petrel://'], load_from_ceph),
    ('pavi://', load_from_pavi),
)


def _look_up(filename: str, table: Mapping[str, str]) -> str:
    name = filename.partition('://')[2]
    if name not in table:
        close = difflib.get_close_matches(name, table, n=3)
        hint = f'did you mean {" or ".join(close)}?' if close else 'give a path or a URL.'
        raise InputError(f'MMEngine knows no weights {filename}; {hint}')
    return table[name]


def _fetch(url: str, folder: str | None, progress: bool | None) -> Path:
    cache = Path(folder or Path(torch.hub.get_dir(), 'checkpoints'))
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / Path(urlparse(url).path).name
    if not path.exists():
        print(f'Downloading: "{url}" to {path}')
        beginning = _HASH.search(path.name)
        show = os.isatty(0) if progress is None else progress
        try:
            torch.hub.download_url_to_file(url, str(path), beginning and beginning[1], progress=show)
        except RuntimeError as error:  # of the hash
            raise InputError(f'{url} is not the file that its name promises ({error}); ask who published it.') from None
        except (URLError, ConnectionError, TimeoutError, HTTPException) as error:
            raise InputError(f'{url} cannot be downloaded ({error}); give a path, or another URL.') from None
    return path


def _without_programs(checkpoint: Any, name: str) -> Mapping[str, Any]:
    """Check the parts that MMEngine works with, and take out the texts that it would run.

    ``Runner.resume`` runs 'config' in the 'meta' as a config file, ``DetInferencer(weights=...)`` the 'cfg' in the
    message hub or in the 'meta'. A config is a program, also without a statement in it: ``type='os.system'`` is enough.
    """
    _check_dict(checkpoint, 'its content', name)
    if layouts.AVERAGED in checkpoint:  # timm's; MMEngine would take those that were averaged
        checkpoint['state_dict'] = checkpoint[layouts.AVERAGED]
    state_dict, meta, hub = (_part(checkpoint, key, name) for key in ('state_dict', 'meta', 'message_hub'))
    for key in checkpoint if state_dict is None else state_dict:
        if not isinstance(key, str):
            raise InputError(
                f'The checkpoint {name} is not used, because a weight is called {key!r}, which is no text: {_GIVE}.'
            )
    runtime_info = _part(hub or {}, 'runtime_info', name)
    for part in (meta, runtime_info):
        for key in ('config', 'cfg'):
            (part or {}).pop(key, None)
    facts = cards.facts(checkpoint, None if '://' in name else expanded(name))
    if state_dict is None:
        return loading.with_origin(checkpoint, name, facts)
    checkpoint['state_dict'] = loading.with_origin(state_dict, name, facts)
    return checkpoint


def _part(whole: dict, key: str, name: str) -> dict | None:
    if key not in whole:
        return None
    _check_dict(whole[key], f'its {key!r}', name)
    return whole[key]


def _check_dict(part: Any, label: str, name: str) -> None:
    if not isinstance(part, dict):
        raise InputError(
            f'The checkpoint {name} is not used, because {label} is of type {type(part).__name__} and should be a '
            f'dict: {_GIVE}.'
        )
    # A file can give an OrderedDict attributes, also one in front of a method such as `pop`. PyTorch gives it this one.
    if extra := set(getattr(part, '__dict__', ())) - {'_metadata'}:
        raise InputError(
            f'The checkpoint {name} is not used, because {label} has an attribute {min(map(str, extra))!r}, which no '
            f'dict has: {_GIVE}.'
        )
