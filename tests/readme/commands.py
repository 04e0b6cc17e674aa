"""The commands of the pages, and what a test does with each: run as written but for what is shortened here."""

import re
from pathlib import Path
from typing import NamedTuple

REPO = Path(__file__).resolve().parents[2]
PAGES = ('README.md', 'docs/use.md', 'examples/downstream/README.md')
DEMO = 'configs/demo_mask_rcnn_tiedresnet_occluded_shapes.py'

# What is given in place of what a reader has: pattern, replacement. In order.
SHORTER = (
    (r'\s+#[^\'"]*$', ''),
    (r' --amp\b', ''),  # needs a GPU
    (r'/data/(coco|imagenet)\b', r'$PLACE/data/\1'),  # where the test's files are
    (r'(tools/dist_train\.sh \S+) 8\b', r'\1 2'),
    (r'--nproc_per_node=[28]\b', '--nproc_per_node=2 --master_port=$PORT'),
    (r'--train 1500 --val 500', '--train 20 --val 10'),
    (r'epoch_(3|24|100)\.pth', 'epoch_1.pth'),
    (r'configs/mask_rcnn_tiedresnet50_fpn_2x\.py work_dirs/run/', f'{DEMO} work_dirs/demo/seed0/'),
    (r'\bCONFIG2?\b', DEMO),
    (r'\bCHECKPOINT2?\b', 'work_dirs/demo/seed0/epoch_1.pth'),
)
# Settings that make a run short, of the demo's config and of the whole ones.
LOADERS = ['num_workers=0', 'persistent_workers=False']
QUIET = [f'{part}_dataloader.{setting}' for part in ('train', 'test') for setting in LOADERS]
ONE_EPOCH = ['train_cfg.max_epochs=1', 'default_hooks.checkpoint.interval=1', *QUIET]
NO_VALIDATION = [f'val_{part}=None' for part in ('cfg', 'dataloader', 'evaluator')]
SMALL = [
    *(f'{part}_dataloader.dataset.pipeline.{step}.scale=(96,96)' for part, step in (('train', 2), ('test', 1))),
    *NO_VALIDATION,
    *ONE_EPOCH,
]
PICTURES = [f'{part}_dataloader.{setting}' for part in ('train', 'val') for setting in (*LOADERS, 'batch_size=8')]


class Rule(NamedTuple):
    """What is done with a line that a pattern matches from its beginning.

    Attributes:
        pattern: Of the line after ``SHORTER``.
        settings: Added to ``--cfg-options``.
        words: Added at the end, before those.
        refused: A sentence with which the command is to end where there is no GPU.
        status: Exit statuses that are right.
        instead: A command in its place, for what installs or takes minutes; the reason stands beside it.
        slow: Whether it takes long.
    """

    pattern: str
    settings: tuple[str, ...] = ()
    words: str = ''
    refused: str = ''
    status: tuple[int, ...] = (0,)
    instead: str = ''
    slow: bool = False


RULES = (
    # Set-up and training for minutes: that make knows what to do.
    Rule(r'make (demo|test)\b', instead='make -n {line}'),
    # Into an environment of the reader's own: that what is named is there.
    Rule(r'(\w+=\S+ )*pip install\b', instead='python -m tests.readme.named {line}'),
    # The environment that set-up made is the one that tests run in.
    Rule(r'\. \.venv/bin/activate$', instead='true'),
    Rule(r'cd \w+(/\w+)*$'),
    Rule(r'python -c '),
    Rule(r'mmhybrid occlusion (eval|compare|report|ratio) '),
    Rule(r'(python tools/make_occluded_shapes\.py|mmhybrid data shapes) '),
    Rule(r'mmhybrid data check '),
    Rule(r'mmhybrid (train|test) configs/demo_', tuple(ONE_EPOCH)),
    Rule(r'mmhybrid train config\.py .*/data/coco', tuple(SMALL), slow=True),  # examples/downstream
    Rule(r'(python tools/|mmhybrid )(train|test)(\.py)? config\.py', tuple(ONE_EPOCH), slow=True),
    Rule(r'(python tools/|mmhybrid )(train|test)(\.py)? configs/', tuple(SMALL), slow=True),
    Rule(r'(python tools/|mmhybrid )predict(\.py)? ', slow=True),
    Rule(r'(python -m torch\.distributed\.run|torchrun) .*test', tuple(QUIET), slow=True),
    Rule(r'python -m torch\.distributed\.run .* train config\.py ', tuple(ONE_EPOCH), slow=True),
    Rule(r'tools/dist_train\.sh config\.py ', tuple(ONE_EPOCH), '--work-dir work_dirs/two', slow=True),
    Rule(r'tools/dist_train\.sh ', tuple(SMALL), '--work-dir work_dirs/coco_two', slow=True),
    Rule(r'(tools/slurm_train\.sh|srun) ', refused='--launcher slurm needs GPUs', status=(2,), slow=True),
    Rule(
        r'(python tools/|mmhybrid )pretrain(\.py)? ',
        ('image_size=32', 'num_classes=8', 'max_epochs=1', *PICTURES),
        '--work-dir work_dirs/in1k_tiedresnet50',
        slow=True,
    ),
    Rule(r'mmhybrid (publish|convert) ', slow=True),
    # The checkpoint has not been trained, so what is exported may differ from MMDetection: scores are too alike.
    Rule(r'mmhybrid export ', words='--force', status=(0, 1), slow=True),
    Rule(r'mmhybrid inspect (filters|cam) ', slow=True),
    Rule(r'mmhybrid (flops|models)\b', slow=True),
    Rule(r'python check\.py$', slow=True),
)


class Block(NamedTuple):
    """A block of commands: its page, the line it begins in, and its lines."""

    page: str
    number: int
    lines: tuple[str, ...]

    @property
    def name(self) -> str:
        """For the report of a test."""
        return f'{self.page}:{self.number}'

    @property
    def is_slow(self) -> bool:
        """Whether one of its commands takes long; an unknown one fails at once."""
        return any(rule is not None and rule.slow for _, rule in map(known, self.lines))


def blocks(page: str) -> list[Block]:
    """Those that are marked as bash, with continued lines joined."""
    text = (REPO / page).read_text(encoding='utf-8')
    found = []
    for match in re.finditer(r'^```bash\n(.*?)^```', text, re.MULTILINE | re.DOTALL):
        lines = match[1].replace('\\\n', ' ').splitlines()
        lines = tuple(line.strip() for line in lines if line.strip() and not line.strip().startswith('#'))
        found.append(Block(page, text[: match.start()].count('\n') + 2, lines))
    return found


def known(line: str) -> tuple[str, Rule | None]:
    """A line, shortened, and its rule; None for a command that no rule knows."""
    for pattern, other in SHORTER:
        line = re.sub(pattern, other, line)
    return line, next((rule for rule in RULES if re.match(rule.pattern, line)), None)


def command(line: str, rule: Rule) -> str:
    """What is run."""
    if rule.instead:
        target = line.removeprefix('make ') if line.startswith('make ') else line
        return rule.instead.format(line=target)
    if rule.words:
        before, options, after = line.partition(' --cfg-options ')
        line = f'{before} {rule.words}{options}{after}'
    if rule.settings:
        joint = '' if '--cfg-options' in line else ' --cfg-options'
        line += joint + ''.join(f" '{setting}'" for setting in rule.settings)
    return line


def of_a_wheel(line: str) -> str:
    """The same command where there is no checkout."""
    line = re.sub(r'python tools/make_occluded_shapes\.py', 'mmhybrid data shapes', line)
    line = re.sub(r'python tools/eval_occlusion\.py', 'mmhybrid occlusion eval', line)
    line = re.sub(r'python tools/(\w+)\.py', r'mmhybrid \1', line)
    return re.sub(r'\bconfigs/(\w+)\.py', r'mmhybrid::\1', line)
