"""Top-k accuracy against a sort of all scores, in one process and in several."""

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from mmengine.dataset import DefaultSampler

from mmhybrid.pretraining import TopKAccuracy

COUNT, CLASSES = 23, 12


def samples(count=COUNT):
    random = np.random.default_rng(0)
    scores = random.integers(0, 6, (count, CLASSES)) / 6  # many are the same
    return [dict(scores=torch.from_numpy(s), label=int(random.integers(CLASSES))) for s in scores]


def brute_force(found, k):
    hits = [s['label'] in np.argsort(-s['scores'].numpy(), kind='stable')[:k] for s in found]
    return 100 * np.mean(hits)


def test_it_is_the_brute_force():
    metric = TopKAccuracy(topk=(1, 3, 5, CLASSES))
    found = samples()
    for i in range(0, COUNT, 4):
        metric.process(None, found[i : i + 4])
    result = metric.evaluate(COUNT)
    assert result == {f'accuracy/top{k}': pytest.approx(brute_force(found, k)) for k in (1, 3, 5)}
    assert 0 < result['accuracy/top1'] < result['accuracy/top5'] < 100


def test_scores_that_are_no_numbers_name_no_class():
    metric = TopKAccuracy()
    metric.process(None, [dict(scores=torch.full((9,), float('nan')), label=0)])
    assert metric.evaluate(1) == {'accuracy/top1': 0, 'accuracy/top5': 0}


def test_a_k_that_all_reach_is_left_out():
    metric = TopKAccuracy()
    metric.process(None, [dict(scores=torch.tensor([0.1, 0.9]), label=1)])
    assert metric.evaluate(1) == {'accuracy/top1': 100}


def test_two_processes_give_the_same(tmp_path):
    # 23 pictures in two processes: the sampler fills one of them up with a picture twice.
    mp.start_processes(_process, args=(str(tmp_path),), nprocs=2, start_method='fork')
    results = [torch.load(tmp_path / f'{rank}.pth') for rank in (0, 1)]
    assert results[0]['seen'] + results[1]['seen'] == COUNT + 1
    metric = TopKAccuracy()
    metric.process(None, samples())
    assert results[0]['result'] == results[1]['result'] == metric.evaluate(COUNT)


def _process(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    found = samples()
    mine = list(DefaultSampler(found, shuffle=False, seed=0))
    metric = TopKAccuracy()
    for i in range(0, len(mine), 5):
        metric.process(None, [found[j] for j in mine[i : i + 5]])
    torch.save(dict(seen=len(mine), result=metric.evaluate(COUNT)), f'{folder}/{rank}.pth')
    torch.distributed.destroy_process_group()
