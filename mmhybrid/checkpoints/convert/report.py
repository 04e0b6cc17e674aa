"""What a conversion did, for the terminal and for the card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmhybrid.checkpoints.loading import shortened

from .targets import RUN, kind_of

if TYPE_CHECKING:
    from .core import Converted

UNSTATED = 'not stated'
RES2NET = (
    "The source is taken as MMDetection's Res2Net computes it. The authors', timm's and mmpretrain's pool the last "
    'split of the very first block, too, which changes the maps by some percent.'
)
_NOISE = 'one image of noise, 64x64'


def lines(made: Converted, source: str, licences: Sequence[str] = ()) -> list[str]:
    """The report: a table of the tensors, then sentences."""
    rows = [('copied', len(made.copied), shortened(made.copied))]
    if made.changed:
        rows.append(('of them changed', len(made.changed), shortened(made.changed)))
    rows += [('new', len(names), what) for what, names in made.new.items()]
    if made.left_out:
        rows.append(('left out', len(made.left_out), shortened(made.left_out)))
    table = [f'{title:<16}{count:>7,}  {text}' for title, count, text in rows]
    licence = '; '.join(filter(None, (made.licence, *licences)))
    return [
        f'{source} (of {made.source}) for {made.name}: {made.parameters:,} parameters',
        '',
        f'{"":<16}tensors',
        *table,
        '',
        equality(made),
        *([RES2NET] if made.source.startswith('Res2Net') else []),
        *([_frozen(made)] if made.without_eps is not None else []),
        _images(made),
        f'Licence: {licence or UNSTATED + "; look where the source comes from, and give it with --licence"}.',
    ]


def equality(made: Converted) -> str:
    """How the feature maps compare with the source's, one sentence."""
    taken = f', the source taken as {made.taken_as}'
    if made.deviation is None and not made.sizes:
        return 'Every tensor is one of the source; there is no other network of which to compare feature maps.'
    if made.deviation == 0 and not made.sizes:
        return f"The feature maps in evaluation are the source's to the bit ({_NOISE}){taken}."
    why = []
    if made.config.get('shortcut') == 'identity_dense':
        why.append('plain sums of all earlier outputs, which have no weights, take the place of the identity')
    if made.altered:
        why.append(f'the config has {", ".join(made.altered)}, which the source is not known to have')
    if not why:
        return (
            "The feature maps in evaluation are the source's up to rounding: they differ by at most "
            f'{made.deviation:.1e} of the largest value ({_NOISE}){taken}.'
        )
    how = [] if made.deviation is None else [f'they differ by up to {made.deviation:.2g} times the largest value']
    return (
        f'The feature maps are NOT those of the source{taken}: {", and ".join(why)}; '
        f'{", and ".join([*how, *made.sizes])} ({_NOISE}).'
    )


def _images(made: Converted) -> str:
    if made.caffe:
        return f"Images: {made.images}; the source, of Caffe's form ({made.caffe}), was trained on BGR."
    return f'Images: {made.images}; see whether the source was trained so.'


def _frozen(made: Converted) -> str:
    return (
        "The source has torchvision's frozen norms, taken with eps 1e-5; the first detectors that torchvision "
        f'published (COCO_V1) have eps 0, and with that the feature maps differ by up to {made.without_eps:.1e} of '
        f'the largest value ({_NOISE}).'
    )


def card(
    made: Converted,
    source: Path,
    licences: Sequence[str] = (),
    data: str | None = None,
    commit: str | None = None,
) -> dict[str, Any]:
    """The card's facts; what nobody measured or said is None."""
    options = {key: value for key, value in made.config.items() if key not in ('type', *RUN)}
    return dict(
        variant=made.variant,
        type=kind_of(made.config),
        options={} if made.variant else options,
        data=data,
        recipe='none: converted, not trained',
        epochs=None,
        top1=None,
        commit=commit,
        licence='; '.join(filter(None, (made.licence, *licences))) or None,
        source=f'{source.name} (of {made.source}, sha256 {made.sha256})',
        parameters=made.parameters,
        warm_start=dict(
            copied=len(made.copied),
            changed=len(made.changed),
            new={what: len(names) for what, names in made.new.items()},
            left_out=list(made.left_out),
            deviation=made.deviation,
            equality=equality(made),
            images=made.images,
            altered=list(made.altered),
            sizes=list(made.sizes),
            without_eps=made.without_eps,
        ),
    )
