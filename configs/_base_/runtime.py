_base_ = 'mmdet::_base_/default_runtime.py'

default_scope = 'mmdet'
custom_imports = dict(imports=['mmhybrid.registry'], allow_failed_imports=False)
# A crash loses no checkpoint, and a resumed run goes on exactly.
default_hooks = dict(checkpoint=dict(type='ResumableCheckpointHook'))
# Stops a run whose frozen layers were never loaded.
custom_hooks = [dict(type='FrozenStagesHook')]
