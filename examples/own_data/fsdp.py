# ruff: noqa: D100
# The same with parameters, gradients and optimizer shared out over GPUs; checkpoints hold the whole model.
_base_ = 'config.py'

runner_type = 'FlexibleRunner'
strategy = dict(type='FSDPStrategy', state_dict_cfg='full', model_wrapper=dict(use_orig_params=True))
