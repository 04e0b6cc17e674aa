"""Checks of operators and backbones in a process of their own: ``python -m gpu_steps.checks GROUP --out FILE``.

A row of a check tells its name, its mode, the largest relative error and what is allowed. The file is written before
each check too, with those that are still to come as not reached: one that ends the process, as an illegal memory access
on a GPU does, keeps the others' rows. An interrupt ends the checks, with the rows that there are.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from . import kept

Check = tuple[str, Callable[[], Iterator[dict[str, Any]]]]


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('group', choices=['operators', 'layers', 'backbones'])
    parser.add_argument('--part', nargs=2, type=int, default=(0, 1), metavar=('I', 'N'), help='each Nth check from I')
    parser.add_argument('--device', default='cuda', choices=['cuda', 'cpu'])
    parser.add_argument('--seconds', type=float, default=600, help='begin no check after so long')
    parser.add_argument('--small', action='store_true', help='a few checks, small ones')
    parser.add_argument('--out', type=Path, required=True)
    return parser


def main() -> None:
    args = make_parser().parse_args()
    if args.group == 'operators':
        from .check_operators import checks
    elif args.group == 'layers':
        from .check_layers import checks
    else:
        from .check_backbones import checks
    # Convolutions on a GPU compute in TF32 by default, three digits; here they are compared with float32.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if args.device == 'cuda':
        torch.set_num_threads(4)
    run(list(checks(torch.device(args.device), args.small))[args.part[0] :: args.part[1]], args.out, args.seconds)


def run(checks: list[Check], out: Path, seconds: float) -> None:
    """Do checks one after the other; what raises is a row that is not ok."""
    end = time.monotonic() + seconds
    rows: list[dict[str, Any]] = []
    left = [name for name, _ in checks]
    for name, check in checks:
        kept.write_json(out, {'rows': rows, 'not_reached': left})
        if time.monotonic() > end:
            return
        try:
            for row in check():
                rows.append({'name': name, **row})
        except KeyboardInterrupt:
            print(f'{name}: interrupted', flush=True)
            break  # it stays among those that were not reached, with the rows it has
        except Exception as error:  # the others go on
            told = f'{type(error).__name__}: {kept.without_paths(str(error))[:300]}'
            rows.append({'name': name, 'mode': 'all', 'ok': False, 'error': told})
        left.remove(name)
        print(name, f'{end - time.monotonic():.0f} s left', flush=True)
    kept.write_json(out, {'rows': rows, 'not_reached': left})


if __name__ == '__main__':
    main()
