"""Mistakes in a config: while it is read, while its parts are made from it, and what the parts check as they run.

The rules of :mod:`mmhybrid.mistakes` about it. A rule is given an exception and the calls that led to it, the outermost
first, and returns a sentence, or None if it does not apply.
"""

from __future__ import annotations

import difflib
import inspect
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from mmhybrid.origins import Frame, file_read, message, named, short

WHERE = 'MMHYBRID_DEBUG=1 shows where'
# Functions of ours that only hand on what MMEngine would have called itself.
_PASSING = {('mmhybrid.engine.nonfinite_loss', '_update'), ('mmhybrid.engine.nonfinite_loss', '_parse')}
_READ = ('fromfile', 'fromstring', 'merge_from_dict')
_READ_ONE = ('_file2dict', '_parse_lazy_import')
_KEYWORD = re.compile(r"got an unexpected keyword argument '(\w+)'")
_CHANNELS = re.compile(r'expected input\[.*\] to have (\d+) channels, but got (\d+) channels')


def while_reading(error: Exception, calls: list[Frame]) -> str | None:
    """A config that is not there, is not valid, or fails: it is a program, and so are those that it is based on."""
    entries = [i for i, c in enumerate(calls) if c.module.startswith('mmengine.config') and c.function in _READ]
    if not entries:
        return None
    start, inner = calls[entries[-1]], calls[entries[-1] + 1 :]
    if start.function == 'merge_from_dict':
        return f'--cfg-options cannot apply to this config ({named(error)}).'
    reading = [c.names['filename'] for c in inner if c.function in _READ_ONE and 'filename' in c.names]
    config = reading[-1] if reading else start.names.get('filename', 'that was given')
    if isinstance(error, FileNotFoundError) and len(reading) > 1 and not Path(config).exists():
        return f'The config {reading[-2]} has a _base_ that does not exist, {config}: correct its path.'
    if isinstance(error, ImportError) and not inner:  # by custom_imports, where MMEngine tells of the whole sys.path
        return missing_import(_first(error), f'The config {config} imports what is not found')
    if isinstance(error, SyntaxError):
        file = config if error.filename in (None, '<unknown>', '<string>') else error.filename
        return f'The config {file} is not valid Python (line {error.lineno}: {error.msg}).'
    at_work = calls[-1]
    if at_work.is_ours and not at_work.checks:
        return None
    own = [c for c in inner if not (c.in_lab or c.is_ours or _is_library(c))]
    where = 'cannot be read'
    if own:
        file = '' if own[-1].file == config else f' of {own[-1].file}'
        where = f'fails in line {own[-1].line}{file}'
    return f'The config {config} {where} ({named(error)}); correct it.'


def missing_import(error: BaseException, what: str) -> str | None:
    """A library that is missing, which none of our own modules can be."""
    if (getattr(error, 'name', None) or '').partition('.')[0] == 'mmhybrid':
        return None
    return f'{what} ({short(message(error))}): install it, or put its folder on PYTHONPATH.'


def while_making(error: Exception, calls: list[Frame]) -> str | None:
    """A type that is not registered, or arguments that a class does not take."""
    if told := _unknown_type(error, calls) or _no_images(calls):
        return told
    built = [i for i, call in enumerate(calls) if _makes(call)]
    if not built:
        return None
    names = [_name(calls[i]) for i in reversed(built)]
    part = ' of '.join(dict.fromkeys(name for name in names if name)) or 'A setting'
    if option := _unexpected(error, calls[built[-1]]):
        return f'{part} in the config has no option {option}'
    inner = calls[built[-1] + 1 :]
    if any(call.is_ours for call in inner) and not calls[-1].checks:
        return None
    file = file_read(inner)
    return f'{part} in the config cannot be used{f" with {file}" if file else ""}: {named(error)}; {WHERE}.'


def while_running(error: Exception, calls: list[Frame]) -> str | None:
    """What OpenMMLab or torch checks, where nothing of this package stands between it and MMEngine's runner."""
    tail = calls[_course(calls) :] if _course(calls) >= 0 else []
    if not tail or any(call.is_ours and (call.module, call.function) not in _PASSING for call in tail):
        return None
    channels = _CHANNELS.search(message(error))
    necks = [call for call in tail if call.module.startswith('mmdet.models.necks')]
    if channels and necks:
        return (
            f'{type(necks[-1].names.get("self")).__name__} expects {channels[1]} channels where the backbone gives '
            f'{channels[2]}: set model.neck.in_channels to the channels of the backbone.'
        )
    at_work = tail[-1]
    checks = at_work.checks and (at_work.in_lab or at_work.package == 'torch')
    unexpected = at_work.in_lab and isinstance(error, TypeError) and _KEYWORD.search(message(error))
    return f'{named(error)}; {WHERE}.' if checks or unexpected else None


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Which of ``names`` is spelled like ``name``, as ', did you mean ...?', or an empty text."""
    close = difflib.get_close_matches(name, list(names), n=3, cutoff=0.75)
    return f', did you mean {" or ".join(close)}?' if close else ''


def _course(calls: list[Frame]) -> int:
    """Where a run's own course last was: in MMEngine's runner, or in torch's loading of data; -1 if nowhere."""
    last = [i for i, call in enumerate(calls) if call.module.startswith(('mmengine.runner', 'torch.utils.data'))]
    return last[-1] if last else -1


def _unknown_type(error: Exception, calls: list[Frame]) -> str | None:
    in_lab = [call for call in calls if call.in_lab]
    names = in_lab[-1].names if in_lab else {}
    # MMEngine looks at the arguments of an optimizer's class without having looked whether there is one.
    unseen = isinstance(error, TypeError) and names.get('optimizer_cls', '') is None
    if not unseen and not (isinstance(error, KeyError) and in_lab and in_lab[-1] is calls[-1] and calls[-1].checks):
        return None
    registry, optimizer = names.get('registry'), names.get('optimizer_cfg') or {}
    name = names.get('obj_type') or names.get('layer_type') or names.get('scheduler_type') or optimizer.get('type')
    if not isinstance(name, str) or not hasattr(registry, 'module_dict'):
        return None
    known: set[str] = set()
    while registry is not None:
        known |= set(registry.module_dict)
        registry = registry.parent
    close = did_you_mean(name.rpartition('.')[2], known)
    advice = close or ': correct it, or name the module that registers it in custom_imports.'
    return f'The config has the type {name}, which is not registered{advice}'


def _no_images(calls: list[Frame]) -> str | None:
    """A data set with nothing in it, which MMEngine cannot pack."""
    data = next((c.names.get('self') for c in reversed(calls) if c.function == '_serialize_data'), None)
    if data is None or getattr(data, 'data_list', None) != []:
        return None
    classes = (getattr(data, 'metainfo', None) or {}).get('classes') or ()
    some = f' of {", ".join(map(str, classes[:3]))}{" ..." if len(classes) > 3 else ""}' if classes else ''
    name = getattr(data, 'ann_file', None) or type(data).__name__
    return f'{name} has no image with annotations{some}: give another, or correct metainfo.classes.'


def _unexpected(error: Exception, build: Frame) -> str | None:
    """An option that was given to a class and that neither it nor its bases have, with advice."""
    found = _KEYWORD.search(message(error)) if isinstance(error, TypeError) else None
    if found is None or found[1] not in (build.names.get('args') or ()):
        return None
    made = build.names.get('obj_cls')
    inits = [vars(base)['__init__'] for base in getattr(made, '__mro__', ())[:-1] if '__init__' in vars(base)]
    options = {name for init in inits for name in inspect.signature(init).parameters} - {'self', found[1]}
    return found[1] + (did_you_mean(found[1], options) or '; correct or remove it.')


def _makes(call: Frame) -> bool:
    if call.module == 'mmengine.registry.build_functions':
        return True
    return call.module == 'mmengine.runner.runner' and call.function == 'from_cfg'


def _name(build: Frame) -> str:
    made = build.names.get('obj_cls') or build.names.get('obj_type') or ''
    return getattr(made, '__name__', str(made))


def _first(error: BaseException) -> BaseException:
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error


def _is_library(call: Frame) -> bool:
    installed = {'site-packages', 'dist-packages'} & set(Path(call.file).parts)
    return bool(installed) or call.package in sys.stdlib_module_names or not Path(call.file).is_file()
