"""Training batches that are the same whenever a run begins with them, and with however many workers.

MMEngine seeds a data loader's workers once, by the seed, the rank and the worker: what they draw for a batch depends on
how many batches they made before, and is the same in every epoch where workers are started anew. Here all draws for
a batch are seeded by (seed, rank, epoch, number of the batch).
"""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.runner import IterBasedTrainLoop
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, Sampler, get_worker_info

from .random_states import undisturbed
from .workers import tend_workers


class SeededBatch(list):
    """Indices of a batch, which seed all random generators when they are iterated to make the batch.

    A worker's generators have no other use. In the training process they are put back after the last index.
    """

    def __init__(self, indices: list[Any], seed: tuple[int, ...]):
        super().__init__(indices)
        self.seed = seed

    def __iter__(self) -> Iterator[Any]:
        if get_worker_info() is not None:
            self._set_seed()
            yield from super().__iter__()
        else:
            with undisturbed():
                self._set_seed()
                yield from super().__iter__()

    def __reduce__(self):
        # A list's own way would iterate, in the process that sends it to a worker.
        return type(self), (self[:], self.seed)

    def _set_seed(self) -> None:
        python, numpy, pytorch = (int(n) for n in np.random.SeedSequence(self.seed).generate_state(3))
        random.seed(python)
        np.random.seed(numpy)  # noqa: NPY002 (what data pipelines draw from)
        torch.default_generator.manual_seed(pytorch)  # not the GPUs', which make no batches


class NumberedBatches(Sampler):
    """The batches of a batch sampler, seeded; a resumed run begins after the first ``skip`` of an epoch.

    Attributes:
        epoch: Of the next iteration.
        skip: How many batches the next iteration leaves out; only their indices are drawn.
    """

    def __init__(self, batches: Any, seed: int, rank: int):
        self.batches, self._seed, self._rank = batches, seed, rank
        self.epoch = self.skip = 0

    @property
    def sampler(self) -> Any:
        """The sampler of indices, to which MMEngine tells the epoch."""
        return getattr(self.batches, 'sampler', None)

    @property
    def batch_size(self) -> int | None:
        """Images of a batch, if that is fixed."""
        return getattr(self.batches, 'batch_size', None)

    @property
    def drop_last(self) -> bool:
        """Whether a last batch that is not full is left out."""
        return getattr(self.batches, 'drop_last', False)

    def __len__(self) -> int:
        return max(len(self.batches) - self.skip, 0)

    def __iter__(self) -> Iterator[SeededBatch]:
        epoch, skip = self.epoch, self.skip
        if isinstance(self.sampler, RandomSampler):  # of PyTorch, which draws from the process's generator
            seed = np.random.SeedSequence((self._seed, self._rank, epoch)).generate_state(1)
            self.sampler.generator = torch.Generator().manual_seed(int(seed[0]))
        for number, indices in enumerate(self.batches):
            if number >= skip:
                yield SeededBatch(indices, (self._seed, self._rank, epoch, number))


def with_numbered_batches(loader: DataLoader, seed: int, rank: int) -> DataLoader | None:
    """A loader of the same batches, seeded; None for one of another kind, whose position nobody knows.

    Its own generator draws what starting workers draws, so the process's generators are left alone.
    """
    if type(loader) is not DataLoader or loader.batch_sampler is None or isinstance(loader.dataset, IterableDataset):
        return None
    batches = loader.batch_sampler
    options: dict[str, Any] = {}
    if loader.num_workers:
        options = dict(
            prefetch_factor=loader.prefetch_factor,
            persistent_workers=loader.persistent_workers,
            multiprocessing_context=loader.multiprocessing_context,
            worker_init_fn=loader.worker_init_fn,
        )
    if hasattr(loader, 'in_order'):  # since PyTorch 2.6
        options['in_order'] = loader.in_order
    if loader.pin_memory_device:
        options['pin_memory_device'] = loader.pin_memory_device
    made = DataLoader(
        loader.dataset,
        batch_sampler=NumberedBatches(batches, seed, rank),
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        generator=torch.Generator().manual_seed(seed),
        **options,
    )
    tend_workers(made)
    return made


def begin_anew(loader: DataLoader, seed: int) -> None:
    """Let the sampler of a loader begin anew, by a seed, which a resumed run knows only after it was made."""
    sampler = loader.batch_sampler.sampler
    if hasattr(sampler, 'seed'):
        sampler.seed = seed
    if isinstance(sampler, InfiniteSampler):  # of which workers may have drawn
        sampler.indices = sampler._indices_of_rank()


class EndlessBatches:
    """Batches for MMEngine's iteration-based loop, epoch after epoch, in place of MMEngine's iterator.

    A resumed run begins where it was, which loads nothing, whatever the sampler and the number of workers. MMEngine's
    loop would draw as many batches as were seen, in one way or another by its version, where its count of iterations
    is not zero: so it is, until the first batch is asked for.

    Args:
        loader: Of :class:`NumberedBatches`.
        loop: The loop, at the iteration where it goes on.
        position: Where that is, if it is known.

    Attributes:
        position: Epoch and number of the next batch.
    """

    def __init__(self, loader: DataLoader, loop: IterBasedTrainLoop, position: tuple[int, int] | None = None):
        self._loader, self._batches, self._loop, self._done = loader, loader.batch_sampler, loop, loop.iter
        self._iterator: Iterator | None = None
        # A sampler without end has a length, too, that of the data set, and no second epoch.
        endless = not hasattr(self._batches.sampler, 'epoch')
        computed = (0, self._done) if endless else divmod(self._done, len(self._batches.batches))
        self.position = position or computed

    def __iter__(self) -> 'EndlessBatches':
        return self

    def hide(self) -> None:
        """Let the loop begin at iteration 0, unless it has none to do."""
        if self._loop.iter < self._loop.max_iters:
            self._loop._iter = 0

    def __next__(self) -> Any:
        if self._iterator is None:
            self._loop._iter = self._done
            self._start()
        epoch, number = self.position
        try:
            batch = next(self._iterator)
        except StopIteration:
            epoch, number = self.position = epoch + 1, 0
            self._start()
            batch = next(self._iterator)
        self.position = epoch, number + 1
        return batch

    def _start(self) -> None:
        batches = self._batches
        batches.epoch, batches.skip = self.position
        if hasattr(batches.sampler, 'set_epoch'):
            batches.sampler.set_epoch(batches.epoch)
        self._iterator = iter(self._loader)
