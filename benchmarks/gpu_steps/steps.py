"""The steps in order of worth, as data, with what each takes."""

from functools import partial
from typing import Any

from . import children, detectors, kept, pretraining
from .children import Child
from .detectors import MAIN, Job
from .loan import Context, Step

OTHERS = {
    'retinanet': 'retinanet_tiedresnet50_fpn_2x',
    'cascade': 'cascade_mask_rcnn_dsnet50_fpn_1x',
    'hcgnet': 'mask_rcnn_hcgnet_b_fpn_1x',
}
# Measured on an H200, but for retinanet, of which the others let expect so much.
OTHERS_SECONDS = {'retinanet': 80, 'cascade': 79, 'hcgnet': 96}
# In order of worth; torch.compile takes minutes for each backbone and has no place in a short loan.
SPEED = {
    'detectors': ('amp', 'eager', 'amp+channels_last'),
    'backbones': ('eager', 'bf16+channels_last', 'bf16', 'channels_last', 'fused'),
    'layers': ('eager', 'bf16', 'bf16+channels_last', 'channels_last'),
}
# Shorter samples than the harness takes by default, so that there is time for several rounds in all modes.
SPEED_OPTIONS = {
    'detectors': ['--iterations', '5'],
    'backbones': ['--min-seconds', '0.03'],
    'layers': ['--min-seconds', '0.03'],
}
# What is kept of a speed step's time for starting, a round more, or a model that is slow to prepare.
SPEED_SLACK = 40
SPEED_SMALL = {
    'detectors': ['--names', 'tiedresnet50', '--modes', 'eager', '--shape', '1', '3', '64', '64'],
    'backbones': ['--names', 'tiedresnet50_s', '--modes', 'eager', '--shape', '1', '3', '64', '64'],
    'layers': ['--names', 'tied', '--modes', 'eager', '--shape', '1', '3', '32', '32', '--min-seconds', '0.01'],
}
STUDY_MODELS = ('resnet50', 'tiedresnet50')
# Runs at the same time: one keeps a GPU of this size busy for a fraction of the time.
STUDY_JOBS = 4
# What a run of the study takes when so many run at once, estimated.
STUDY_SECONDS = 220
# Of a child: imports (estimated), and the longest check of the first run; no check begins that cannot end.
CHECK_STARTS, CHECK_TAKES = 15, 25


def operators(context: Context) -> dict[str, Any]:
    """Operators, layers with their own backward passes, and backbones on the device against the CPU."""
    work, parts = context.work / 'operators', 1 if context.small else 4
    groups = [['operators'], ['layers'], *(['backbones', '--part', str(i), str(parts)] for i in range(parts))]
    commands, files = [], []
    for i, group in enumerate(groups):
        files.append(work / f'{i}.json')
        files[-1].unlink(missing_ok=True)
        words = ['-m', 'gpu_steps.checks', *group, '--device', context.device, '--out', files[-1]]
        room = max(context.seconds - CHECK_STARTS - CHECK_TAKES, 1)
        words += ['--seconds', str(room), *(['--small'] if context.small else [])]
        commands.append(Child(f'{i}-{group[0]}', words))
    failed = []
    try:
        children.run(commands, work, context.seconds, context.jobs)
    except children.ChildFailed as error:
        failed += error.wrong  # what one that was ended has not reached is in its file
    found: dict[str, Any] = {'rows': [], 'not_reached': []}
    for child, path in zip(commands, files, strict=True):
        document = kept.read_json(path) or {'not_reached': [f'all of {child.name}']}
        for key in found:
            found[key] += document.get(key, [])
    failed += [f'{row["name"]}, {row["mode"]}: {row}' for row in found['rows'] if not row['ok']]
    return {'checks': len(found['rows']), **found, 'rows': condensed(found['rows']), 'failed': failed}


def condensed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of the rows of each check and mode the one that is nearest to what is allowed, and how many there are."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row['name'], row['mode']), []).append(row)
    return [{**max(group, key=_nearness), 'of': len(group)} for group in groups.values()]


def _nearness(row: dict[str, Any]) -> tuple[bool, float]:
    error, allowed = row.get('error'), row.get('allowed') or 1.0
    return not row['ok'], error / allowed if isinstance(error, float) else 0.0


def train(name: str, job: Job, context: Context) -> dict[str, Any]:
    """A detector; precisions beside one another where others are on record."""
    found = detectors.do(name, job, context)
    if name.startswith('train_'):
        others = {'fp16': 'train', 'bf16': 'train_bf16', 'fp32': 'train_fp32'}
        others.pop(job.precision)
        found['beside'] = detectors.beside(context.results, found, job.precision, others)
    return found


def speed(section: str, context: Context) -> dict[str, Any]:
    """A section of the speed harness, which keeps its own record."""
    record = context.results / f'speed_{"small" if context.small else "gpu"}.json'
    # The command is kept with the record, so it has no absolute path where that can be.
    words = ['benchmarks/speed.py', section, '--out', kept.local(record)]
    if context.small:
        words += ['--rounds', '1', '--minutes', '1', *SPEED_SMALL[section]]
    else:
        minutes = f'{max(context.seconds - SPEED_SLACK, 20) / 60:.2f}'
        words += ['--rounds', '5', '--minutes', minutes, *SPEED_OPTIONS[section], '--modes', *SPEED[section]]
    if section == 'detectors':
        words += ['--work-dir', kept.local(context.work / 'speed')]
    before = _section(record, section)
    failed = []
    try:
        children.run([Child(f'speed_{section}', words)], context.work / 'speed', context.seconds)
    except children.ChildFailed as error:
        failed.append(str(error))
    content = _section(record, section)
    if not content or content == before:
        return {'failed': failed or ['nothing was recorded']}
    rows = content['rows']
    rounds = sorted({len(row['seconds']) for row in rows})
    # Measured again by a later call, with the time that a step of its own has.
    left = [] if context.small else [note for note in content['notes'] if 'no time was left' in note]
    told = {'record': record.name, 'rows': len(rows), 'rounds': rounds, 'notes': content['notes'], 'left': left}
    return told | {'failed': failed}


def _section(record, section: str) -> dict[str, Any] | None:
    return (kept.read_json(record) or {}).get('sections', {}).get(section)


def study(context: Context) -> dict[str, Any]:
    """Runs of the occlusion study, pairs of models by seed, as many as there is time for."""
    from study import plan, runs

    from mmhybrid.datasets.occluded_shapes import generate

    size = 'trial' if context.small else 'gpu'
    seeds, models = ([0], STUDY_MODELS[:1]) if context.small else ([0, 1, 2, 3], STUDY_MODELS)
    root, work = context.results / kept.STUDY, context.work / 'study'
    s = plan.SIZES[size]
    # Here and not in the study, which draws with one process.
    splits = {'train': s.train_images, 'val': s.val_images}
    made = generate(runs.data_root(work, size), splits, workers=1 if context.small else 12, progress=False)
    words = ['benchmarks/occlusion_study.py', 'run', '--size', size, '--models', *models, '--seeds', *map(str, seeds)]
    words += ['--jobs', '1' if context.small else str(STUDY_JOBS), '--kept', root, '--work-dir', work]
    # No run begins that would be ended halfway.
    room = context.seconds - made.seconds - (0 if context.small else STUDY_SECONDS)
    words += ['--minutes', f'{max(room, 1) / 60:.2f}']
    failed = []
    try:
        children.run([Child('study', words)], work, context.seconds - made.seconds)
    except children.ChildFailed as error:
        failed.append(str(error))
        for log in sorted((work / size).glob('*/*/*.log')):
            failed.append(f'{log.parent.parent.name} {log.parent.name} {log.stem}: {children.tail(log, 8)}')
    planned = runs.planned(size, models, seeds)
    left = [f'{run.model} seed {run.seed}' for run in runs.left(root, planned)]
    done = {f'{run.model} seed {run.seed}': _told(runs.record(root, run)) for run in planned}
    return {
        'settings': plan.described(size),
        'jobs': STUDY_JOBS,
        'data_seconds': round(made.seconds, 1),
        'done': {name: told for name, told in done.items() if told},
        'left': left,
        'failed': failed if left else [],
    }


def _told(record: dict[str, Any] | None) -> dict[str, Any] | None:
    return record and {'seconds': record['seconds'], **record['overall'], 'hardware': record['hardware']}


def _train(name: str, seconds: float, job: Job) -> Step:
    return Step(name, seconds, 2 * seconds, partial(train, name, job), needs='data_root')


def _pretrain(backbone: str, seconds: float, most: float) -> Step:
    name = f'pretrain_{backbone}'
    return Step(name, seconds, most, partial(pretraining.do, name, backbone), needs='pictures')


def _speed(section: str, seconds: float, most: float) -> Step:
    return Step(f'speed_{section}', seconds, most, partial(speed, section))


def steps() -> list[Step]:
    """All steps in order of worth.

    Seconds of the detectors' commands are those measured on an H200 with 16 cores, except retinanet's. The others are
    estimates; those of the operators, the speed of detectors and that of layers follow from measured parts.
    """
    return [
        # The 4 children of backbones have 6 each, which take a CPU some 10 s (29 of all depths were done in 120 s).
        Step('operators', 110, 140, operators),
        _train('train', 98, Job(MAIN, 30, small=3, more=5, test=True)),
        _train('train_bf16', 56, Job(MAIN, 30, precision='bf16')),
        _train('nccl', 36, Job(MAIN, 5, launcher=True)),
        *(_train(name, OTHERS_SECONDS[name], Job(config, 10, more=2, test=True)) for name, config in OTHERS.items()),
        _train('train_fp32', 31, Job(MAIN, 10, precision='fp32')),
        # As many epochs as there is time for; what one takes is not known.
        _pretrain('hcgnet_a1', 200, 480),
        _pretrain('tiedresnet50_s', 150, 240),
        _pretrain('resnet50', 150, 240),
        # 10 detectors in 3 modes: 5 s each to prepare, for which the harness takes half of its time, and 1.3 s a round.
        _speed('detectors', 350, 400),
        _speed('backbones', 220, 280),
        # 58 layers in 4 modes: 0.28 s each to prepare, and samples of both passes in each of 5 rounds.
        _speed('layers', 170, 220),
        Step('study', STUDY_SECONDS + 20, 600, study),
    ]
