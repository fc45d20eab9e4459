"""The procedures of others: the routers that `server.plugins` names, imported in the process that serves them.

A plugin is code that was not tried here before, so whatever it does wrong is told in one line: which plugin, what is wrong,
where in its files, what to mend. A traceback would be mostly frames of ours.
"""

import difflib
import importlib
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from procedures import Router, app_router
from server.setting_types import SettingsError

_FORM = re.compile(r"((?:[^\W\d]\w*\.)*[^\W\d]\w*):([^\W\d]\w*)")


def load_routers(plugins: Sequence[str]) -> list[Router]:
    """The routers that are named, in order, tried together with attachd's own: `create_app` can take them.

    Each is written `package.module:router`. A module is looked for where Python finds modules, and then in the current
    directory, which comes last, so that no file there stands for a module that is installed. Raises SettingsError.
    """
    merged = app_router()
    routers = []
    for plugin in plugins:
        router = _import(plugin)
        try:
            merged.merge(router)
            merged.freeze()
        except TypeError as error:
            raise _refused(plugin, f"{error}; mend the router") from error
        except Exception as error:
            # An annotation in quotes is evaluated here for the first time, whatever it holds.
            raise _refused(plugin, f"an annotation cannot be read: {_text(error)}; mend the router") from error
        routers.append(router)
    return routers


def _import(plugin: str) -> Router:
    match = _FORM.fullmatch(plugin)
    if match is None:
        raise _refused(plugin, 'write it as module and name of a router, such as "helpdesk.tickets:router"')
    module = _import_module(plugin, match[1])
    found = getattr(module, match[2], None)
    if isinstance(found, Router):
        return found
    there = [name for name, value in vars(module).items() if isinstance(value, Router)]
    mend = (
        f"write {match[1]}:{difflib.get_close_matches(match[2], there, n=1, cutoff=0)[0]}"
        if there
        else "name a procedures.Router"
    )
    what = f"has no {match[2]}" if found is None else f"has a {type(found).__name__} as {match[2]}, not a Router"
    raise _refused(plugin, f"{_place(module)} {what}; {mend}")


def _import_module(plugin: str, name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):  # a module that the plugin imports
            raise _refused(plugin, _failure(error, name)) from error
        mend = f"install it, start attachd in the folder that holds it (this is {here}), or put that folder into PYTHONPATH"
        raise _refused(plugin, f"there is no module {error.name}; {mend}") from error
    except (Exception, SystemExit) as error:
        raise _refused(plugin, _failure(error, name)) from error


def _failure(error: BaseException, name: str) -> str:
    """Why a module cannot be imported, and the innermost line outside the import system."""
    ours = ("<frozen ", importlib.__file__, __file__)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(ours)]
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"importing {name} fails: {_text(error)}{place}"


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _place(module: ModuleType) -> str:
    return f"{module.__name__} ({getattr(module, '__file__', None) or 'no file'})"


def _refused(plugin: str, why: str) -> SettingsError:
    return SettingsError(f"server.plugins: {plugin!r}: {' '.join(why.split())}")
