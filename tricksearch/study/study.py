"""The study: data, net, training budget, tricks and what is searched of them, objectives. One YAML file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from tricksearch.contract import Json, collecting, nearest, together
from tricksearch.records.constraints import Constraint
from tricksearch.records.goals import Goals
from tricksearch.records.measures import MEASURES
from tricksearch.records.recipe import Recipe
from tricksearch.records.settings import DataSettings, LatencySettings, NetSettings, Settings, TrainSettings, problem
from tricksearch.study.document import check_names, plugin_registry, prepared, readable
from tricksearch.study.recipe_file import first_recipes
from tricksearch.study.settings import (
    QUALITIES,
    AblateSettings,
    ConfirmSettings,
    Phases,
    ScreenSettings,
    SearchSettings,
    VerdictSettings,
)
from tricksearch.study.store_url import checked_url, without_password
from tricksearch.study.trick_uses import TrickReader, TrickUse
from tricksearch.study.yaml_file import Document, read_yaml, shown
from tricksearch.trial.simulated import SimulationSettings

THROUGHPUT_BATCHES = (8, 32)  # beside that of a call, where a study asks for the throughput

# They change no record: tricks only change which recipes are tried, and the store knows their sources.
FREE = (
    *("name", "cache", "store", "variants", "versions", "hardware", "left_out", "plugins", "tricks"),
    *("phases", "screen", "ablate", "confirm", "verdicts"),
)
NOTES = ("versions", "hardware", "left_out")  # what a resolved study tells of the run that wrote it


def _folder_name(name: str) -> str:
    bad = sorted({letter for letter in name if letter in '/\\:*?"<>|' or not letter.isprintable()})
    if not name or len(name.encode()) > 100 or name[0] in ".-~ " or name[-1] in ". " or bad:
        raise problem(
            f"a study's name must be usable as the name of a folder, got {shown(name)}",
            "use letters, digits, '_' and '-', at most 100",
        )
    return name


def _measures(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in MEASURES:
            raise problem(f"there is no metric '{name}'", nearest(name, MEASURES))
    if len(set(names)) != len(names) or len(names) < 2:
        raise problem(
            f"two or more different objectives are needed, got {', '.join(names) or 'none'}",
            f"choose from {', '.join(MEASURES)}",
        )
    return names


def _constraints(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        try:
            Constraint.parse(text)
        except ValueError as error:
            raise problem(
                str(error), "write 'latency_ms <= 8', 'latency_ms <= 0.9 * baseline' or 'accuracy >= baseline - 0.5'"
            ) from None
        except KeyError as error:
            raise problem(f"there is no metric '{error.args[0]}'", nearest(error.args[0], MEASURES)) from None
    return texts


StoreUrl = Annotated[
    str | None,
    BeforeValidator(checked_url),
    PlainSerializer(lambda url: url and without_password(url), return_type=str | None),
]


class Study(Settings):
    """A study with everything written out. Its JSON, written as YAML, is itself a study file."""

    name: Annotated[str, AfterValidator(_folder_name)] = Field(
        description="of the study and of its run folder; left out: the file's name without its ending"
    )
    data: DataSettings = DataSettings()
    net: NetSettings = NetSettings()
    train: TrainSettings = TrainSettings()
    latency: LatencySettings = LatencySettings()
    plugins: tuple[str, ...] = Field((), description="folders of your own tricks, relative to this file; they are code")
    tricks: dict[str, TrickUse] = Field(
        default_factory=dict, description="what is done with each trick; left out: all that are installed are searched"
    )
    objectives: Annotated[tuple[str, ...], AfterValidator(_measures)] = Field(
        ("accuracy", "latency_ms"), description="two or more measures; the front is of these"
    )
    constraints: Annotated[tuple[str, ...], AfterValidator(_constraints)] = Field(
        (),
        description="limits on measures, absolute or relative to the baseline; what breaks one is never on the front",
    )
    variants: Literal["all", "search", "none"] = Field(
        "search",
        description="what else is made of each trained net and measured; all: each option of a choice too; none: "
        "nothing",
    )
    cache: str | None = Field(
        None, description="a folder of known stages that studies may share; null: in the run folder"
    )
    store: StoreUrl = Field(
        None, repr=False, description="the URL of a PostgreSQL database; null: store.db in the run folder"
    )
    trial: Literal["train", "simulated"] = Field(
        "train", description="simulated: nothing is trained; measures are drawn as 'simulation' says"
    )
    simulation: SimulationSettings | None = Field(
        None, validate_default=True, description="what is planted where trials are simulated"
    )
    phases: Phases = Field(("search",), description="what is run, in this order")
    screen: ScreenSettings = ScreenSettings()
    search: SearchSettings = SearchSettings()
    ablate: AblateSettings = AblateSettings()
    confirm: ConfirmSettings = ConfirmSettings()
    verdicts: VerdictSettings = VerdictSettings()
    left_out: dict[str, str] = Field(default_factory=dict)  # tricks that this machine cannot run, and why

    @field_validator("search")
    @classmethod
    def _stopping_can_act(cls, search: SearchSettings, info: ValidationInfo) -> SearchSettings:
        objectives, train, stopping = info.data.get("objectives"), info.data.get("train"), search.stopping
        if stopping.rule != "none" and objectives and not set(QUALITIES) & set(objectives):
            raise problem(
                f"'stopping' looks at accuracy, and the objectives are {', '.join(objectives)}",
                "add accuracy or f1 to 'objectives', or leave 'stopping' out",
            )
        if stopping.rule != "none" and train and not stopping.rungs(train.epochs):
            raise problem(
                f"'stopping' acts before the last epoch, and of {train.epochs} epochs none is as late as "
                f"{stopping.min_epochs or 1} and not the last",
                "lower 'min_epochs', train for longer, or leave 'stopping' out",
            )
        return search

    @field_validator("screen")
    @classmethod
    def _short_is_shorter(cls, screen: ScreenSettings, info: ValidationInfo) -> ScreenSettings:
        train = info.data.get("train")
        if train and screen.short_epochs is not None and screen.short_epochs >= train.epochs:
            raise problem(
                f"'short_epochs' is {screen.short_epochs}, and a whole training has {train.epochs} epochs",
                "give a smaller number, or leave 'short_epochs' out",
            )
        return screen

    @field_validator("simulation")
    @classmethod
    def _simulates(cls, simulation: SimulationSettings | None, info: ValidationInfo) -> SimulationSettings | None:
        if (info.data.get("trial") == "simulated") != (simulation is not None):
            raise problem(
                "'simulation' and 'trial: simulated' go together",
                "write both, with the effects that are planted, or neither",
            )
        return simulation

    @property
    def goals(self) -> Goals:
        """What is wanted of a recipe."""
        return Goals(self.objectives, self.constraints)

    def recipe(self, tricks: Mapping[str, Mapping[str, Json]]) -> Recipe:
        """The recipe with these tricks on this study's base settings."""
        return Recipe(
            data=self.data,
            net=self.net,
            train=self.train,
            latency=self._latency(),
            plugins=self.plugins,
            tricks={name: dict(values) for name, values in tricks.items()},
        )

    def _latency(self) -> LatencySettings:
        """The settings of a latency; at other batch sizes the throughput is only taken where it is asked for."""
        asked = {*self.objectives, *(Constraint.parse(text).measure for text in self.constraints)}
        if self.latency.batches or "throughput" not in asked:
            return self.latency
        return self.latency.model_copy(update={"batches": THROUGHPUT_BATCHES})

    def base_recipe(self) -> Recipe:
        """The plain baseline. It has no trick at all, not even those that the study forces."""
        return self.recipe({})

    def difference(self, other: Mapping[str, Any]) -> str | None:
        """The first difference that makes another study's JSON incomparable with this one, or None."""
        here = _comparable(self.model_dump(mode="json"))
        return next(_differences(_comparable(written_out(other)), here, ()), None)


def written_out(study: Mapping[str, Any]) -> Mapping[str, Any]:
    """A stored study's JSON with the settings that its version did not know, at their defaults."""
    try:
        return Study.model_validate(study).model_dump(mode="json")
    except ValidationError:  # it has a setting that this version does not know
        return study


def _comparable(study: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in study.items() if key not in FREE}
    if isinstance(kept.get("search"), Mapping):
        kept["search"] = {"seed": kept["search"].get("seed", 0)}  # all else says how much is searched, and how
    return kept


def _differences(stored: Any, given: Any, key: tuple[str, ...]) -> Iterator[str]:
    if isinstance(stored, Mapping) and isinstance(given, Mapping):
        for name in (*given, *(other for other in stored if other not in given)):
            inner = (*key, str(name))
            if name not in stored or name not in given:
                where = "here" if name in given else "there"
                yield f"{'.'.join(inner)} stands only {where}"
            else:
                yield from _differences(stored[name], given[name], inner)
    elif stored != given:
        yield f"{'.'.join(key)} is {shown(stored)} there and {shown(given)} here"


def load_study(path: Path) -> Study:
    """Read a study file and check everything that can be known before a trial runs.

    Imports the plugins. Paths in the file are relative to it, but for `data.root`, which is relative to the
    current directory. Raises InputError with the file, the line, the key and the remedy.
    """
    document = prepared(read_yaml(path))
    data = {key: value for key, value in document.data.items() if key not in NOTES}
    data.setdefault("name", path.stem)
    settings = {key: value for key, value in data.items() if key != "tricks"}
    study, problems = readable(Document(path, settings, document.lines), Study)
    if study is None:
        raise together(problems)
    search: dict[str, Any] = {
        "learn_from": tuple(str((path.parent / folder).resolve()) for folder in study.search.learn_from)
    }
    plugins, uses, left_out = study.plugins, study.tricks, study.left_out
    with collecting(problems):
        plugins, registry = plugin_registry(document, study.plugins)
        with collecting(problems):
            uses, left_out = TrickReader(document, registry, study.net).read()
            _check_simulation(document, study, uses)
        with collecting(problems):
            search["first"] = first_recipes(document, len(study.search.first), registry, study.net)
    with collecting(problems):
        check_names(document, study.data, study.net)
    if problems:
        raise together(document.by_line(problems))
    updated: dict[str, Any] = {"plugins": plugins, "tricks": uses, "left_out": left_out}
    around = path.parent / study.ablate.around
    if around.suffix in (".yaml", ".yml"):
        updated["ablate"] = study.ablate.model_copy(update={"around": str(around.resolve())})
    return study.model_copy(update={**updated, "search": study.search.model_copy(update=search)})


def _check_simulation(document: Document, study: Study, uses: Mapping[str, TrickUse]) -> None:
    """Raise InputError for an effect that is planted on a trick that the study does not have."""
    for name in sorted(study.simulation.names() if study.simulation is not None else ()):
        if name not in uses:
            raise document.error(
                f"an effect of '{name}' is planted, and the study has no such trick",
                ("simulation",),
                nearest(name, uses),
            )
