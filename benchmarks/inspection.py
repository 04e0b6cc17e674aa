"""The pictures and numbers of docs/inspect.md, each made by the command that stands beside it there.

    make demo
    python benchmarks/occlusion_study.py run --models resnet50 sae_resnet50 dsnet50 hcgnet_b --seeds 0 \\
        --kept work_dirs/inspected/runs --work-dir work_dirs/inspected --keep-checkpoints
    python benchmarks/inspection.py run
    python benchmarks/inspection.py render

`run` runs the commands, some of which may be named, from the repository's root, and keeps what they found: figures in
docs/images/inspect, all but long lists of numbers in benchmarks/results/inspect. `render` writes the page from
docs/inspect.template.md and what is kept.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image

REPO = Path(__file__).resolve().parents[1]
DOCS = REPO / 'docs'
TEMPLATE, PAGE = DOCS / 'inspect.template.md', DOCS / 'inspect.md'
IMAGES, KEPT = DOCS / 'images' / 'inspect', REPO / 'benchmarks' / 'results' / 'inspect'
WORK = Path('work_dirs', 'inspect')
LONGEST = 200  # numbers of one list that is kept
PICTURES = {'filters-weights': (), 'gates-hcgnet': (0, 1, 4), 'receptive-field': (0,)}  # which are kept, where not all

DEMO = 'configs/demo_mask_rcnn_tiedresnet_occluded_shapes.py work_dirs/demo/seed0/epoch_3.pth'
DATA = '--cfg-options data_root=work_dirs/demo/occluded_shapes/'


def study(model: str) -> str:
    """Config and checkpoint of a run of the study."""
    folder = f'work_dirs/inspected/cpu/{model}/seed0'
    return f'{folder}/config.py {folder}/epoch_3.pth'


def classifier(backbone: str) -> str:
    """Config and checkpoint of one epoch of CIFAR-10, as docs/weights.md trains."""
    folder = f'work_dirs/cifar10_{backbone}'
    return f'{folder}/cifar10.py {folder}/epoch_1.pth'


BOTH = f'{DEMO} --versus {study("resnet50")} --name TiedResNet ResNet {DATA}'
# What the page calls a command -> its words after `mmhybrid inspect`, without --out-dir.
COMMANDS = {
    'filters': f'filters {BOTH}',
    'filters-weights': f'filters {BOTH} --by weights',
    'cam': f'cam {DEMO} --name TiedResNet {DATA} --limit 3 --detections 2 --levels backbone.0 backbone.1 neck.0',
    'fgsm': f'fgsm {BOTH}',
    'fgsm-classifiers': f'fgsm {classifier("resnet50")} --versus {classifier("tiedresnet50")} --name ResNet-50 '
    'TiedResNet-50 --limit 500 --cfg-options data_root=data/cifar10/',
    'proposals': f'proposals {BOTH} --score-thr 0.1 --draw 1',
    'gates-hcgnet': f'gates {study("hcgnet_b")} --name HCGNet',
    'gates-sae': f'gates {study("sae_resnet50")} --name SaE-ResNet',
    'shortcuts': f'shortcuts {study("dsnet50")} --name DSNet',
    'receptive-field': f'receptive-field {BOTH}',
    'cka': f'cka {BOTH}',
}


def shown(name: str) -> str:
    """A command as a user types it."""
    return f'mmhybrid inspect {COMMANDS[name]} --out-dir {(WORK / name).as_posix()}'


def run(names: list[str]) -> int:
    """Run commands and keep what they found; the number of those that failed."""
    failed = 0
    for name in names:
        words = shlex.split(shown(name))
        print(f'$ {shown(name)}', flush=True)
        start = time.monotonic()
        done = subprocess.run([sys.executable, '-m', 'mmhybrid', *words[1:]], cwd=REPO)
        seconds = time.monotonic() - start
        if done.returncode:
            failed += 1
            continue
        keep(name, REPO / WORK / name, seconds)
    return failed


def keep(name: str, folder: Path, seconds: float) -> None:
    """Copy figures, and the document without long lists; ``seconds`` are of the whole command."""
    (path,) = folder.glob('*.json')
    document = json.loads(path.read_text(encoding='utf-8'))
    document['command'], document['seconds'] = shown(name), round(seconds, 1)
    document['hardware'] = f'{platform.machine()} CPU'
    document['numbers'] = shortened(document['numbers'])
    IMAGES.mkdir(parents=True, exist_ok=True)
    for old in IMAGES.glob(f'{name}.*.png'):
        old.unlink()
    document['pictures'] = []
    figures = document.pop('figures')
    for number in PICTURES.get(name, range(len(figures))):
        files = figures[number]
        target = IMAGES / f'{name}.{number}.png'
        with Image.open(folder / next(file for file in files if file.endswith('.png'))) as picture:
            # 256 colours: a third of the size, and no difference to the eye.
            picture.convert('RGB').quantize(256).save(target, optimize=True)
        document['pictures'].append(target.name)
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f'{name}.json').write_text(json.dumps(document, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')


def shortened(value: Any) -> Any:
    """Without lists of more than :data:`LONGEST` numbers, counted with those within."""
    if isinstance(value, dict):
        return {key: shortened(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shortened(each) for each in value] if size(value) <= LONGEST else f'{size(value)} values left out'
    return value


def size(value: Any) -> int:
    """Values within lists and objects."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 1 if inner is None else sum(map(size, inner))


def render(template: str, documents: dict[str, dict[str, Any]]) -> str:
    """Fill ``{{command NAME}}``, ``{{pictures NAME}}``, ``{{answer NAME}}`` and ``{{about NAME}}``."""
    return re.sub(r'\{\{(\w+) ([\w-]+)\}\}', lambda match: FILLS[match[1]](match[2], documents[match[2]]), template)


def _command(name: str, document: dict[str, Any]) -> str:
    words = re.sub(r' (--)', r' \\\n    \1', document['command'])
    return f'```bash\n{words}   # {document["seconds"]:.0f} s\n```'


def _pictures(name: str, document: dict[str, Any]) -> str:
    return '\n\n'.join(f'![{document["kind"]}](images/inspect/{picture})' for picture in document['pictures'])


def _answer(name: str, document: dict[str, Any]) -> str:
    told = [*document['answer'], *(f'Note: {note}' for note in document['notes'])]
    return '\n>\n'.join(f'> {sentence}' for sentence in told)


FILLS = {
    'command': _command,
    'pictures': _pictures,
    'answer': _answer,
    'about': lambda name, document: document['about'],
}


def kept() -> dict[str, dict[str, Any]]:
    """What is kept, by name."""
    return {path.stem: json.loads(path.read_text(encoding='utf-8')) for path in sorted(KEPT.glob('*.json'))}


def main(argv: list[str] | None = None) -> int:
    """Run or render."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='do', required=True)
    again = commands.add_parser('run', help='run the commands of the page')
    again.add_argument('names', nargs='*', metavar='NAME', help=f'{", ".join(COMMANDS)} (default: all)')
    commands.add_parser('render', help='write the page')
    args = parser.parse_args(argv)
    if args.do == 'run':
        if unknown := [name for name in args.names if name not in COMMANDS]:
            parser.error(f'there is no {unknown[0]}; choose from {", ".join(COMMANDS)}')
        return 1 if run(args.names or list(COMMANDS)) else 0
    PAGE.write_text(render(TEMPLATE.read_text(encoding='utf-8'), kept()), encoding='utf-8')
    print(f'wrote {PAGE.relative_to(REPO)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
