"""Hardware and versions, as they are kept with each result: no name and no path of the machine."""

import contextlib
import importlib.metadata
import os
import platform
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from .kept import shown

PACKAGES = {
    'mmengine': ('onedl-mmengine', 'mmengine'),
    'mmcv': ('onedl-mmcv', 'mmcv'),
    'mmdet': ('onedl-mmdetection', 'mmdet'),
    'numpy': ('numpy',),
}


def facts(argv: Sequence[str]) -> dict[str, Any]:
    """What every result begins with."""
    return {'command': command(argv), 'hardware': hardware(), 'versions': versions()}


def command(argv: Sequence[str]) -> str:
    """The command line, with absolute paths shortened."""
    words = [shown(word) if Path(word).is_absolute() else word for word in argv]
    return shlex.join(['python', 'benchmarks/gpu.py', *words])


def hardware() -> dict[str, Any]:
    """The device by name and size, and the processor's cores."""
    found: dict[str, Any] = {'cores': len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else None}
    if not torch.cuda.is_available():
        return {'device': f'{platform.machine()} CPU', **found}
    made = torch.cuda.get_device_properties(0)
    found['memory_gib'] = round(made.total_memory / 2**30, 1)
    return {'device': torch.cuda.get_device_name(0), 'capability': f'{made.major}.{made.minor}', **found}


def versions() -> dict[str, str | None]:
    """Versions of Python, torch, what torch was built with, the driver and OpenMMLab."""
    found = {'python': platform.python_version(), 'torch': torch.__version__, 'cuda': torch.version.cuda}
    if torch.cuda.is_available():
        found['driver'] = _driver()
        found['cudnn'] = str(torch.backends.cudnn.version())
        found['nccl'] = '.'.join(map(str, torch.cuda.nccl.version())) if torch.distributed.is_nccl_available() else None
    return found | {name: _version(distributions) for name, distributions in PACKAGES.items()}


def _version(distributions: Sequence[str]) -> str | None:
    for distribution in distributions:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _driver() -> str | None:
    told = Path('/proc/driver/nvidia/version')
    text = told.read_text() if told.exists() else ''
    if not text and (program := shutil.which('nvidia-smi')):
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            words = [program, '--query-gpu=driver_version', '--format=csv,noheader']
            text = subprocess.run(words, capture_output=True, text=True, timeout=20).stdout
    found = re.search(r'\d+\.\d+(?:\.\d+)?', text)
    return found and found[0]
