"""Sixty plausible records, and a page of them opened in a real browser."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tricksearch.records.recipe import Recipe
from tricksearch.records.record import Record

HARDWARE = {"cpu": "Intel(R) Xeon(R) Platinum 8481C", "cores": 2, "memory_gib": 7.8, "gpu": None}
VERSIONS = {"torch": "2.15.0", "onnxruntime": "1.31.1"}
VALIDATION_IMAGES = 270
NO_CHROMIUM = "no Chromium to look at the page with: apt-get install chromium chromium-driver"

# What each trick may draw, the points of accuracy that it adds, and the factor on latency.
TRICKS: dict[str, tuple[Callable[[random.Random], dict[str, Any]], float, float]] = {
    "cosine": (lambda r: {"floor": 0.0}, 0.4, 1.0),
    "cutmix": (lambda r: {"alpha": r.uniform(0.2, 2.0), "probability": 0.5}, -0.5, 1.0),
    "distillation": (lambda r: {"teacher": "resnet18", "temperature": r.uniform(1, 8)}, 0.6, 1.0),
    "focal": (lambda r: {"gamma": r.uniform(0.5, 5)}, -0.2, 1.0),
    "int8": (lambda r: {"images": 128, "per_channel": True}, -0.3, 0.62),
    "label_smoothing": (lambda r: {"epsilon": r.uniform(0.01, 0.3)}, 0.2, 1.0),
    "mixup": (lambda r: {"alpha": r.uniform(0.05, 1.0)}, 0.3, 1.0),
    "onecycle": (lambda r: {"peak": 10 ** r.uniform(-5, 0)}, 0.5, 1.0),
    "pruning": (lambda r: {"ratio": r.uniform(0.1, 0.7), "round_to": 8}, -0.6, 0.6),
    "se": (lambda r: {"reduction": r.choice([4, 8, 16])}, 0.1, 1.45),
}
CLAIMS = (("cutmix", "mixup"), ("cosine", "onecycle"))
FAILURES = {
    7: ("failed", "NotApplicable: no convolution of this net can lose a channel"),
    19: ("diverged", "the loss was nan in epoch 3 of 12"),
    23: (
        "out_of_memory",
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8589934592 bytes",
    ),
    38: ("failed", "RuntimeError: the teacher expects 3 channels, the images have 1"),
    51: ("diverged", "the loss was inf in epoch 1 of 12"),
}


def make_records(count: int = 60) -> list[Record]:
    """Records whose spread resembles that of a small study; the same ones every time."""
    draw = random.Random(0)
    records = []
    for trial in range(count):
        tricks: dict[str, Any] = {}
        for name, (values, _, _) in TRICKS.items() if trial else ():
            rival = {other for pair in CLAIMS if name in pair for other in pair}
            if draw.random() < 0.4 and not rival & set(tricks):
                tricks[name] = values(draw)
        accuracy = 95.2 + sum(TRICKS[name][1] for name in tricks) + draw.gauss(0, 0.5)
        latency = 0.412 * draw.gauss(1, 0.02)
        for name in tricks:
            factor = TRICKS[name][2]
            latency *= 1 - (1 - factor) * (tricks[name]["ratio"] / 0.5 if name == "pruning" else 1)
        right = round(min(accuracy, 99.6) / 100 * VALIDATION_IMAGES)
        params = int(175_000 * (1 - tricks["pruning"]["ratio"] if "pruning" in tricks else 1))
        record = Record(
            trial=trial,
            phase="search" if trial else "baseline",
            status="finished",
            reason="",
            seed=0,
            recipe=Recipe(tricks=tricks).model_dump(mode="json"),
            measures={
                "accuracy": 100 * right / VALIDATION_IMAGES,
                "f1": 100 * right / VALIDATION_IMAGES - draw.uniform(0, 0.3),
                "latency_ms": latency,
                "latency_p95_ms": latency * draw.uniform(1.05, 1.3),
                "params": params,
                "macs": params * 24,
                "file_bytes": params * (1 if "int8" in tricks else 4) + 9_000,
                "train_seconds": draw.uniform(1.4, 2.6),
            },
            validation_images=VALIDATION_IMAGES,
            latency_runs=draw.randint(600, 1500),
            latency_low_ms=latency * 0.99,
            latency_high_ms=latency * 1.01,
            timing={"id": str(trial), "yardstick_ms": 0.412, "refers_to_ms": 0.412},
            started=f"2026-11-21T12:{trial // 60 % 60:02d}:{trial % 60:02d}+00:00",
            wall_seconds=3.0,
            hardware=HARDWARE,
            versions=VERSIONS,
        )
        if trial in FAILURES:
            status, reason = FAILURES[trial]
            record = replace(record, status=status, reason=reason, measures={})
        records.append(record)
    return records


def make_study(**changes: Any) -> dict[str, Any]:
    plain = Recipe().model_dump(mode="json")
    study = {
        "name": "digits",
        "objectives": ["accuracy", "latency_ms"],
        **{key: plain[key] for key in ("data", "net", "train", "latency")},
        "tricks": dict.fromkeys(TRICKS, "search"),
        "seed": 0,
        "hardware": HARDWARE,
        "versions": VERSIONS,
    }
    return {**study, **changes}


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chromium, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if not chromium or not driver:
        pytest.skip(NO_CHROMIUM)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-dev-shm-usage",
        "disable-background-networking",
        "no-first-run",
        "disable-component-update",
        "disable-sync",
        "window-size=1280,900",
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    window = webdriver.Chrome(options=options, service=Service(driver))
    yield window
    window.quit()


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tricksearch.report import write_report

    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(make_records(), make_study(), path)
    return path
