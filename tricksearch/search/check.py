"""Checks of a study that need its data, its net or its space: before anything trains."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tricksearch.contract.discovery import Registry, discover, source_file
from tricksearch.contract.errors import InputError, NotApplicable, TrialError, collecting, together
from tricksearch.records.recipe import Recipe
from tricksearch.search.phases.ablate import check_target
from tricksearch.search.phases.screen import Screen
from tricksearch.search.space.space import Space
from tricksearch.store.folder import read_records
from tricksearch.study.study import Study

if TYPE_CHECKING:
    from torch import nn

    from tricksearch.trial.data.dataset import DataSet
    from tricksearch.trial.measuring.machine_lock import Machine

log = logging.getLogger(__name__)


def check_study(study: Study, elsewhere: bool = False) -> Registry:
    """Load the data, build the net, and let each trick that acts on the net act on it once.

    With `elsewhere` the trials run on other machines, and a GPU need not be here. Raises InputError for all problems
    that are found.
    """
    from tricksearch.trial.data.loaded import cached_data
    from tricksearch.trial.training.precision import choose_device

    registry = discover(study.plugins)
    problems: list[InputError] = []
    if not elsewhere:
        with collecting(problems):
            choose_device(study.train.device)
    with collecting(problems):
        check_starts(study, registry)
    with collecting(problems):
        data = cached_data(study.data)
        for note in check_net_sees(study.base_recipe(), data):
            log.warning(note)
        _check_tricks(study, registry, data)
    if problems:
        raise together(problems)
    return registry


def check_net_sees(recipe: Recipe, data: DataSet) -> tuple[str, ...]:
    """What there is to say of the pixels that a recipe's net leaves out. Raises InputError where they are many.

    It is also raised where the net cannot be built for this data.
    """
    import torch

    from tricksearch.trial.training.nets import build_net, check_seen

    channels, height, width = data.train.pixels.shape[1:]
    shape = (int(channels), int(height), int(width))
    with torch.random.fork_rng(devices=[]):
        net = build_net(recipe.net, len(data.classes), shape)
    return check_seen(net, recipe.net, len(data.classes), shape)


def _check_tricks(study: Study, registry: Registry, data: DataSet) -> None:
    """Let each trick that acts on the net act on it. Raises InputError for all that cannot."""
    from tricksearch.contract import build, hooks
    from tricksearch.trial.measuring.machine_lock import Machine
    from tricksearch.trial.training.nets import build_net
    from tricksearch.trial.training.workbench import Bench

    # On the CPU, so that this process takes nothing of a GPU that the workers need.
    base = study.base_recipe()
    base = base.model_copy(update={"train": base.train.model_copy(update={"device": "cpu"})})
    machine, problems = Machine(), []
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
                    problems.append(
                        InputError(
                            f"'{name}' cannot act on the net '{base.net.name}': {why}",
                            place=f"tricks.{name}",
                            remedy=f"take '{name}' out, choose another net, or mend {source_file(registry[name])}",
                        )
                    )
            problems += _rehearse_tricks(study, base, registry, data, machine, Path(folder))
    finally:
        machine.close()
    if problems:
        raise together(problems)


def _rehearse_tricks(
    study: Study, base: Recipe, registry: Registry, data: DataSet, machine: Machine, folder: Path
) -> list[InputError]:
    """What keeps tricks that act behind the training from acting, each once and alone, on the untrained net.

    A trick that brings a runtime may compile for minutes, and does not act on the net: it is left to the trials. What
    is a matter of the trained weights, such as a guard of accuracy, is left to them too.
    """
    from tricksearch.contract import build, defaults, hooks
    from tricksearch.trial.rehearsal import rehearse

    problems: list[InputError] = []
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
            problems.append(
                InputError(
                    f"'{name}' cannot act on the net '{base.net.name}': {error}",
                    place=f"tricks.{name}",
                    remedy=f"take '{name}' out, set its values, or choose another net",
                )
            )
        except InputError as error:
            problems.extend(error.all)
        except MemoryError:
            raise
        except Exception as error:  # a plugin may raise anything: the trials tell it, with their own reason
            log.info("'%s' could not be rehearsed: %s", name, error)
    return problems


def check_starts(study: Study, registry: Registry) -> None:
    """Raise InputError for all that a search cannot start from: an earlier run that is not there, and the like."""
    problems: list[InputError] = []
    if study.search.reproducible and study.search.stopping.rule != "none":
        problems.append(
            InputError(
                "a search that stops trainings early decides by what has come in so far, which is not reproducible",
                place="search.reproducible",
                remedy="leave 'stopping' or 'reproducible' out",
            )
        )
    space = Space.of(study, registry)
    for number, tricks in enumerate(study.search.first, start=1):
        if space.parameters(tricks) is None:
            problems.append(
                InputError(
                    f"recipe {number} of those to try first ({' + '.join(tricks) or 'no trick'}) is none that the "
                    "study searches",
                    place="search.first",
                    remedy="let the study search each of its tricks, and its values lie in their domains",
                )
            )
    for folder in study.search.learn_from:
        with collecting(problems):
            read_records(Path(folder), study.store)
    if "screen" in study.phases:
        with collecting(problems):
            Screen(study, space)
    with collecting(problems):
        check_target(study)
    if problems:
        raise together(problems)


def _untrained(recipe: Recipe | None = None) -> nn.Module:
    raise NotApplicable("it asks for a trained net when the net is built")
