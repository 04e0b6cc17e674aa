#!/usr/bin/env python3
"""Write the COCO configs and configs/metafile.yml, which are backbones x detectors. ``--help`` has an example."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmhybrid import mistakes, variants

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
TOOL = 'tools/make_configs.py'
EPOCHS = {'1x': 12, '2x': 24}


@dataclass(frozen=True)
class Detector:
    """A detector with an FPN: its name in words, its data set in ``configs/_base_``, and lines of its own."""

    title: str
    dataset: str
    lines: str = ''


DETECTORS = {
    'mask_rcnn': Detector('Mask R-CNN', 'coco_instance'),
    'cascade_mask_rcnn': Detector('Cascade Mask R-CNN', 'coco_instance'),
    'cascade_rcnn': Detector('Cascade R-CNN', 'coco_detection'),
    'retinanet': Detector(
        'RetinaNet',
        'coco_detection',
        "optim_wrapper = dict(optimizer=dict(lr=0.01))  # half of the others', as in MMDetection\n",
    ),
}
ALL, MASK = tuple(DETECTORS), ('mask_rcnn',)


@dataclass(frozen=True)
class Collection:
    """Backbones of one paper, and the schedule that it trained detectors with; ``ours`` if it names none."""

    name: str
    schedule: str
    ours: bool = False


# By family of mmhybrid.variants.
COLLECTIONS = {
    'tbc': Collection('TBC', '2x'),
    'hcgnet': Collection('HCGNet', '1x'),
    'dsnet': Collection('DSNet', '1x', ours=True),
    'hsresnet': Collection('HS-ResNet', '1x', ours=True),
    'senetv2': Collection('SENetV2', '1x', ours=True),
}
# By name of mmhybrid.variants: the backbone in words, and its detectors.
VARIANTS: dict[str, tuple[str, tuple[str, ...]]] = {
    'tiedresnet50': ('TiedResNet-50', ALL),
    'tiedresnext50': ('TiedResNeXt-50', ALL),
    'tiedsenet50': ('TiedSENet-50', ALL),
    'tiedresnet50_tiedgcb': ('TiedResNet-50 with TiedGCB', ALL),
    'tiedresnest50': ('TiedResNeSt-50', ALL),
    'tiedresnet50_s': ('TiedResNet-50-S (4s x 18w)', MASK),
    'tiedresnet101': ('TiedResNet-101', MASK),
    'tiedresnet101_s': ('TiedResNet-101-S (4s x 18w)', MASK),
    'tiedsenet101': ('TiedSENet-101', MASK),
    'tiedresnet101_tiedgcb': ('TiedResNet-101 with TiedGCB', MASK),
    'tiedresnext50_s': ('TiedResNeXt-50-S (4s x 36w)', MASK),
    'tiedresnext101': ('TiedResNeXt-101', MASK),
    'tiedresnext101_s': ('TiedResNeXt-101-S (4s x 36w)', MASK),
    'tiedresnest50_s': ('TiedResNeSt-50-S', MASK),
    'tiedresnest101': ('TiedResNeSt-101', MASK),
    'resnet50_tiedse': ('ResNet-50 with TiedSE', MASK),
    'hcgnet_b': ('HCGNet-B', ALL),
    'hcgnet_c': ('HCGNet-C', MASK),
    'dsnet50': ('DSNet-50', ALL),
    'ds2net50': ('DS2Net-50', ALL),
    'ds2res2net50': ('DS2Res2Net-50', ALL),
    'dsnet101': ('DSNet-101', MASK),
    'ds2net101': ('DS2Net-101', MASK),
    'hsresnet50': ('HS-ResNet-50', ALL),
    'hsresnet50_d': ('HS-ResNet-50-D', ALL),
    'hsresnet50_28w6s': ('HS-ResNet-50 (28w x 6s)', MASK),
    'hsresnet50_d_24w4s': ('HS-ResNet-50-D (24w4s)', MASK),
    'hsresnet101': ('HS-ResNet-101', MASK),
    'hsresnet101_d': ('HS-ResNet-101-D', MASK),
    'sae_resnet50': ('SaE-ResNet-50', ALL),
    'sae_resnet101': ('SaE-ResNet-101', MASK),
    'sae_resnext50': ('SaE-ResNeXt-50', MASK),
    'se_resnet50': ('SE-ResNet-50', MASK),
}
REMARKS = {
    'hsresnet50_d_24w4s': (
        "# The size, 27.55M parameters as a classifier, is said to be the paper's; that is unverified.\n"
    ),
}


@dataclass(frozen=True)
class Baseline:
    """A backbone of MMDetection's to compare with; in ``model``, FREEZING is what follows from a checkpoint."""

    title: str
    collection: str
    schedules: dict[str, tuple[str, ...]]
    model: str


FREEZING = "importlib.import_module('mmhybrid.zoo').freezing(backbone_checkpoint)"
BASELINE_PAPERS = {
    'ResNet': ('Deep Residual Learning for Image Recognition', '1512.03385'),
    'ResNeXt': ('Aggregated Residual Transformations for Deep Neural Networks', '1611.05431'),
    'ResNeSt': ('ResNeSt: Split-Attention Networks', '2004.08955'),
    'Res2Net': ('Res2Net: A New Multi-scale Backbone Architecture', '1904.01169'),
}
BASELINES = {
    'resnet50': Baseline('ResNet-50', 'ResNet', dict.fromkeys(ALL, ('1x', '2x')), 'model = dict(backbone=FREEZING)\n'),
    'resnet101': Baseline(
        'ResNet-101',
        'ResNet',
        dict.fromkeys(MASK, ('1x', '2x')),
        'model = dict(backbone=dict(depth=101, **FREEZING))\n',
    ),
    'resnext50': Baseline(
        'ResNeXt-50',
        'ResNeXt',
        dict.fromkeys(ALL, ('2x',)) | dict.fromkeys(MASK, ('1x', '2x')),
        """\
model = dict(
    backbone=dict(
        type='ResNeXt', groups=32, base_width=4, **FREEZING
    )
)
""",
    ),
    'resnest50': Baseline(
        'ResNeSt-50',
        'ResNeSt',
        dict.fromkeys(ALL, ('2x',)),
        """\
model = dict(
    backbone=dict(
        type='ResNeSt',
        stem_channels=64,
        radix=2,
        reduction_factor=4,
        **FREEZING,
    )
)
""",
    ),
    'res2net50': Baseline(
        'Res2Net-50',
        'Res2Net',
        dict.fromkeys(ALL, ('1x',)),
        """\
model = dict(
    backbone=dict(
        type='Res2Net', scales=4, base_width=26, **FREEZING
    )
)
""",
    ),
}

CONFIG = """\
# {title}, {backbone}, FPN, {schedule} schedule ({ours}{epochs} epochs, 16 images a step, 1333x800).
{remark}_base_ = [
    '_base_/models/{detector}_fpn.py',
    '_base_/datasets/{dataset}.py',
    'mmdet::_base_/schedules/schedule_{schedule}.py',
    '_base_/runtime.py',
]

import importlib

# ImageNet weights of the backbone, a path or a URL. With them, stage 1 and the batch norms are frozen; with None,
# nothing is.
backbone_checkpoint = None

{model}{lines}"""


@dataclass(frozen=True)
class Config:
    """One config: its name, its text, and what the metafile and docs/configs.md say of it."""

    name: str
    text: str
    detector: str
    backbone: str
    collection: str
    schedule: str
    ours: bool


def all_configs() -> Iterator[Config]:
    """The configs in the order of the metafile."""
    for name, (title, detectors) in VARIANTS.items():
        collection = COLLECTIONS[variants.VARIANTS[name].family]
        model = f"model = importlib.import_module('mmhybrid.zoo').detector_parts('{name}', backbone_checkpoint)\n"
        told = dict(ours='ours: ' if collection.ours else '', remark=REMARKS.get(name, ''))
        for detector in detectors:
            yield _config(detector, name, title, collection.schedule, collection.name, model, **told)
    for name, baseline in BASELINES.items():
        model = baseline.model.replace('FREEZING', FREEZING)
        for detector in ALL:
            for schedule in baseline.schedules.get(detector, ()):
                yield _config(detector, name, baseline.title, schedule, baseline.collection, model)


def _config(detector, name, title, schedule, collection, model, ours='', remark='') -> Config:
    text = CONFIG.format(
        title=DETECTORS[detector].title,
        backbone=title,
        schedule=schedule,
        ours=ours,
        epochs=EPOCHS[schedule],
        remark=remark,
        detector=detector,
        dataset=DETECTORS[detector].dataset,
        model=model,
        lines=DETECTORS[detector].lines,
    )
    return Config(f'{detector}_{name}_fpn_{schedule}', text, detector, title, collection, schedule, bool(ours))


def papers() -> dict[str, tuple[str, str]]:
    """Title and arXiv number of each collection's paper."""
    families = {c.name: variants.FAMILIES[family] for family, c in COLLECTIONS.items()}
    return {name: (family.title, family.arxiv) for name, family in families.items()} | BASELINE_PAPERS


def metafile(configs: list[Config]) -> str:
    """The index of the configs that OpenMIM reads."""
    lines = ['# The COCO configs, for OpenMIM. None has been trained here yet: no results, no weights.', 'Collections:']
    for name, (title, arxiv) in papers().items():
        lines += [f'  - Name: {name}', f"    Paper: {{Title: '{title}', URL: 'https://arxiv.org/abs/{arxiv}'}}"]
    lines += ['', 'Models:']
    named = set()
    for config in configs:
        schedule = config.schedule
        # A schedule's first config gives it its name in YAML.
        new = schedule not in named
        metadata = f'&{schedule} {{Training Data: COCO, Epochs: {EPOCHS[schedule]}}}' if new else f'*{schedule}'
        named.add(schedule)
        lines += [
            f'  - {{Name: {config.name}, In Collection: {config.collection}, Metadata: {metadata},',
            f'     Config: configs/{config.name}.py, Results: [], Weights: null}}',
        ]
    return '\n'.join(lines) + '\n'


def main(argv: list[str] | None = None) -> int:
    """Write the files, or with ``--check`` compare them.

    Returns:
        0, 1 if ``--check`` found a difference, or 2 after one sentence on stderr if the folder cannot be used.
    """
    parser = argparse.ArgumentParser(
        description='Write the COCO configs, backbones x detectors, and their metafile.yml.',
        epilog=f'example:\n  python {TOOL} --check',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--out-dir', type=Path, default=CONFIGS, metavar='DIR', help='default: configs')
    parser.add_argument('--check', action='store_true', help='write nothing; say which files differ, and exit with 1')
    args = parser.parse_args(argv)
    configs = list(all_configs())
    wanted = {f'{config.name}.py': config.text for config in configs} | {'metafile.yml': metafile(configs)}
    return mistakes.run(lambda: (check if args.check else write)(wanted, args.out_dir))


def write(wanted: dict[str, str], folder: Path) -> None:
    """Write files by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in wanted.items():
        (folder / name).write_text(text, encoding='utf-8')
    print(f'wrote {len(wanted)} files into {folder}')


def check(wanted: dict[str, str], folder: Path) -> int:
    """Compare the files of a folder with those that would be written; files of other names do not count."""
    paths = [path for pattern in ('*_fpn_[12]x.py', 'metafile.yml') for path in folder.glob(pattern)]
    have = {path.name: path.read_text(encoding='utf-8') for path in paths}
    problems = [f'{folder / name} is missing' for name in wanted.keys() - have.keys()]
    problems += [f'{folder / name} is not in the tables of {TOOL}' for name in have.keys() - wanted.keys()]
    both = wanted.keys() & have.keys()
    problems += [f'{folder / name} differs from what {TOOL} writes' for name in both if wanted[name] != have[name]]
    for problem in sorted(problems):
        print(problem, file=sys.stderr)
    if problems:
        return 1
    print(f'{len(wanted)} files in {folder} are as written')
    return 0


if __name__ == '__main__':
    sys.exit(main())
