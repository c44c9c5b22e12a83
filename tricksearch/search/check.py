"""Checks of a study that need its data, its net or its space: before anything trains."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from tricksearch.contract.discovery import Registry, discover, source_file
from tricksearch.contract.errors import InputError, NotApplicable, TrialError
from tricksearch.records.recipe import Recipe
from tricksearch.search.phases.ablate import check_target
from tricksearch.search.phases.screen import Screen
from tricksearch.search.space.space import Space
from tricksearch.store.folder import read_records
from tricksearch.study.study import Study

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from torch import nn

    from tricksearch.trial.data import DataSet
    from tricksearch.trial.measuring.machine_lock import Machine


def check_study(study: Study, elsewhere: bool = False) -> Registry:
    """Load the data, build the net, and let each trick that acts on the net act on it once. Raises InputError.

    With `elsewhere` the trials run on other machines, and a GPU need not be here.
    """
    import tempfile

    from tricksearch.contract import build, hooks
    from tricksearch.trial.data.loaded import cached_data
    from tricksearch.trial.measuring.machine_lock import Machine
    from tricksearch.trial.training.nets import build_net
    from tricksearch.trial.training.precision import choose_device
    from tricksearch.trial.training.workbench import Bench

    registry = discover(study.plugins)
    if not elsewhere:
        choose_device(study.train.device)
    # On the CPU, so that this process takes nothing of a GPU that the workers need.
    base = study.base_recipe()
    base = base.model_copy(update={"train": base.train.model_copy(update={"device": "cpu"})})
    data = cached_data(base.data)
    machine = Machine()
    check_starts(study, registry)
    try:
        with tempfile.TemporaryDirectory(prefix="tricksearch-check-") as folder:
            bench = Bench(base, 0, registry, data, machine, Path(folder), teach=_untrained, net=_untrained)
            for name, use in study.tricks.items():
                if use.use == "never" or "model" not in hooks(registry[name]):
                    continue
                fixed = {field: value for field, value in use.fields.items() if not isinstance(value, list)}
                net = build_net(base.net, bench.num_classes, bench.input_shape)
                try:
                    build(registry[name], fixed).model(net, bench)
                except Exception as error:  # a plugin may raise anything
                    why = str(error) if isinstance(error, NotApplicable) else f"{type(error).__name__}: {error}"
                    raise InputError(
                        f"'{name}' cannot act on the net '{base.net.name}': {why}",
                        place=f"tricks.{name}",
                        remedy=f"take '{name}' out, choose another net, or mend {source_file(registry[name])}",
                    ) from error
            build_net(base.net, bench.num_classes, bench.input_shape)
            _rehearse_tricks(study, base, registry, data, machine, Path(folder))
    finally:
        machine.close()
    return registry


def _rehearse_tricks(
    study: Study, base: Recipe, registry: Registry, data: DataSet, machine: Machine, folder: Path
) -> None:
    """Let each trick that acts behind the training act once, alone, on the untrained net. Raises InputError.

    A trick that brings a runtime may compile for minutes, and does not act on the net: it is left to the trials. What
    is a matter of the trained weights, such as a guard of accuracy, is left to them too.
    """
    from tricksearch.contract import build, defaults, hooks
    from tricksearch.trial.rehearsal import rehearse

    for name, use in study.tricks.items():
        acts = set(hooks(registry[name]))
        if use.use == "never" or "runtime" in acts or not acts & {"compress", "deploy"}:
            continue
        fixed = {field: value for field, value in use.fields.items() if not isinstance(value, list)}
        values = defaults(registry[name]) | fixed
        if not build(registry[name], fixed).foreseeable():
            continue
        own = folder / name
        own.mkdir()
        try:
            rehearse(base.model_copy(update={"tricks": {name: values}}), registry, data, machine, own)
        except TrialError as error:
            raise InputError(
                f"'{name}' cannot act on the net '{base.net.name}': {error}",
                place=f"tricks.{name}",
                remedy=f"take '{name}' out, set its values, or choose another net",
            ) from error
        except (MemoryError, InputError):
            raise
        except Exception as error:  # a plugin may raise anything: the trials tell it, with their own reason
            log.info("'%s' could not be rehearsed: %s", name, error)


def check_starts(study: Study, registry: Registry) -> None:
    """Raise InputError for what a search cannot start from: an earlier run that is not there, and the like."""
    if study.search.reproducible and study.search.stopping.rule != "none":
        raise InputError(
            "a search that stops trainings early decides by what has come in so far, which is not reproducible",
            place="search.reproducible",
            remedy="leave 'stopping' or 'reproducible' out",
        )
    space = Space.of(study, registry)
    for number, tricks in enumerate(study.search.first, start=1):
        if space.parameters(tricks) is None:
            raise InputError(
                f"recipe {number} of those to try first ({' + '.join(tricks) or 'no trick'}) is none that the study "
                "searches",
                place="search.first",
                remedy="let the study search each of its tricks, and its values lie in their domains",
            )
    for folder in study.search.learn_from:
        read_records(Path(folder), study.store)
    if "screen" in study.phases:
        Screen(study, space)
    check_target(study)


def _untrained(recipe: Recipe | None = None) -> nn.Module:
    raise NotApplicable("it asks for a trained net when the net is built")
