"""Test a detector with its batch norms folded into its convolutions."""

from mmdet.registry import HOOKS
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner

from mmhybrid.errors import InputError
from mmhybrid.fusing import fuse_in_place

from .unwrapping import unwrapped


@HOOKS.register_module()
class FuseNormsHook(Hook):
    """Fold the batch norms before a test, once the checkpoint is loaded, and log how many: see ``mmhybrid.fuse``.

    The runner's model itself is changed, also inside a wrapper for several processes; it cannot be trained afterwards.

    Raises:
        InputError: In ``before_test``, if an ``EMAHook`` would exchange weights that are no longer there.
    """

    def before_test(self, runner: Runner) -> None:
        """Fold."""
        if any(isinstance(hook, EMAHook) for hook in runner.hooks):
            raise InputError(
                'Folding batch norms cannot be combined with an EMAHook, which exchanges the weights; take it out of '
                'custom_hooks: the weights of a checkpoint are the averaged ones already.'
            )
        model = unwrapped(runner.model)
        folded, remaining = fuse_in_place(model)
        runner.logger.info(f'Folded {folded} of {folded + remaining} batch norms for this test; {remaining} remain.')
