"""Images a second and peak memory of training, config against config, in one run.

    python benchmarks/train_throughput.py --data-root /data/coco --amp

trains Mask R-CNN on TiedResNet-50 and on ResNet-50 in turns on the same batches and prints each one's figures and the
ratio to the last one (the baseline). The result goes to benchmarks/results/ as JSON, with the hardware and the command.
"""

import argparse
import json
import platform
import shlex
import statistics
import sys
import time
from itertools import cycle, islice
from pathlib import Path

import torch
from mmengine.device import get_device
from mmengine.runner import Runner

from mmhybrid import launch
from mmhybrid.errors import InputError

REPO = Path(__file__).resolve().parent.parent
CONFIGS = [REPO / 'configs' / f'mask_rcnn_{name}_fpn_2x.py' for name in ('tiedresnet50', 'tiedresnet50_s', 'resnet50')]


class Contestant:
    """A detector, its optimiser, and what was measured of it."""

    def __init__(self, config: Path, args: argparse.Namespace):
        options = {
            'data_root': args.data_root,
            'train_dataloader.batch_size': args.batch_size,
            'log_level': 'WARNING',
            'randomness.seed': 0,
        } | dict(args.cfg_options)
        namespace = argparse.Namespace(
            config=str(config),
            cfg_options=options,
            launcher='none',
            local_rank=0,
            work_dir=str(args.work_dir / config.stem),
        )
        cfg = launch.load_config(namespace)
        launch.check_data(cfg, 'train')
        if args.amp:
            cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
        self.name = config.stem
        self.runner = Runner.from_cfg(cfg)
        self.model = self.runner.model.train()
        self.optimiser = self.runner.build_optim_wrapper(cfg.optim_wrapper)
        self.parameters = sum(p.numel() for p in self.model.parameters())
        self.seconds: list[float] = []
        self.peak_bytes = 0

    def batches(self, number: int) -> list[dict]:
        """The first batches of the training loader, fewer if it has no more."""
        return list(islice(self.runner.build_dataloader(self.runner.cfg.train_dataloader), number))

    def train(self, batches: list[dict]) -> None:
        """Train on some batches and keep the times."""
        for batch in batches:
            start = time.perf_counter()
            self.model.train_step(batch, self.optimiser)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.seconds.append(time.perf_counter() - start)

    def warm_up(self, batches: list[dict], bytes_before: int) -> None:
        """Train on the first batches; note the peak memory, without what was there before this contestant."""
        self.train(batches)
        self.seconds.clear()
        if torch.cuda.is_available():
            self.peak_bytes = torch.cuda.max_memory_allocated() - bytes_before


def hardware() -> str:
    """The device that trained."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f'{platform.machine()} CPU, {torch.get_num_threads()} threads'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='*', type=Path, default=CONFIGS, help='configs, the baseline last')
    parser.add_argument('--data-root', required=True, help='folder with annotations/ and train2017/')
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision (GPU)')
    parser.add_argument('--batch-size', type=int, default=2)
    parser.add_argument('--rounds', type=int, default=5, help='turns that each config takes')
    parser.add_argument('--iterations', type=int, default=10, help='iterations of a turn')
    parser.add_argument('--out', type=Path, default=REPO / 'benchmarks' / 'results' / 'train_throughput.json')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/train_throughput'))
    parser.add_argument('--cfg-options', nargs='+', action=launch.DictAction, default={}, metavar='KEY=VALUE')
    args = parser.parse_args()
    if args.amp and get_device() == 'cpu':
        raise InputError('--amp needs a GPU, and none was found; leave the option out.')
    contestants: list[Contestant] = []
    batches: list[dict] = []
    for config in args.configs:
        bytes_before = torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
        contestant = Contestant(config, args)
        # The same images for all, decoded beforehand; the first turn's are for warming up.
        batches = batches or contestant.batches((args.rounds + 1) * args.iterations)
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        contestant.warm_up(batches[: args.iterations], bytes_before)
        contestants.append(contestant)
        print(f'{contestant.name} is warm', flush=True)
    turns = cycle(batches)
    for turn in range(args.rounds):
        turn_batches = list(islice(turns, args.iterations))
        for contestant in contestants:
            contestant.train(turn_batches)
        print(f'turn {turn + 1} of {args.rounds}', flush=True)

    baseline = statistics.median(contestants[-1].seconds)
    rows = []
    for c in contestants:
        median = statistics.median(c.seconds)
        rows.append(
            dict(
                config=c.name,
                parameters=c.parameters,
                images_per_second=round(args.batch_size / median, 3),
                speed_relative_to_last=round(baseline / median, 3),
                peak_memory_gib=round(c.peak_bytes / 2**30, 3) if c.peak_bytes else None,
            )
        )
        print(rows[-1])
    report = dict(
        hardware=hardware(),
        torch=torch.__version__,
        amp=args.amp,
        batch_size=args.batch_size,
        iterations=args.rounds * args.iterations,
        command=f'python benchmarks/{Path(__file__).name} {shlex.join(sys.argv[1:])}',
        rows=rows,
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=2) + '\n')
    print(f'wrote {args.out}')


if __name__ == '__main__':
    launch.run(main)
