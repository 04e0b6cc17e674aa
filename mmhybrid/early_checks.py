"""Checks that cost nothing and come before what takes hours: of launchers, places for results, and channels."""

import contextlib
import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmcv.transforms import LoadImageFromFile
from mmdet.models.backbones import Res2Net, ResNeSt, ResNet, ResNetV1d, ResNeXt
from mmdet.models.necks import FPN, ChannelMapper
from mmengine.config import Config
from torch import nn

from mmhybrid import backbones
from mmhybrid.checkpoints import loading
from mmhybrid.checkpoints.backbone_files import check_backbone
from mmhybrid.checkpoints.fitting import is_ours
from mmhybrid.errors import InputError
from mmhybrid.origins import named

_LAUNCHERS = {
    'pytorch': ('torchrun, as tools/dist_train.sh does', ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT')),
    'slurm': ('srun, as tools/slurm_train.sh does', ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_NODELIST')),
    'mpi': (
        'mpirun with MASTER_ADDR set',
        ('OMPI_COMM_WORLD_LOCAL_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_RANK', 'MASTER_ADDR'),
    ),
}


def check_launcher(launcher: str) -> None:
    """Check that a process was started as ``--launcher`` says.

    Raises:
        InputError: If the launcher's environment variables are missing, if there are more processes than GPUs, or if a
            launcher started several processes that would not know of each other.
    """
    if launcher == 'none':
        if os.environ.get('TORCHELASTIC_RUN_ID') and os.environ.get('WORLD_SIZE', '1') != '1':
            raise InputError(
                'torchrun started several processes, each of which would do all the work: add --launcher pytorch.'
            )
        return
    starter, variables = _LAUNCHERS[launcher]
    if missing := [name for name in variables if name not in os.environ]:
        raise InputError(
            f'--launcher {launcher} needs the environment variable {missing[0]}: start with {starter}, or leave the '
            'option out to use one process.'
        )
    gpus, local_rank = torch.cuda.device_count(), int(os.environ.get('LOCAL_RANK', 0))
    if launcher == 'pytorch' and 0 < gpus <= local_rank:
        raise InputError(f'There is no GPU for process {local_rank} of this machine, which has {gpus}: start {gpus}.')


def check_writable(option: str, *paths: str | Path, keep_folders: bool = True) -> None:
    """Check that files can be written, before they are computed; their folders are made.

    Args:
        option: Which named the place.
        paths: The files.
        keep_folders: Whether folders that were made stay.

    Raises:
        InputError: Naming the option and the place.
    """
    for path in map(Path, paths):
        made = [folder for folder in path.parents if not keep_folders and not folder.exists()]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                path.lstat()
            except FileNotFoundError:
                tempfile.TemporaryFile(dir=path.parent).close()
            else:
                path.open('ab').close()  # a folder is none
        except (OSError, ValueError) as error:
            is_file = isinstance(error, FileExistsError | NotADirectoryError)
            reason = 'it is below a file' if is_file else getattr(error, 'strerror', None) or error
            raise InputError(f'{option}: {path} cannot be written ({reason}); choose another place.') from None
        finally:
            for folder in made:
                with contextlib.suppress(OSError):
                    folder.rmdir()


def check_neck(model: nn.Module) -> None:
    """Compare the channels that a detector's backbone gives with those that its neck expects, without running it.

    Only where both are known: backbones with ``out_channels``, such as all of this package, or MMDetection's ResNets,
    and its ``FPN`` and ``ChannelMapper``.

    Raises:
        InputError: If they differ.
    """
    backbone, neck = getattr(model, 'backbone', None), getattr(model, 'neck', None)
    if isinstance(neck, nn.Sequential) and len(neck):
        neck = neck[0]
    given, expected = _out_channels(backbone), getattr(neck, 'in_channels', None)
    if given is None:
        return
    if isinstance(neck, ChannelMapper):
        expected = [conv.conv.in_channels for conv in neck.convs]
    elif not isinstance(neck, FPN):
        return
    if list(expected) != list(given):
        raise InputError(
            f'{type(backbone).__name__} gives {len(given)} feature maps with {", ".join(map(str, given))} channels and '
            f'{type(neck).__name__} expects {", ".join(map(str, expected))}: set model.neck.in_channels={list(given)}, '
            'or other out_indices of the backbone.'
        )


def _out_channels(backbone: Any) -> tuple[int, ...] | None:
    if type(backbone) in (ResNet, ResNetV1d, ResNeXt, Res2Net, ResNeSt):
        expansion = backbone.block.expansion
        return tuple(backbone.base_channels * 2**i * expansion for i in sorted(set(backbone.out_indices)))
    channels = getattr(backbone, 'out_channels', None)
    return channels if isinstance(channels, tuple) else None


def check_backbone_weights(cfg: Config) -> None:
    """Compare a backbone of this package with the file that it is to begin with, before data and model are made.

    The file is the ``checkpoint`` of ``model.backbone.init_cfg``, which ``backbone_checkpoint=FILE`` stands for. What
    cannot be made or compared so is left to the run.

    Raises:
        InputError: If the file is missing or damaged, or has another backbone's weights.
    """
    options = (cfg.get('model') or {}).get('backbone') or {}
    init_cfg = options.get('init_cfg') or {}
    kind = options.get('type')
    kind = getattr(backbones, kind.rpartition('.')[2], None) if isinstance(kind, str) else kind
    if not isinstance(kind, type) or not is_ours(kind) or not isinstance(init_cfg, dict):
        return
    file = init_cfg.get('checkpoint')
    pretrained = str(init_cfg.get('type')).rpartition('.')[2] in ('Pretrained', 'PretrainedInit')
    if not pretrained or init_cfg.get('prefix') or not isinstance(file, str) or '://' in file:
        return
    try:
        with torch.device('meta'):
            made = kind(**{key: value for key, value in options.items() if key not in ('type', 'init_cfg')})
            if 'stem' in cfg.model:  # of a pre-training
                from mmhybrid.pretraining.stems import fit_stem

                fit_stem(made, cfg.model.stem)
    except Exception:  # is told where the model is made
        return
    hooks = [hook for hook in cfg.get('custom_hooks') or () if str(hook.get('type')).endswith('LoadedWeightsHook')]
    allowed = hooks[0].get('allow_missing') if hooks else None
    holder = nn.Module()
    holder.backbone = made
    loading.tolerate(holder, ('',) if allowed is True else tuple(allowed or ()))
    check_backbone(made, file)


def name_unreadable_images() -> None:
    """Let MMCV's reading of images name the image that it cannot read, in this process and those forked from it.

    A decoder is given bytes and cannot name them, and of what fails in a data worker a text arrives, without values.
    """
    if not hasattr(LoadImageFromFile.transform, '__wrapped__'):
        LoadImageFromFile.transform = _naming(LoadImageFromFile.transform)


def _naming(transform: Callable) -> Callable:
    @functools.wraps(transform)
    def naming(self: LoadImageFromFile, results: dict) -> dict | None:
        try:
            return transform(self, results)
        except MemoryError:
            raise
        except Exception as error:
            image = results.get('img_path') if isinstance(results, dict) else None
            if image is None:
                raise
            what = 'it' if 'label' in results else 'its annotations'  # a class's picture has none
            raise InputError(
                f'The image {image} cannot be read ({_reason(error, image)}); replace it, or remove {what}.'
            ) from error

    return naming


def _reason(error: Exception, image: str) -> str:
    if isinstance(error, AssertionError):  # of MMCV, where the decoder gave nothing
        return 'it is not an image, or damaged'
    if Path(image).is_file() and Path(image).stat().st_size == 0:
        return 'it is empty'
    return getattr(error, 'strerror', None) or named(error)
