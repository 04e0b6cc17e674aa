"""Refuse to train or test a model whose weights were not all where they were expected."""

from collections.abc import Sequence

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from mmhybrid.checkpoints import loading
from mmhybrid.checkpoints.structure import added
from mmhybrid.errors import InputError

from .unwrapping import unwrapped

# What a detector keeps when it is trained for other classes; its heads' last layers begin anew.
_KEPT = ('backbone.', 'neck.')


@HOOKS.register_module()
class LoadedWeightsHook(Hook):
    """Look, before the first iteration, whether the weights that were to be loaded were.

    MMEngine loads what fits and goes on with random numbers in the rest, so that another model's checkpoint gives a
    table of AP, of nothing. The weights here are those of ``load_from`` and of each ``init_cfg=dict(type='Pretrained',
    ...)``; for a resumed run, see :class:`~mmhybrid.engine.resumable_checkpoint.ResumableCheckpointHook`.

    A training may begin with a detector of other classes: outside of backbone and neck, tensors that differ in one
    dimension alone are told and begin anew. So do parts that a pretrained backbone is given in addition: plug-ins, as
    attention, and the offsets of deformable convolutions, if they can be learned and are missing from an ``init_cfg``'s
    weights, and most of that backbone is there.

    Args:
        allow_missing: Beginnings of the names of tensors that may be missing, or True for all.

    Raises:
        InputError: In ``before_train`` and ``before_test``, if some are missing or have another shape.
    """

    priority = 'HIGH'  # before hooks that change the model

    def __init__(self, allow_missing: bool | Sequence[str] = False):
        self._allowed = ('',) if allow_missing is True else tuple(allow_missing or ())
        self._is_trained = False

    def before_run(self, runner: Runner) -> None:
        """Let backbones know, before they load their weights, what these may lack."""
        loading.tolerate(unwrapped(runner.model), self._allowed)

    def before_train(self, runner: Runner) -> None:
        """Look at what the training begins with."""
        model = unwrapped(runner.model)
        left = self._left(model)
        anew = {name for name, (there, here) in left.items() if there and _one_size_differs(name, there, here)}
        if anew:
            runner.logger.warning(
                f'{len(anew)} tensors have another size in the weights, as with other classes, and begin anew: '
                f'{loading.shortened(sorted(anew))}.'
            )
        if new := _added(model, left):
            runner.logger.warning(
                f'{len(new)} tensors are not among the weights, as parts that were added to a pretrained model, and '
                f'begin anew: {loading.shortened(sorted(new))}.'
            )
            anew |= new
        self._refuse(model, {name: left[name] for name in left if name not in anew}, 'train')

    def before_test(self, runner: Runner) -> None:
        """Look at what is tested."""
        if not self._is_trained:
            self.check(unwrapped(runner.model))

    def check(self, model: nn.Module) -> None:
        """Look at a model that is to detect, with or without a runner.

        Raises:
            InputError: If some of the weights that were to be loaded into it are missing or have another shape.
        """
        self._refuse(model, self._left(model), 'test')

    def after_train(self, runner: Runner) -> None:
        """Note that what began anew was learned."""
        self._is_trained = True

    def _left(self, model: nn.Module) -> dict[str, tuple]:
        """Shapes, there (None if missing) and here, of the tensors that no loading brought and that may not lack."""
        loaded, here, left = loading.loaded_names(model), dict(model.state_dict()), {}
        for part, made in loading.loadings(model):
            for name in (*made.missing, *made.misshapen):
                whole = f'{part}.{name}' if part else name
                if name not in made.anew and whole not in loaded and not whole.startswith(self._allowed or ('\0',)):
                    left[whole] = made.misshapen[name] if name in made.misshapen else (None, tuple(here[whole].shape))
        return left

    def _refuse(self, model: nn.Module, left: dict[str, tuple], what: str) -> None:
        if not left:
            return
        made = next(m for part, m in loading.loadings(model) if any(_belongs(name, part, m) for name in left))
        missing = [name for name, (there, _) in left.items() if there is None]
        misshapen = {name: both for name, both in left.items() if both[0] is not None}
        reasons = [f'{len(missing)} are not among the weights, as {missing[0]}'] if missing else []
        reasons += [f'{len(misshapen)} have another shape, as {loading.shapes(misshapen)[0]}'] if misshapen else []
        reasons += [made.hint] if made.hint else []
        whole = sum(not name.endswith('num_batches_tracked') for name in model.state_dict())
        raise InputError(
            f'The weights do not fit the model, so to {what} it is to {what} random numbers: {len(left)} of its '
            f'{whole} tensors were not loaded ({"; ".join(reasons)}). Give the weights of this '
            'model, or name what may be missing with --allow-missing (allow_missing of LoadedWeightsHook).'
        )


def _belongs(name: str, part: str, made: loading.Loading) -> bool:
    inner = name.removeprefix(f'{part}.') if part else name
    return inner in made.missing or inner in made.misshapen


def _one_size_differs(name: str, there: tuple, here: tuple) -> bool:
    alike = not name.startswith(_KEPT) and len(there) == len(here)
    return alike and sum(a != b for a, b in zip(there, here, strict=True)) == 1


def _added(model: nn.Module, left: dict[str, tuple]) -> set[str]:
    return {
        name
        for part, made in loading.loadings(model)
        if part and not made.hint and len(made.loaded) > len(made.missing) + len(made.misshapen)
        for name in (
            f'{part}.{inner}'
            for inner in added(model.get_submodule(part), made.missing, {*made.loaded, *made.misshapen})
        )
        if name in left
    }
