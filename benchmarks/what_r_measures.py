"""What does r measure: being hidden, or crowding? Spearman's correlation with occlusion as people annotated it.

    python benchmarks/what_r_measures.py --citypersons val_gt.json --kaist KAIST_annotation.json
    python benchmarks/what_r_measures.py --olac occlusion_label_val.json --coco instances_val2017.json
    python benchmarks/what_r_measures.py

Any of the data sets may be given, your own copies; none is in the repository. Each is recorded in
benchmarks/results/what_r_measures/NAME.json, and the middle of docs/what_r_measures.md and its figure are made again
from all records; without data that is all. Intervals are of resamples of the images.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path

from what_r_measures_steps import correlations, page
from what_r_measures_steps.sources import SOURCES

from mmhybrid.errors import InputError
from mmhybrid.version import __version__

REPO = Path(__file__).resolve().parents[1]
KEPT = REPO / 'benchmarks' / 'results' / 'what_r_measures'
PAGE = REPO / 'docs' / 'what_r_measures.md'
SCHEMA = 'mmhybrid.what_r_measures'
FILES = {
    'citypersons': 'annotations of CityPersons as its evaluation reads them, with vis_ratio',
    'kaist': 'KAIST_annotation.json, with levels of occlusion',
    'crowdhuman': 'annotation_val.odgt of CrowdHuman',
    'kins': 'annotations of KINS, with amodal and visible masks',
    'shapes': 'instances_val.json of tools/make_occluded_shapes.py',
    'olac': 'labels of COCO-OLAC, with --coco',
    'coco': 'instances_val2017.json of COCO, or a part of it, with --olac',
    'crowdpose': 'crowdpose_test.json, with a crowdIndex of each image',
}


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, text in FILES.items():
        parser.add_argument(f'--{name}', type=Path, metavar='FILE', help=text)
    parser.add_argument('--resamples', type=int, default=1000, metavar='N', help='of the images (%(default)s)')
    parser.add_argument('--seed', type=int, default=0, metavar='N', help='of the resamples (%(default)s)')
    parser.add_argument('--kept', type=Path, default=KEPT, metavar='FOLDER', help='where records are kept')
    parser.add_argument('--page', type=Path, default=PAGE, metavar='FILE', help='the page to write the tables into')
    return parser


def main(argv: list[str] | None = None) -> int:
    """Measure what is given, keep it, write the page."""
    args = make_parser().parse_args(argv)
    files = {name: getattr(args, name) for name in FILES if getattr(args, name) is not None}
    try:
        if ('olac' in files) != ('coco' in files):
            raise InputError('one of --olac and --coco is given alone; labels and annotations go together.')
        for name in (each for each in SOURCES if each in files):
            document = record(name, files, args.resamples, args.seed)
            args.kept.mkdir(parents=True, exist_ok=True)
            (args.kept / f'{name}.json').write_text(json.dumps(document, indent=1) + '\n', encoding='utf-8')
            print(page.told(document))
        page.write(recorded(args.kept), args.page)
    except (InputError, OSError) as error:
        print(f'what_r_measures.py: {error}', file=sys.stderr)
        return 1
    return 0


def record(name: str, files: dict[str, Path], resamples: int, seed: int) -> dict:
    """All that is kept of a data set: what was read, by what, and the numbers."""
    source = SOURCES[name]
    annotated = source.read(files)
    used = {key: files[key] for key in (name, *source.needs)}
    for note in annotated.gt.notes:
        print(f'note: {note}', file=sys.stderr)
    options = ' '.join(f'--{key} {path.name}' for key, path in used.items())
    return {
        'schema': SCHEMA,
        'name': name,
        'command': f'python benchmarks/what_r_measures.py {options} --resamples {resamples} --seed {seed}',
        'files': {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in used.values()},
        'versions': {'mmhybrid': __version__, 'numpy': version('numpy'), 'python': platform.python_version()},
        'settings': {'resamples': resamples, 'seed': seed, 'confidence': correlations.CONFIDENCE},
        'images_of_file': len(annotated.gt.image_ids),
        **correlations.measure(annotated, resamples, seed),
    }


def recorded(kept: Path) -> dict[str, dict]:
    """What is kept, by name, in the order of the sources."""
    files = {name: kept / f'{name}.json' for name in SOURCES}
    return {name: json.loads(file.read_text(encoding='utf-8')) for name, file in files.items() if file.exists()}


if __name__ == '__main__':
    sys.exit(main())
