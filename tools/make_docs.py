#!/usr/bin/env python3
"""Count backbones and detectors: docs/backbones.md, docs/configs.md, and what ``mmhybrid models`` shows."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / 'docs'
KEPT = ROOT / 'mmhybrid' / 'counting' / 'models.json'
CONFIGS = ROOT / 'configs'
# ImageNet classifiers of the literature: parameters and multiply-adds at 224x224 of ResNet-50 and ResNet-101 (stride
# on the 3x3), and the fast ResNeSt-50 (2s1x64d).
RESNET50, RESNET101 = (25_557_032, 4_089_184_256), (44_549_160, 7_801_405_440)
RESNEST50_FAST = (27_483_240, 4.33e9)
CIFAR_CLASSES, CLASSES = 100, 1000


def classes(row) -> int:
    """Classes that the variant's papers count with."""
    return CIFAR_CLASSES if row.shape == (32, 32) else CLASSES


def whole(row) -> int:
    """Parameters with the classifier."""
    return row.parameters + (row.out_channels[-1] + 1) * classes(row)


def adds(row) -> int:
    """Multiply-adds with the classifier."""
    return row.multiply_adds + row.out_channels[-1] * classes(row)


def _m(count: int) -> str:
    return f'{count / 1e6:.3f}M'


def _g(count: int) -> str:
    return f'{count / 1e9:.2f}G'


# Family: what is compared, the paper's number, and ours from the rows by name.
CLAIMS: dict[str, list[tuple[str, str, Callable]]] = {
    'tbc': [
        ('tiedresnet50_s, parameters of ResNet-50', '54%', lambda r: f'{whole(r["tiedresnet50_s"]) / RESNET50[0]:.1%}'),
        ('tiedresnet50_s, FLOPs of ResNet-50', '60%', lambda r: f'{adds(r["tiedresnet50_s"]) / RESNET50[1]:.1%}'),
        ('tiedresnet50, parameters of ResNet-50', '10% fewer', lambda r: _less(r, 'tiedresnet50', RESNET50)),
        ('tiedresnet101, parameters of ResNet-101', '10% fewer', lambda r: _less(r, 'tiedresnet101', RESNET101)),
        ('tiedresnest50_s, parameters of ResNeSt-50-fast', '59%',
         lambda r: f'{whole(r["tiedresnest50_s"]) / RESNEST50_FAST[0]:.1%}'),
        ('tiedresnest50_s, FLOPs of ResNeSt-50-fast', '82%',
         lambda r: f'{adds(r["tiedresnest50_s"]) / RESNEST50_FAST[1]:.1%}'),
        ('TiedSE (B = 8) in ResNet-50, parameters of SE', '0.04M',
         lambda r: _m(whole(r['resnet50_tiedse']) - RESNET50[0])),
        ('TiedGCB (B = 2) in a 50-layer network, parameters of GCB', '2.5M',
         lambda r: _m(r['tiedresnet50_tiedgcb'].parameters - r['tiedresnet50'].parameters)),
    ],
    'hcgnet': [
        (f'hcgnet_{name}, FLOPs', paper, lambda r, name=name: _g(adds(r[f'hcgnet_{name}'])))
        for name, paper in dict(b='2.0G', c='7.0G', a1='0.16G', a2='0.50G', a3='1.99G').items()
    ],
    'dsnet': [],
    'hsresnet': [],
    'senetv2': [
        ('sae_resnet50, parameters', '30.60M', lambda r: _m(whole(r['sae_resnet50']))),
        ('sae_resnext50, parameters', '30.08M', lambda r: _m(whole(r['sae_resnext50']))),
    ],
}  # fmt: skip


def _less(rows, name: str, reference: tuple[int, int]) -> str:
    return f'{1 - whole(rows[name]) / reference[0]:.1%} fewer'


def render(template: str, rows: list) -> str:
    """Fill the template's placeholders from counted rows."""
    from mmhybrid.counting import COUNTED

    by_name = {row.name: row for row in rows}

    def fill(match: re.Match) -> str:
        kind, family = match[1], match[2]
        if kind == 'counted':
            return COUNTED
        if kind == 'classes':
            return f'{CLASSES} classes ({CIFAR_CLASSES} for HCGNet-A)'
        if kind == 'table':
            return table([row for row in rows if row.family == family])
        return claims(family, by_name)

    return re.sub(r'\{\{(\w+)(?: (\w+))?\}\}', fill, template)


def table(rows: list) -> str:
    """The variants of a family as Markdown."""
    lines = [
        '| variant | class | parameters | with classifier | multiply-adds | channels | strides |',
        '| --- | --- | ---: | ---: | ---: | --- | --- |',
    ]
    for row in rows:
        lines.append(
            f'| `{row.name}` | {row.type} | {row.parameters:,} | {whole(row):,} | {row.multiply_adds:,} '
            f'| {" ".join(map(str, row.out_channels))} | {" ".join(map(str, row.out_strides))} |'
        )
    return '\n'.join(lines)


def claims(family: str, rows: dict) -> str:
    """The paper's counts next to ours, as Markdown."""
    from mmhybrid.variants import FAMILIES

    title, arxiv = FAMILIES[family].title, FAMILIES[family].arxiv
    source = f'Paper: {title}, [arXiv {arxiv}](https://arxiv.org/abs/{arxiv}).'
    if not CLAIMS[family]:
        return source
    lines = ['| count | paper | ours |', '| --- | ---: | ---: |']
    lines += [f'| {text} | {paper} | {ours(rows)} |' for text, paper, ours in CLAIMS[family]]
    return '\n'.join(lines) + '\n\n' + source


@dataclass(frozen=True)
class Trained:
    """A config's parameters, images a step and learning rate, counted from what the file builds."""

    backbone: int
    detector: int
    batch: int
    lr: float


def count_configs(paths: Iterable[Path]) -> dict[str, Trained]:
    """Build the detector of each config without memory for its weights, and count it; by the file's name."""
    import mmengine.config.utils
    import torch
    from mmdet.registry import MODELS
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    import mmhybrid.registry  # noqa: F401 (the backbones)

    # MMEngine reads all of MMDetection's metafiles again for each `mmdet::` in a config: once is enough.
    load = mmengine.config.utils.load
    mmengine.config.utils.load = cache(load)
    counted = {}
    try:
        for path in paths:
            cfg = Config.fromfile(path)
            init_default_scope(cfg.default_scope)
            with torch.device('meta'):
                model = MODELS.build(cfg.model)
            counted[path.stem] = trained(model, cfg)
    finally:
        mmengine.config.utils.load = load
    return counted


def trained(model, cfg) -> Trained:
    """What the page says of a detector that was built, and of how its config trains it."""
    backbone, detector = (sum(p.numel() for p in module.parameters()) for module in (model.backbone, model))
    # The demo has no batch to scale its learning rate from: that of its loader is what it trains with.
    batch = cfg.get('auto_scale_lr', {}).get('base_batch_size', cfg.train_dataloader.batch_size)
    return Trained(backbone, detector, batch, cfg.optim_wrapper.optimizer.lr)


def render_configs(template: str, counted: dict[str, Trained]) -> str:
    """Fill docs/configs.template.md from counted configs: a table for each detector, and what else it names."""
    from mmhybrid.tools import make_configs

    configs = list(make_configs.all_configs())

    def fill(match: re.Match) -> str:
        kind, name = match[1], match[2]
        if kind == 'number':
            return str(len(configs))
        if kind == 'parameters':
            return f'{counted[name].detector:,}'
        parts = []
        for detector, words in make_configs.DETECTORS.items():
            chosen = [config for config in configs if config.detector == detector]
            (how,) = {(counted[config.name].batch, counted[config.name].lr) for config in chosen}
            told = f'{len(chosen)} configs; {how[0]} images a step, learning rate {how[1]}.'
            parts += [f'## {words.title}', told, _configs_table(chosen, counted)]
        return '\n\n'.join(parts)

    return re.sub(r'\{\{(\w+)(?: (\w+))?\}\}', fill, template)


def _configs_table(configs: list, counted: dict[str, Trained]) -> str:
    from mmhybrid.tools import make_configs

    papers = make_configs.papers()
    lines = [
        '| backbone | schedule | backbone parameters | detector parameters | paper | config |',
        '| --- | --- | ---: | ---: | --- | --- |',
    ]
    for config in configs:
        count, paper = counted[config.name], f'https://arxiv.org/abs/{papers[config.collection][1]}'
        lines.append(
            f'| {config.backbone} | {config.schedule}{" (ours)" * config.ours} | {count.backbone:,} '
            f'| {count.detector:,} | [{config.collection}]({paper}) '
            f'| [`{config.name}`](../configs/{config.name}.py) |'
        )
    return '\n'.join(lines)


def main(argv: list[str] | None = None) -> int:
    """Count all backbones and detectors and write the pages."""
    parser = argparse.ArgumentParser(
        description='Count every backbone and config, two minutes or three, and write docs/backbones.md, '
        'docs/configs.md and mmhybrid/counting/models.json.',
        epilog='example:\n  python tools/make_docs.py',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--out', type=Path, default=DOCS / 'backbones.md', metavar='FILE', help='default: %(default)s')
    parser.add_argument(
        '--configs', type=Path, default=DOCS / 'configs.md', metavar='FILE', help='default: %(default)s'
    )
    parser.add_argument('--json', type=Path, default=KEPT, metavar='FILE', help='default: %(default)s')
    args = parser.parse_args(argv)
    from mmhybrid.counting import count_models
    from mmhybrid.counting.tables import models_json

    counted = count_configs(sorted(CONFIGS.glob('*.py')))
    page = render_configs((DOCS / 'configs.template.md').read_text(encoding='utf-8'), counted)
    args.configs.write_text(page, encoding='utf-8')
    rows = list(count_models(progress=lambda message: print(message, file=sys.stderr, flush=True)))
    args.out.write_text(render((DOCS / 'backbones.template.md').read_text(encoding='utf-8'), rows), encoding='utf-8')
    args.json.write_text(models_json(rows), encoding='utf-8')
    print(f'wrote {args.configs}, {args.out} and {args.json}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
