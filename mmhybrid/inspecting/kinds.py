"""The kinds of analyses by name."""

from __future__ import annotations

from .options import cam, cka, fgsm, filters, gates, proposals, receptive_field, shortcuts
from .options.base import Kind

KINDS: dict[str, Kind] = {
    'filters': filters.KIND,
    'cam': cam.KIND,
    'fgsm': fgsm.KIND,
    'proposals': proposals.KIND,
    'gates': gates.KIND,
    'shortcuts': shortcuts.KIND,
    'receptive-field': receptive_field.KIND,
    'cka': cka.KIND,
}


def module_of(name: str) -> str:
    """The module of an analysis, whose ``run(subjects, samples, args)`` does it."""
    return f'mmhybrid.inspecting.analyses.{name.replace("-", "_")}'
