"""Models on attacked images: the ranks of true classes, or detections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmhybrid.errors import InputError
from mmhybrid.pretraining.metric import rank_of

from ..samples import Sample, batches
from ..subjects import Batch, Subject
from .attacks import Attack, attacks, random_signs, seeded, step, without_masks
from .backward import without_checkpointing

FGSM, RANDOM = 'fgsm', 'random'
Condition = tuple[str, float]  # what gives the signs, and epsilon; (FGSM, 0.0) are the images as they are
# What losses raise on annotations that they do not know what to do with.
_MISFITS = (AttributeError, KeyError, IndexError, TypeError, ValueError, NotImplementedError, AssertionError)


@dataclass
class Outcome:
    """What one model made of the images under each condition; lists have an entry for each image.

    Attributes:
        attacks: What the gradients came to; without signs, which are as large as the images, unless they are kept.
        failed: Whether there was no step, or an output was not finite under any condition.
        ranks: How many classes come before the true one, for a classifier.
        losses: Cross entropy of the true class, likewise.
        detections: MMDetection's ``pred_instances`` at the image's own size, for a detector.
        num_classes: How many a classifier tells apart.
    """

    attacks: list[Attack] = field(default_factory=list)
    failed: list[bool] = field(default_factory=list)
    ranks: dict[Condition, list[int]] = field(default_factory=dict)
    losses: dict[Condition, list[float]] = field(default_factory=dict)
    detections: dict[Condition, list[Any]] = field(default_factory=dict)
    num_classes: int = 0


def conditions(epsilons: Sequence[float], random: bool) -> list[Condition]:
    """The images as they are, then each epsilon above 0 with the gradient's signs and, if wanted, with random ones."""
    kinds = (FGSM, RANDOM) if random else (FGSM,)
    return [(FGSM, 0.0), *((kind, epsilon) for kind in kinds for epsilon in epsilons if epsilon > 0)]


def of_classifier(
    subject: Subject,
    samples: Sequence[Sample],
    wanted: Sequence[Condition],
    seed: int,
    batch_size: int,
    done: Callable[[int], object] = lambda count: None,
    keep_signs: bool = False,
) -> Outcome:
    """Attack a classifier; the loss is the cross entropy of the true class.

    Raises:
        InputError: If labels are not known, or not the model's.
    """
    outcome = Outcome()
    for part in batches(list(enumerate(samples)), batch_size):
        batch = subject.prepare([sample for _, sample in part], annotated=True)
        if batch.labels is None:
            raise InputError(f'{part[0][1].name} has no label, and the loss is that of the true class.')
        pixels = [each.requires_grad_() for each in batch.pixels]
        with torch.enable_grad(), without_checkpointing(subject.model):
            logits = subject.model(subject.normalised(batch, pixels)[0])
            outcome.num_classes = logits.shape[1]
            if int(batch.labels.max()) >= logits.shape[1]:
                raise InputError(
                    f'{subject.name} has {logits.shape[1]} classes, and the data set has a label '
                    f'{int(batch.labels.max())}; give a model and a data set that belong together.'
                )
            found = attacks(F.cross_entropy(logits, batch.labels, reduction='none'), pixels)
        failed = torch.tensor([each.failed for each in found])
        for condition in wanted:
            changed = _changed(batch, found, [index for index, _ in part], condition, seed)
            with torch.no_grad():
                logits = subject.model(subject.normalised(batch, changed)[0])
            failed |= ~torch.isfinite(logits).all(1).cpu()
            ranks = [rank_of(own, int(label)) for own, label in zip(logits, batch.labels, strict=True)]
            outcome.ranks.setdefault(condition, []).extend(ranks)
            losses = F.cross_entropy(logits, batch.labels, reduction='none').tolist()
            outcome.losses.setdefault(condition, []).extend(losses)
        outcome.attacks += found if keep_signs else [replace(each, signs=None) for each in found]
        outcome.failed += failed.tolist()
        done(len(part))
    return outcome


def of_detector(
    subject: Subject,
    samples: Sequence[Sample],
    wanted: Sequence[Condition],
    seed: int,
    batch_size: int,
    done: Callable[[int], object] = lambda count: None,
    keep_signs: bool = False,
) -> Outcome:
    """Attack a detector; the loss is the sum of its losses.

    Images are attacked one by one: a detector's losses are means over all regions of a batch, so that other images
    would change an image's gradient. What is sampled for a loss is by seed and image. Masks count in the loss where all
    instances have one, and are not predicted.

    Raises:
        InputError: If the model has no loss for such annotations.
    """
    has_masks = all('mask' in each for sample in samples for each in sample.info.get('instances', ()))
    outcome = Outcome(detections={condition: [] for condition in wanted})
    for index, sample in enumerate(samples):
        with without_masks(subject.model, not has_masks), without_checkpointing(subject.model):
            batch = subject.prepare([sample], annotated=True)
            with seeded(seed, index, subject.device):
                attack = _attack_detector(subject, batch)
        failed = attack.failed
        for some in batches(wanted, batch_size):
            changed = [_changed(batch, [attack], [index], condition, seed)[0] for condition in some]
            copies = Batch(changed, batch.data_samples * len(some))
            for condition, instances in zip(some, _detect(subject, copies), strict=True):
                failed |= not all(bool(torch.isfinite(each).all()) for each in (instances.bboxes, instances.scores))
                outcome.detections[condition].append(instances)
        outcome.attacks.append(attack if keep_signs else replace(attack, signs=None))
        outcome.failed.append(failed)
        done(1)
    return outcome


def _attack_detector(subject: Subject, batch: Batch) -> Attack:
    pixels = [each.requires_grad_() for each in batch.pixels]
    with torch.enable_grad():
        inputs, data_samples = subject.normalised(batch, pixels)
        try:
            loss, _ = subject.model.parse_losses(subject.model.loss(inputs, data_samples))
        except _MISFITS as error:
            raise InputError(
                f'{subject.name}: the losses of {type(subject.model).__name__} cannot be computed on the annotations '
                f'of the test data set ({type(error).__name__}: {error}); the config needs what training needs.'
            ) from error
        return attacks(loss.reshape(1), pixels)[0]


def _detect(subject: Subject, batch: Batch) -> Iterator[Any]:
    with torch.no_grad(), without_masks(subject.model):
        inputs, data_samples = subject.normalised(batch)
        for each in subject.model.predict(inputs, data_samples, rescale=True):
            yield each.pred_instances.cpu()


def _changed(
    batch: Batch, found: Sequence[Attack], indices: Sequence[int], condition: Condition, seed: int
) -> list[Tensor]:
    """The images of a batch after a step; ``indices`` are those among all images."""
    kind, epsilon = condition
    return [
        step(own.detach(), attack.signs if kind == FGSM else random_signs(own, seed, index), epsilon)
        for own, attack, index in zip(batch.pixels, found, indices, strict=True)
    ]


def rows(found: Mapping[Any, Any], category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Detections of images by their ids as COCO results; label i is of ``category_ids[i]``."""
    return [
        dict(
            image_id=image_id,
            category_id=category_ids[label],
            score=score,
            bbox=[x0, y0, x1 - x0, y1 - y0],
        )
        for image_id, instances in found.items()
        for label, score, (x0, y0, x1, y1) in zip(
            instances.labels.tolist(), instances.scores.tolist(), instances.bboxes.double().tolist(), strict=True
        )
    ]
