"""The record of a measurement: hardware, versions, settings and rows as JSON, one file for each kind of device."""

import importlib.metadata
import json
import os
import platform
import shlex
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

REPO = Path(__file__).resolve().parents[2]
RESULTS = REPO / 'benchmarks' / 'results'
SECTIONS = ('layers', 'backbones', 'latency', 'detectors')
# Names of the packages as Python imports them, and as they may be installed.
PACKAGES = {
    'torch': ('torch',),
    'mmengine': ('onedl-mmengine', 'mmengine'),
    'mmcv': ('onedl-mmcv', 'mmcv'),
    'mmdet': ('onedl-mmdetection', 'mmdet'),
    'mmhybrid': ('mmhybrid',),
}


def path_of(device: torch.device) -> Path:
    """The file on record for a kind of device."""
    return RESULTS / f'speed_{kind_of(device)}.json'


def kind_of(device: torch.device) -> str:
    """'cpu' (one thread), 'cpu_threads' (several) or 'gpu'."""
    if device.type == 'cuda':
        return 'gpu'
    return 'cpu_threads' if torch.get_num_threads() > 1 else 'cpu'


def header(device: torch.device, argv: Sequence[str], settings: dict[str, Any]) -> dict[str, Any]:
    """What a section begins with."""
    return {
        'command': command(argv),
        'date': datetime.now(timezone.utc).strftime('%Y-%m-%d'),
        'hardware': hardware(device),
        'versions': {'python': platform.python_version()} | {name: version_of(name) for name in PACKAGES},
        'settings': settings,
    }


def command(argv: Sequence[str]) -> str:
    """The command line, without a path of this machine."""
    words = []
    for argument in argv:
        option, equals, value = argument.rpartition('=')
        words.append(option + equals + (Path(value).name if Path(value).is_absolute() else value))
    return f'python benchmarks/speed.py {shlex.join(words)}'


def hardware(device: torch.device) -> str:
    """The device by name, and how much of it was used."""
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.exists() else []
    name = next((line.split(': ', 1)[1] for line in lines if line.startswith('model name')), platform.machine())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    threads = torch.get_num_threads()
    return f'{name}, {threads} thread{"s" if threads > 1 else ""}, {cores} cores'


def version_of(name: str) -> str | None:
    """Version of one of ``PACKAGES``, or None where it is not installed."""
    if name == 'torch':
        return torch.__version__  # with the build's label
    for distribution in PACKAGES[name]:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def read(path: Path) -> dict[str, Any]:
    """A record, or an empty one where there is none."""
    return json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}


def write_section(path: Path, device: torch.device, section: str, content: dict[str, Any]) -> None:
    """Put a section into a record; the other sections stay as they are."""
    sections = read(path).get('sections', {}) | {section: content}
    record = {'device': kind_of(device), 'sections': {name: sections[name] for name in SECTIONS if name in sections}}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix('.partial')
    partial.write_text(_dumps(record), encoding='utf-8')
    partial.replace(path)  # an interruption leaves the record as it was


def _dumps(record: dict[str, Any]) -> str:
    """JSON with one line for each row, so that a change of one row is a change of one line."""
    sections = {name: content | {'rows': f'rows of {name}'} for name, content in record['sections'].items()}
    text = json.dumps(record | {'sections': sections}, indent=1)
    for name, content in record['sections'].items():
        lines = ',\n'.join('    ' + json.dumps(row) for row in content['rows'])
        text = text.replace(json.dumps(f'rows of {name}'), f'[\n{lines}\n   ]' if lines else '[]')
    return text + '\n'
