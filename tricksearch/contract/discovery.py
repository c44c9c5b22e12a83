"""Discovery: built-in tricks, then the folders that a study names, then installed packages' entry points.

A folder's files are run as Python: name only folders whose code you trust.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import CodeType, ModuleType

from tricksearch.contract.card import card
from tricksearch.contract.code import CODE, code_hash
from tricksearch.contract.domains import Choice, Domain, DomainError
from tricksearch.contract.earlier import EARLIER
from tricksearch.contract.errors import InputError
from tricksearch.contract.trick import STAGE_OF_HOOK, Trick, domains, hooks, trick_name

BUILT_IN = "tricksearch_plugins"
ENTRY_POINTS = "tricksearch.tricks"
TAGS = frozenset({"claims", "after", "branches"})
RESERVED = frozenset({"use", "unavailable", "foreseeable", *STAGE_OF_HOOK})

Registry = Mapping[str, type[Trick]]


def discover(folders: Iterable[str | Path] = ()) -> Registry:
    """Every trick by name, sorted. Raises InputError for a file that breaks the contract or a name that is taken."""
    tricks: dict[str, type[Trick]] = {}
    for load in (*_built_in(), *_from_folders(folders), *_from_entry_points()):
        trick = load()
        name = trick_name(trick)
        if name in tricks and tricks[name] is not trick:
            files = " and ".join(str(source_file(holder)) for holder in (tricks[name], trick))
            raise InputError(f"two tricks are named '{name}': {files}", remedy="rename one of the files")
        tricks[name] = trick
    return dict(sorted(tricks.items()))


def source_file(trick: type[Trick]) -> Path:
    """The file that defines a trick."""
    return Path(inspect.getfile(trick))


def source_text(module: str) -> str | None:
    """The text of a module with a trick as it stood when it was discovered, or None: its file may be edited since."""
    return _texts.get(module)


def text_of(trick: type[Trick]) -> str:
    """The text of the file that defines a trick, as it stood when it was discovered."""
    text = _texts.get(trick.__module__)
    return source_file(trick).read_text(encoding="utf-8") if text is None else text


def source_hash(trick: type[Trick]) -> str:
    """A hash of the code that defines a trick: what was measured with one code does not hold for another.

    It is that of the trick's file, apart from its words; see `code_hash`.
    """
    return code_hash(text_of(trick))


def has_source(trick: type[Trick], mark: str) -> bool:
    """Whether a trick's code is the one that a mark stands for.

    That is what `source_hash` gave, or a hash of the file's whole text, which earlier versions kept in its place. Of
    another text only of built-in tricks is known whether its code was the same.
    """
    if mark.startswith(CODE):
        return mark == source_hash(trick)
    return mark == hashlib.sha256(text_of(trick).encode()).hexdigest()[:16] or EARLIER.get(mark) == source_hash(trick)


_texts: dict[str, str] = {}  # by module


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
        package = f" (package {point.dist.name})" if point.dist else ""
        place = f"entry point {point.name} = {point.value}{package}"
        load = functools.partial(_import, place, point.load, "mend the package, or uninstall it")
        yield lambda load=load, place=place: _trick_of(load(), place)  # type: ignore[misc]


class _FromSource(importlib.machinery.SourceFileLoader):
    """Reads a file's text, never its bytecode, which is kept by second and size: an edit may leave both as they are."""

    def get_code(self, fullname: str) -> CodeType:
        """The code of the text as it is now."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _load_file(file: Path) -> ModuleType:
    text = file.read_bytes()
    mark = hashlib.sha256(str(file).encode() + b"\0" + text).hexdigest()[:12]
    name = f"tricksearch_folder_{mark}.{file.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file, loader=_FromSource(name, str(file)))
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


def _import(
    place: str, load: Callable[[], object], remedy: str = "mend the file, or take its folder out of 'plugins'"
) -> object:
    try:
        return load()
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == place]
        where = f" (line {lines[-1]})" if lines else ""
        raise InputError(
            f"the plugin does not import: {type(error).__name__}: {error}{where}", place=place, remedy=remedy
        ) from error


def _trick_of(loaded: object, place: str = "") -> type[Trick]:
    """The one trick of a module (or the class that an entry point names), proved to keep the contract."""
    if isinstance(loaded, ModuleType):
        own = [
            value
            for value in vars(loaded).values()
            if isinstance(value, type) and issubclass(value, Trick) and value.__module__ == loaded.__name__
        ]
        if len(own) != 1:
            names = ", ".join(candidate.__name__ for candidate in own) or "none"
            raise InputError(
                f"a plugin file defines exactly one Trick, this one defines {len(own)} ({names})",
                place=str(loaded.__file__),
                remedy="one trick, one file",
            )
        trick = own[0]
    elif isinstance(loaded, type) and issubclass(loaded, Trick):
        trick = loaded
    else:
        raise InputError(f"an entry point of '{ENTRY_POINTS}' must name a Trick or its module", place=place)
    if trick.__module__ not in _texts:
        _texts[trick.__module__] = source_file(trick).read_text(encoding="utf-8")
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
    names = {field.name for field in dataclasses.fields(trick)}  # type: ignore[arg-type]
    for name in sorted(names & TAGS):
        return f"'{name}' is a tag, not a hyperparameter: write it without an annotation"
    for name in sorted(names & RESERVED):
        return f"a hyperparameter must not be named '{name}', which is a word of the contract"
    if not isinstance(trick.claims, str) or not _are_tags(trick.after):
        return f"'claims' is a tag (a string) and 'after' a tuple of tags, got {trick.claims!r} and {trick.after!r}"
    try:
        domain_of = domains(trick)
        card(trick)
    except TypeError as error:
        return str(error)
    except Exception as error:  # with `from __future__ import annotations` they are evaluated here
        return f"an annotation cannot be read: {type(error).__name__}: {error}"
    for field in dataclasses.fields(trick):  # type: ignore[arg-type]
        if field.default is dataclasses.MISSING:
            return f"'{field.name}' needs a default, the value that its paper recommends"
        try:
            domain_of[field.name].check(field.default)
        except DomainError as error:
            return f"the default of '{field.name}' is outside its own domain: {error}"
    if not isinstance(inspect.getattr_static(trick, "unavailable"), classmethod | staticmethod):
        return "'unavailable' must be a @classmethod: it is asked before there is a trick"
    wrong_calls = (_wrong_call(trick, hook) for hook in hooks(trick))
    return next(filter(None, (_wrong_condition(domain_of), *wrong_calls)), None)


def _are_tags(given: object) -> bool:
    return isinstance(given, tuple) and all(isinstance(tag, str) for tag in given)


def _wrong_condition(domain_of: Mapping[str, Domain]) -> str | None:
    seen: dict[str, Domain] = {}
    for name, domain in domain_of.items():
        for other, value in domain.when.items():
            decides = seen.get(other)
            if not isinstance(decides, Choice) or decides.when or value not in decides.options:
                return f"'{name}' depends on '{other}', which must be an unconditional Choice before it with {value!r}"
        seen[name] = domain
    return None


def _wrong_call(trick: type[Trick], hook: str) -> str | None:
    own = getattr(trick, hook)
    needs = list(inspect.signature(getattr(Trick, hook)).parameters)
    rule = f"the hook '{hook}' must take ({', '.join(needs)})"
    if not inspect.isfunction(own):
        return f"{rule}, it is {own!r}"
    takes = inspect.signature(own)
    try:
        takes.bind(*needs)  # as the engine calls it: by position
    except TypeError:
        bare = [parameter.replace(annotation=parameter.empty) for parameter in takes.parameters.values()]
        return f"{rule}, it takes {inspect.Signature(bare)}"
    return None
