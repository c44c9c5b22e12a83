"""The catalogue of built-in tricks, from their cards, and the table of hooks, from the contract."""

from __future__ import annotations

import inspect

from tools.markdown import code, table
from tricksearch.contract import STAGE_OF_HOOK, Trick, card, defaults, discover, domains, hooks, stages
from tricksearch.contract.discovery import BUILT_IN, Registry

STAGES = {
    "train": "Tricks of training",
    "compress": "Tricks on the trained net",
    "deploy": "Tricks on the exported file",
    "measure": "Runtimes, and how they are called",
}


def built_in() -> Registry:
    """The built-in tricks, by name; not those that other packages of this environment bring."""
    return {name: trick for name, trick in discover().items() if trick.__module__.startswith(f"{BUILT_IN}.")}


def catalogue() -> str:
    """A section for each stage, and in it one for each trick that first acts there."""
    sections: dict[str, list[str]] = {stage: [] for stage in STAGES}
    for name, trick in built_in().items():
        runs = "runtime" in hooks(trick)
        sections["measure" if runs else stages(trick)[0]].append(_section(name, trick))
    return "\n\n".join(f"## {STAGES[stage]}\n\n" + "\n\n".join(sections[stage]) for stage in STAGES)


def _section(name: str, trick: type[Trick]) -> str:
    about = card(trick)
    claims = f" Claims `{trick.claims}`." if trick.claims else ""
    lines = [
        f"### {name}",
        about.does,
        f"- Paper: {about.paper}\n- Use when: {about.use_when}\n- Avoid when: {about.avoid_when}\n- Cost: {about.cost}",
        f"Hooks: {', '.join(f'`{hook}`' for hook in hooks(trick))}.{claims}",
    ]
    values = defaults(trick)
    rows = []
    for field, domain in domains(trick).items():
        space = domain.describe() + ("" if domain.searched else "; searched only where a study lists values")
        when = " and ".join(f"`{other}` is {code(value)}" for other, value in domain.when.items())
        rows.append((f"`{field}`", code(values[field]), space + (f"; only where {when}" if when else "")))
    return "\n\n".join([*lines, *([table(("hyperparameter", "default", "values"), rows)] if rows else [])])


def hook_table() -> str:
    """One row for each hook: what it is for, what it takes and returns, and its stage."""
    rows = []
    for hook, stage in STAGE_OF_HOOK.items():
        method = getattr(Trick, hook)
        taken = next(
            parameter
            for parameter in inspect.signature(method).parameters.values()
            if parameter.name not in ("self", "bench")
        )
        what = inspect.getdoc(method) or ""
        rows.append((f"`{hook}`", f"`{taken.annotation}`", " ".join(what.split()), stage))
    return table(("hook", "takes and returns", "what it is for", "stage"), rows)


def claims() -> str:
    """The tags that built-in tricks claim, each with its holders."""
    holders: dict[str, list[str]] = {}
    for name, trick in built_in().items():
        if trick.claims:
            holders.setdefault(trick.claims, []).append(name)
    return table(("tag", "claimed by"), [(f"`{tag}`", ", ".join(names)) for tag, names in sorted(holders.items())])
