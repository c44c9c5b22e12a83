"""Discovery: built-in tricks, then the folders that a study names, then installed packages' entry points.

A folder's files are run as Python: name only folders whose code you trust.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from tricksearch.contract.card import card
from tricksearch.contract.domains import DomainError
from tricksearch.contract.errors import InputError
from tricksearch.contract.trick import STAGE_OF_HOOK, Trick, domains, hooks, trick_name

BUILT_IN = "tricksearch_plugins"
ENTRY_POINTS = "tricksearch.tricks"
RESERVED = frozenset({"use", *STAGE_OF_HOOK})

Registry = Mapping[str, type[Trick]]


def discover(folders: Iterable[str | Path] = ()) -> Registry:
    """Every trick by name, sorted. Raises InputError for a file that breaks the contract or a name that is taken."""
    found: dict[str, type[Trick]] = {}
    for load in (*_built_in(), *_from_folders(folders), *_from_entry_points()):
        trick = load()
        name = trick_name(trick)
        if name in found and found[name] is not trick:
            files = " and ".join(str(source_file(each)) for each in (found[name], trick))
            raise InputError(f"two tricks are named '{name}': {files}", remedy="rename one of the files")
        found[name] = trick
    return dict(sorted(found.items()))


def source_file(trick: type[Trick]) -> Path:
    """The file that defines a trick."""
    return Path(inspect.getfile(trick))


def _built_in() -> Iterator[Callable[[], type[Trick]]]:
    package = importlib.import_module(BUILT_IN)
    for module in pkgutil.iter_modules(package.__path__):
        name = f"{BUILT_IN}.{module.name}"
        yield lambda name=name: _trick_of(_import(name, lambda: importlib.import_module(name)))  # type: ignore[misc]


def _from_folders(folders: Iterable[str | Path]) -> Iterator[Callable[[], type[Trick]]]:
    for folder in folders:
        path = Path(folder).expanduser().resolve()
        if not path.is_dir():
            raise InputError(
                f"'{folder}' is not a folder", place="plugins", remedy="name a folder that holds .py files"
            )
        files = [file for file in sorted(path.glob("*.py")) if not file.stem.startswith("_")]
        if not files:
            raise InputError(
                f"'{folder}' holds no .py file", place="plugins", remedy="put one file for each trick into it"
            )
        for file in files:
            yield lambda file=file: _trick_of(_import(str(file), lambda: _load_file(file)))  # type: ignore[misc]


def _from_entry_points() -> Iterator[Callable[[], type[Trick]]]:
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        yield lambda point=point: _trick_of(_import(f"entry point {point.name} = {point.value}", point.load))  # type: ignore[misc]


def _load_file(file: Path) -> ModuleType:
    text = file.read_bytes()
    mark = hashlib.sha256(str(file).encode() + b"\0" + text).hexdigest()[:12]
    name = f"tricksearch_folder_{mark}.{file.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import(place: str, load: Callable[[], object]) -> object:
    try:
        return load()
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"the plugin does not import: {type(error).__name__}: {error}",
            place=place,
            remedy="mend the file, or take its folder out of 'plugins'",
        ) from error


def _trick_of(loaded: object) -> type[Trick]:
    """The one trick of a module (or the class that an entry point names), proved to keep the contract."""
    if isinstance(loaded, ModuleType):
        own = [
            value
            for value in vars(loaded).values()
            if isinstance(value, type) and issubclass(value, Trick) and value.__module__ == loaded.__name__
        ]
        if len(own) != 1:
            names = ", ".join(each.__name__ for each in own) or "none"
            raise InputError(
                f"a plugin file defines exactly one Trick, this one defines {len(own)} ({names})",
                place=str(loaded.__file__),
                remedy="one trick, one file",
            )
        trick = own[0]
    elif isinstance(loaded, type) and issubclass(loaded, Trick):
        trick = loaded
    else:
        raise InputError(f"an entry point of '{ENTRY_POINTS}' must name a Trick or its module, not {loaded!r}")
    problem = broken_contract(trick)
    if problem:
        raise InputError(f"the plugin breaks the contract: {problem}", place=str(source_file(trick)))
    return trick


def broken_contract(trick: type[Trick]) -> str | None:
    """What is wrong with a trick, in a sentence, or None. A third party's tests may call it on its own tricks."""
    params = getattr(trick, "__dataclass_params__", None)
    if "__dataclass_fields__" not in vars(trick) or params is None or not params.frozen:
        return f"{trick.__name__} must be a @dataclass(frozen=True)"
    if not hooks(trick):
        return f"{trick.__name__} overrides none of the hooks {', '.join(STAGE_OF_HOOK)}"
    if not isinstance(trick.claims, str) or not isinstance(trick.after, tuple):
        return "'claims' is a tag (a string) and 'after' a tuple of tags"
    try:
        domain_of = domains(trick)
        card(trick)
    except (TypeError, NameError) as error:
        return str(error)
    for field in dataclasses.fields(trick):  # type: ignore[arg-type]
        if field.name in RESERVED:
            return f"a hyperparameter must not be named '{field.name}', which is a word of the contract"
        if field.default is dataclasses.MISSING:
            return f"'{field.name}' needs a default, the value that its paper recommends"
        try:
            domain_of[field.name].check(field.default)
        except DomainError as error:
            return f"the default of '{field.name}' is outside its own domain: {error}"
    for hook in hooks(trick):
        takes = list(inspect.signature(getattr(trick, hook)).parameters)
        needs = list(inspect.signature(getattr(Trick, hook)).parameters)
        if len(takes) != len(needs):
            return f"the hook '{hook}' must take ({', '.join(needs)}), it takes ({', '.join(takes)})"
    return None
