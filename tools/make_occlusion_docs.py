#!/usr/bin/env python3
"""Run the worked examples of docs/occlusion.md and docs/annotated.md, and draw their pictures."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from mmhybrid import mistakes
from mmhybrid.arguments import Parser
from mmhybrid.datasets.occluded_shapes import generate
from mmhybrid.errors import InputError
from mmhybrid.figure_style import LIGHT, THEMES, drawing, new_figure
from mmhybrid.occlusion import covered_fractions, covered_ratio, max_iou, multi_ratio, pairwise_ratio
from mmhybrid.occlusion.show import figures

REPO = Path(__file__).resolve().parents[1]
DOCS, KEPT = REPO / 'docs', REPO / 'benchmarks' / 'results' / 'occlusion_pages'
SHAPES = KEPT / 'shapes_val.json.gz'
COLUMNS = 104  # of the terminal that the pages show
# Name of an example -> the page that has its command, the picture that is shown there, and what that is called.
EXAMPLES = {
    'shapes': ('occlusion.md', 'occlusion.png', 'occlusion_example.png'),
    'kaist': ('annotated.md', 'occlusion_miss_rate.png', 'kaist_miss_rate.png'),
}
COMMAND = re.compile(r'^```bash\n(mmhybrid occlusion compare [^`]*?)\n```\n\nprints, among others,', re.M)
# Boxes as x, y, width, height on a canvas of 12 x 8.
SCENES = {
    'apart': [(1, 2, 4, 4), (7, 2, 4, 4)],
    'half over each other': [(2, 2, 5, 4), (4.5, 2, 5, 4)],
    'two identical': [(3, 2, 6, 4), (3, 2, 6, 4)],
    'four identical': [(3, 2, 6, 4)] * 4,
    'one small in a large': [(1, 1, 10, 6), (7, 3.5, 3, 2.5)],
    'a heap': [(1, 1, 5, 4), (3, 2.5, 5, 4), (5, 1.5, 5, 4), (8.5, 4.5, 3, 2.5)],
}


def main() -> int:
    """Write the pictures, and a record of what each example's command printed."""
    parser = Parser(
        prog='python tools/make_occlusion_docs.py',
        description='Draw the definitions with the numbers that the code gives, run the worked example of '
        'docs/occlusion.md on files of the repository and, with --kaist, that of docs/annotated.md on a copy of KAIST. '
        'What they print is kept in benchmarks/results/occlusion_pages, which tests hold against the pages.',
    )
    parser.epilog = 'example:\n  python tools/make_occlusion_docs.py --kaist data/kaist'
    parser.add_argument('--out-dir', type=Path, default=DOCS / 'images', metavar='DIR', help='default: docs/images')
    parser.add_argument('--records', type=Path, default=KEPT, metavar='DIR', help='where records go')
    text = 'folder with KAIST_annotation.json, MBNet_result.txt and MSDS-RCNN_result.txt'
    parser.add_argument('--kaist', type=Path, metavar='DIR', help=text)

    def run() -> None:
        args = parser.parse_args()
        for folder in (args.out_dir, args.records):
            folder.mkdir(parents=True, exist_ok=True)
        write(args.out_dir / 'occlusion_definitions.svg', in_both_themes(figures.to_bytes(definitions(), 'svg')))
        if not SHAPES.exists():
            write(SHAPES, boxes_of_shapes())
        example('shapes', REPO, args.records, args.out_dir)
        if args.kaist:
            example('kaist', args.kaist, args.records, args.out_dir)

    return mistakes.run(run)


def write(path: Path, content: bytes) -> None:
    """Write a file and say so."""
    path.write_bytes(content)
    print(f'wrote {path}')


def boxes_of_shapes() -> bytes:
    """The validation images of the demo and the study, without masks: packed JSON, each time the same."""
    with tempfile.TemporaryDirectory() as folder:
        # A split's place among the splits seeds it, and its first images do not hang on how many there are.
        generate(folder, {'train': 1, 'val': 500}, progress=False)
        made = json.loads(Path(folder, 'annotations', 'instances_val.json').read_text())
    keys = ('id', 'image_id', 'category_id', 'bbox', 'area', 'iscrowd')
    made['annotations'] = [{key: row[key] for key in keys} for row in made['annotations']]
    return gzip.compress(json.dumps(made, separators=(',', ':')).encode(), mtime=0)


def command_of(name: str) -> str:
    """The command of an example, as its page has it."""
    found = COMMAND.search((DOCS / EXAMPLES[name][0]).read_text(encoding='utf-8'))
    if found is None:
        raise InputError(f'docs/{EXAMPLES[name][0]}: has no command that "prints, among others,"; give it one.')
    return found[1]


def printed(name: str, at: Path, out_dir: Path) -> str:
    """What an example's command prints when it is run in the folder ``at``, but for the files that it wrote."""
    words = shlex.split(command_of(name).replace('\\\n', ' '))
    done = subprocess.run(
        [sys.executable, '-m', 'mmhybrid.cli', *words[1:], '--out-dir', str(out_dir.resolve())],
        cwd=at, env=os.environ | {'COLUMNS': str(COLUMNS), 'PYTHONPATH': str(REPO), 'PYTHONUTF8': '1'},
        capture_output=True, encoding='utf-8',
    )  # fmt: skip
    if done.returncode:
        raise InputError(f'{name}: {done.stderr.splitlines()[-1]}')
    return ''.join(f'{line.rstrip()}\n' for line in done.stdout.splitlines() if not line.startswith('wrote '))


def example(name: str, at: Path, records: Path, images: Path) -> None:
    """Run an example; keep what it printed, by which versions and of which files, and its picture."""
    _, source, target = EXAMPLES[name]
    with tempfile.TemporaryDirectory() as folder:
        output = printed(name, at, Path(folder))
        shutil.copyfile(Path(folder, source), images / target)
    words = shlex.split(command_of(name).replace('\\\n', ' '))
    files = sorted({path for word in words if (at / (path := word.rpartition('=')[2])).is_file()})
    record = {
        'command': command_of(name).splitlines(),
        'columns': COLUMNS,
        'versions': versions(),
        'sha256': {path: hashlib.sha256((at / path).read_bytes()).hexdigest() for path in files},
        'output': output.splitlines(),
    }
    print(f'wrote {images / target}')
    content = json.dumps(record, indent=1, ensure_ascii=False) + '\n'
    write(records / f'{name}.json', content.encode())


def versions() -> dict[str, str]:
    """What made the numbers."""
    found = {'python': platform.python_version()}
    for package in ('mmhybrid', 'numpy', 'pycocotools', 'hotcoco'):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def definitions():
    """One panel a scene: its boxes, each with its covered fraction, and the ratios below."""
    with drawing():
        figure = new_figure(9.6, 6.2)
        for axes, (name, boxes) in zip(figure.subplots(2, 3).flat, SCENES.items(), strict=True):
            boxes = np.array(boxes, dtype=float)
            _draw(axes, boxes, covered_fractions(boxes))
            axes.set_title(name, fontsize=11)
            axes.set_xlabel(
                f'covered {covered_ratio(boxes):.2f}   multi {multi_ratio(boxes):.2f}\n'
                f'pairwise {pairwise_ratio(boxes):.2f}   max-iou {max_iou(boxes):.2f}',
                fontsize=10,
            )
    return figure


def _draw(axes, boxes: np.ndarray, fractions: np.ndarray) -> None:
    from matplotlib.patches import Rectangle

    for i, (box, fraction) in enumerate(zip(boxes, fractions, strict=True)):
        same = (boxes == box).all(axis=1)
        number, count = same[:i].sum(), same.sum()
        # Identical boxes would hide one another: they keep their size and stand like cards of a pile.
        x, y = box[:2] + 0.4 * (number - (count - 1) / 2)
        colour = LIGHT.models[i % len(LIGHT.models)]
        axes.add_patch(Rectangle((x, y), *box[2:], facecolor=colour, alpha=0.18))
        axes.add_patch(Rectangle((x, y), *box[2:], fill=False, edgecolor=colour, linewidth=2))
        if count == 1:
            axes.annotate(f'{fraction:.0%}', (x, y), xytext=(4, 4), textcoords='offset points', fontsize=9)
        elif number == 0:
            middle = box[:2] + box[2:] / 2
            axes.annotate(f'{count} × the same box\n{fraction:.0%} each', middle, ha='center', va='center', fontsize=9)
    axes.set(xlim=(0, 12), ylim=(0, 8), xticks=[], yticks=[], aspect='equal')
    for side in axes.spines.values():
        side.set_visible(False)


def in_both_themes(svg: bytes) -> bytes:
    """A light figure that is dark where the reader's system is."""
    light, dark = (THEMES[name].colours() for name in ('light', 'dark'))
    rules = [
        f'[style*="{what}: {light[name]}"] {{ {what}: {dark[name]} !important }}'
        for name in light
        for what in ('fill', 'stroke')
    ]
    style = f'<style>@media (prefers-color-scheme: dark) {{ {" ".join(dict.fromkeys(rules))} }}</style>\n'
    return svg.replace(b'</svg>', style.encode() + b'</svg>')


if __name__ == '__main__':
    sys.exit(main())
