"""A recipe's base settings: data, net, training, latency. Every key has a default; unknown keys are errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError


class Settings(BaseModel):
    """Frozen settings whose keys are all known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSettings(Settings):
    """Which images, how they are split, and how many of them are used."""

    name: str = Field(
        "digits", description="a data set that is known by name, or image_folder or npz for images of your own"
    )
    root: str | None = Field(
        None,
        description="the folder (or .npz file) that holds the data set, relative to the current directory; null: "
        "$TRICKSEARCH_DATA, else data",
    )
    size: int | None = Field(None, ge=4, le=1024, description="resize to size x size pixels when loading")
    validation: float = Field(
        0.15, gt=0, lt=1, description="share held out for the search to compare on, where there is no official split"
    )
    test: float = Field(
        0.15, gt=0, lt=1, description="share held out for the end, where there is no official test split"
    )
    split_seed: int = Field(0, ge=0, description="seed of the splits and of the subsets; the same on every machine")
    train_images: int | None = Field(None, ge=2, description="use this many training images, stratified; null: all")
    validation_images: int | None = Field(
        None, ge=2, description="use this many validation images, stratified; null: all"
    )
    download: bool = Field(True, description="fetch an official data set (mnist, cifar10 and the like) that is absent")


class NetSettings(Settings):
    """Which net."""

    name: str = Field("resnet_small", description="resnet_small, which is built in, or any model of timm")
    stem: Literal["standard", "small"] = Field(
        "standard", description="small: stride 1 and no pooling, for images of 28 to 64 pixels"
    )
    widths: tuple[Annotated[int, Field(ge=8, le=1024)], ...] | None = Field(
        None, min_length=1, max_length=4, description="channels of each stage of the built-in net; null: its own"
    )
    blocks: Annotated[int, Field(ge=1, le=8)] | None = Field(
        None, description="residual blocks in each stage of the built-in net; null: its own"
    )


class TrainSettings(Settings):
    """The plain training: SGD with Nesterov momentum and a stepped learning rate."""

    epochs: int = Field(20, ge=1, le=10000, description="passes over the training images")
    batch_size: int = Field(128, ge=2, le=65536, description="images of one step; a last, smaller batch is dropped")
    lr: float = Field(0.1, gt=0, le=100, description="learning rate of SGD at the start")
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov momentum of SGD")
    weight_decay: float = Field(5e-4, ge=0, le=1, description="L2 penalty of SGD")
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (0.5, 0.75), description="shares of the training after which the learning rate drops to a tenth"
    )
    augment: Literal["auto", "none", "crop", "flip_crop"] = Field(
        "auto",
        description="of every recipe: shifts by up to an eighth of each side (crop), and mirroring left to right "
        "(flip_crop); auto: what suits the data set",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="of the forward pass in training; auto: 16 bits where the machine computes them fast"
    )
    channels_last: Literal["auto", "yes", "no"] = Field(
        "auto", description="memory layout of images; auto: yes on a GPU or with 16 bits"
    )
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto (a GPU where there is one), cpu, cuda or cuda:N"
    )
    threads: int = Field(1, ge=1, le=256, description="CPU threads of one trial's training")


# The settings of a latency that every stored recipe of earlier versions has; they timed each file for itself.
_EARLIER = frozenset({"batch", "threads", "blocks", "block_seconds", "batches"})
_EARLIER_BATCHES = [1, 8, 32]  # where a study did not name any


class LatencySettings(Settings):
    """How the deployable is timed, in turn with the baseline's file."""

    batch: int = Field(1, ge=1, le=1024, description="images of one call")
    threads: int = Field(1, ge=1, le=256, description="CPU threads of the runtime, unless a trick sets them")
    precision: float = Field(
        0.02,
        ge=0.002,
        le=0.5,
        description="rounds go on until the 95 % interval of the ratio to the baseline is no wider than this to either "
        "side, as a share",
    )
    seconds: float = Field(2.0, gt=0, le=600, description="time after which no further rounds are taken")
    block_seconds: float = Field(
        0.006, ge=0.001, le=60, description="length of a block, the turn of one file; at least one call in any case"
    )
    batches: tuple[Annotated[int, Field(ge=1, le=1024)], ...] = Field(
        (),
        max_length=8,
        description="more batch sizes to take the throughput at; without any: 8 and 32 where a study names the "
        "throughput as an objective or in a constraint, else that of one call alone",
    )

    @model_validator(mode="before")
    @classmethod
    def _of_today(cls, given: Any) -> Any:
        """What an earlier version stored, without the settings of its way of timing."""
        if isinstance(given, Mapping) and given.keys() == _EARLIER:
            chosen = () if list(given["batches"]) == _EARLIER_BATCHES else ("batches",)
            return {name: given[name] for name in ("batch", "threads", *chosen)}
        return given


def problem(rule: str, remedy: str = "") -> PydanticCustomError:
    """What a validator of a settings model raises, so that `validate` gives its rule and remedy."""
    return PydanticCustomError("input_error", "{rule}", {"rule": rule, "remedy": remedy})
