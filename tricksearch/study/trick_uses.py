"""What a study does with each trick: searches it, forces it, leaves it out; and which values it takes."""

from __future__ import annotations

import graphlib
from collections.abc import Mapping
from typing import Any, Literal, cast

from pydantic import ConfigDict

from tricksearch.contract import (
    Choice,
    Domain,
    DomainError,
    Float,
    InputError,
    Int,
    Json,
    Net,
    Registry,
    Trick,
    collecting,
    defaults,
    domains,
    nearest,
    together,
)
from tricksearch.records.settings import NetSettings, Settings
from tricksearch.study.document import trick_of, unavailable
from tricksearch.study.recipe_file import checked_value
from tricksearch.study.yaml_file import Document, Key, shown

USES = ("search", "always", "never")


class TrickUse(Settings):
    """What a study does with one trick: `use`, and beside it each hyperparameter.

    A list is what the search draws from (two ends of an interval, or options); anything else is the value.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    use: Literal["search", "always", "never"] = "search"

    @property
    def fields(self) -> dict[str, Json]:
        """Each hyperparameter with its values."""
        return dict(self.model_extra or {})


class TrickReader:
    """Reads the `tricks` of a study file."""

    def __init__(self, document: Document, registry: Registry, net: NetSettings) -> None:
        self._document, self._registry, self._net = document, registry, net

    def read(self) -> tuple[dict[str, TrickUse], dict[str, str]]:
        """What is done with each trick, and the reason for each that this machine cannot run, by name."""
        problems: list[InputError] = []
        uses: dict[str, TrickUse] = {}
        left_out: dict[str, str] = {}
        for name, key in self._given().items():
            with collecting(problems):
                uses[name] = self._use(key, name)
                reason = unavailable(name, self._registry) if uses[name].use != "never" else None
                if reason and uses[name].use == "always":
                    raise self._document.error(
                        f"'{name}' is forced, and this machine cannot run it: {reason}",
                        ("tricks", name),
                        "write 'never', or take the trick out",
                    )
                if reason:
                    left_out[name] = reason
        if problems:
            raise together(problems)
        uses = {name: use for name, use in sorted(uses.items()) if name not in left_out}
        if all(use.use == "never" for use in uses.values()):
            reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
            raise self._document.error(
                "no trick is left to search" + (f", this machine cannot run {reasons}" if reasons else ""),
                ("tricks",),
                "name the tricks to search, or leave 'tricks' out to search all",
            )
        self._refuse_two_holders(uses)
        self._refuse_circle(uses)
        return uses, left_out

    def _given(self) -> dict[str, Key]:
        """Each trick that takes part, with its key in the file."""
        if "tricks" not in self._document.data:
            return {name: ("tricks", name) for name in self._registry}
        given = self._document.data["tricks"]
        if not given and (given is None or isinstance(given, list | dict)):
            raise self._document.error(
                "the list of tricks is empty", ("tricks",), "name some, or leave 'tricks' out to search all"
            )
        if isinstance(given, dict):
            return {name: ("tricks", name) for name in given}
        if not isinstance(given, list):
            raise self._document.error(
                f"'tricks' must be a list of names or a mapping, got {shown(given)}",
                ("tricks",),
                "write 'tricks: [NAME]'",
            )
        keys: dict[str, Key] = {}
        for index, name in enumerate(given):
            if not isinstance(name, str):
                raise self._document.error(
                    f"a list of tricks holds names, got {shown(name)}",
                    ("tricks", index),
                    "to set a hyperparameter, write 'tricks' as a mapping, without the dashes",
                )
            if name in keys:
                raise self._document.error(f"'{name}' is named twice", ("tricks", index), "keep one of them")
            keys[name] = ("tricks", index)
        return keys

    def _use(self, key: Key, name: str) -> TrickUse:
        trick = trick_of(self._document, key, name, self._registry)
        given = self._document.at(key) if isinstance(self._document.data.get("tricks"), dict) else None
        if not isinstance(given, dict):
            return self._written_out(trick, self._forced(given, key), {})
        use = self._forced(given["use"], (*key, "use")) if "use" in given else "search"
        known = domains(trick)
        fields: dict[str, Json] = {}
        problems: list[InputError] = []
        for field in (field for field in given if field != "use"):
            with collecting(problems):
                if field not in known:
                    raise self._document.error(
                        f"'{field}' is not a hyperparameter of '{name}'",
                        (*key, field),
                        nearest(field, ("use", *known)),
                    )
                if given[field] is not None:
                    fields[field] = self._field((*key, field), known[field])
        if problems:
            raise together(problems)
        return self._written_out(trick, use, fields)

    def _forced(self, given: Any, key: Key) -> str:
        if given is None:
            return "search"
        if given not in USES:
            raise self._document.error(
                f"a trick takes {', '.join(USES)} or a mapping of its hyperparameters, got {shown(given)}",
                key,
                _hint(given),
            )
        return cast(str, given)

    def _field(self, key: Key, domain: Domain) -> Json:
        """A hyperparameter as the file gives it: a list narrows its domain, anything else fixes it."""
        given = self._document.at(key)
        if not isinstance(given, list):
            return _fixed(checked_value(self._document, key, domain, self._registry, self._net))
        items = [
            checked_value(self._document, (*key, index), domain, self._registry, self._net)
            for index in range(len(given))
        ]
        try:
            return _values(domain.narrow(items))
        except DomainError as error:
            swapped = isinstance(domain, Float | Int) and len(items) == 2
            raise self._document.error(str(error), key, "swap the two" if swapped else "") from None

    @staticmethod
    def _written_out(trick: type[Trick], use: str, fields: Mapping[str, Json]) -> TrickUse:
        if use == "never":
            return TrickUse(use="never")
        values = {
            field: fields.get(
                field, _values(domain) if domain.searched else _fixed(domain.check(defaults(trick)[field]))
            )
            for field, domain in domains(trick).items()
        }
        return TrickUse.model_validate({"use": use, **values})

    def _refuse_two_holders(self, uses: Mapping[str, TrickUse]) -> None:
        holder: dict[str, str] = {}
        for name in (name for name, use in uses.items() if use.use == "always"):
            claim = self._registry[name].claims
            if claim and claim in holder:
                first = self._document.line(("tricks", holder[claim]))
                raise self._document.error(
                    f"'{holder[claim]}' (line {first}) and '{name}' are both forced, and both claim "
                    f"'{claim}', and only one of a recipe may",
                    ("tricks", name),
                    "force one of them",
                )
            holder[claim] = name

    def _refuse_circle(self, uses: Mapping[str, TrickUse]) -> None:
        """Tags that wait for each other: some recipe could then not be put in order."""
        after: dict[str, set[str]] = {}
        for name in (name for name, use in uses.items() if use.use != "never"):
            trick = self._registry[name]
            if trick.claims:
                after.setdefault(trick.claims, set()).update(set(trick.after) - {trick.claims})
        try:
            graphlib.TopologicalSorter(after).prepare()
        except graphlib.CycleError as error:
            raise self._document.error(
                f"the tags of these tricks order them in a circle: {' after '.join(error.args[1])}",
                ("tricks",),
                "write 'never' for one of the tricks that hold them, or change its 'after'",
            ) from None


def _hint(given: Any) -> str:
    hint = nearest(str(given), USES)
    return hint if hint.startswith("did") else "leave the value out to search the trick"


def _values(domain: Domain) -> list[Json]:
    """What may be drawn from a domain, as a study writes it."""
    if isinstance(domain, Float | Int):
        return [domain.check(domain.low), domain.check(domain.high)]
    return list(domain.options) if isinstance(domain, Choice | Net) else []


def _fixed(value: Json) -> Json:
    """A fixed value as a study writes it; a list would be read as options."""
    return [value] if isinstance(value, list) else value
