"""What the project asks of its speed, as data, and whether the records meet it."""

from collections.abc import Mapping
from dataclasses import dataclass

from .contestants import PLAIN_HCGNET, RESNET
from .modes import FORMATS
from .summary import Section, Spread, ratio

DETECTOR_MODES = ('eager', 'channels_last', 'amp', 'amp+channels_last')
FASTEST = 'fused+compile'


@dataclass(frozen=True)
class Target:
    """A limit of one ratio.

    Attributes:
        device: 'cpu' (one thread), 'cpu_threads' or 'gpu'.
        section: Section of the record.
        name: Contestant.
        against: The contestant it is compared with.
        limit: The limit.
        quantity: 'time': seconds over the other's, at most the limit; 'kept': likewise for the memory kept for the
            backward pass; 'rate': steps a second over the other's, at least the limit.
        pass_: Pass.
        modes: The quickest of these counts.
        other_modes: Of the other; as ``modes`` by default.
    """

    device: str
    section: str
    name: str
    against: str
    limit: float
    quantity: str = 'time'
    pass_: str = 'train'
    modes: tuple[str, ...] = FORMATS
    other_modes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What is asked, in words."""
        device = {'cpu': 'CPU, one thread', 'cpu_threads': 'CPU, several threads', 'gpu': 'GPU'}[self.device]
        what = {
            'time': 'training step' if self.pass_ == 'train' else 'forward pass',
            'kept': 'memory kept for the backward pass',
            'rate': 'training rate' if self.pass_ == 'train' else 'inference rate',
        }[self.quantity]
        detector = 'Mask R-CNN, ' if self.section == 'detectors' else ''
        own = f', {" or ".join(self.modes)}' if self.other_modes else ''
        other = f'its own, {" or ".join(self.other_modes)}' if self.name == self.against else f'`{self.against}`'
        return f'{device}: {detector}{what} of `{self.name}`{own}, relative to {other}'

    @property
    def asked(self) -> str:
        """The limit in words."""
        return f'{"at least" if self.quantity == "rate" else "at most"} {self.limit:.2f}'

    def measured(self, section: Section, pass_: str | None = None, key: str | None = None) -> Spread | None:
        """The ratio in a section, or None if it was not measured; of another pass or of another number if given."""
        pass_ = pass_ or self.pass_
        row = section.best(self.name, pass_, self.modes)
        other = section.best(self.against, pass_, self.other_modes or self.modes)
        if self.quantity == 'rate':
            return ratio(other, row, key or 'seconds')
        return ratio(row, other, key or ('kept' if self.quantity == 'kept' else 'seconds'))

    def met(self, measured: Spread) -> bool:
        """Whether a measured ratio is within the limit."""
        return measured.median >= self.limit if self.quantity == 'rate' else measured.median <= self.limit


def _cpu(name: str, limit: float, against: str = RESNET, **options) -> list[Target]:
    return [Target(device, 'backbones', name, against, limit, **options) for device in ('cpu', 'cpu_threads')]


def _gpu(name: str, limit: float) -> Target:
    return Target('gpu', 'detectors', name, RESNET, limit, 'rate', modes=DETECTOR_MODES)


def _fastest(name: str) -> Target:
    options = dict(quantity='rate', pass_='forward', modes=(FASTEST,), other_modes=('eager',))
    return Target('gpu', 'backbones', name, name, 1.3, **options)


TARGETS = (
    *_cpu('hcgnet_b', 0.70, PLAIN_HCGNET),
    *_cpu('hcgnet_b', 0.70, PLAIN_HCGNET, quantity='kept'),
    *_cpu('tiedresnet50', 1.05),
    *_cpu('tiedresnet50_s', 0.70),
    *_cpu('dsnet50', 1.05),
    *_cpu('hsresnet50', 1.00),
    *_cpu('tiedsenet50', 1.10),
    _gpu('tiedresnet50_s', 1.15),
    _gpu('tiedresnet50', 0.90),
    *(_gpu(n, 0.80) for n in ('tiedresnext50', 'tiedsenet50', 'dsnet50', 'ds2net50', 'hsresnet50')),
    *(_gpu(n, 0.80) for n in ('sae_resnet50', 'hcgnet_b')),
    *(_fastest(n) for n in ('tiedresnet50', 'tiedresnet50_s', 'dsnet50', 'hsresnet50', 'sae_resnet50', 'hcgnet_b')),
)


def table(records: Mapping[str, dict]) -> str:
    """The targets and what the records by device say of them, as Markdown."""
    lines = [
        '| target | asked | measured | | ratio of bounds | forward pass | its ratio of bounds |',
        '| --- | ---: | ---: | --- | ---: | ---: | ---: |',
    ]
    for target in TARGETS:
        content = records.get(target.device, {}).get('sections', {}).get(target.section)
        section = Section(content or {'rows': []})
        found = target.measured(section)
        verdict = 'not measured' if found is None else 'met' if target.met(found) else 'missed'
        bound = None if target.quantity == 'kept' else target.measured(section, key='bound')
        forward = forward_bound = None
        if target.quantity == 'time' and target.pass_ == 'train':
            forward, forward_bound = target.measured(section, 'forward'), target.measured(section, 'forward', 'bound')
        cells = [target.text, target.asked, show(found), verdict, show(bound), show(forward), show(forward_bound)]
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


def show(found: Spread | None) -> str:
    """A ratio with its quartiles; nothing for None."""
    if found is None:
        return ''
    spread = '' if found.low == found.high else f' ({found.low:.2f} to {found.high:.2f})'
    return f'{found.median:.2f}{spread}'
