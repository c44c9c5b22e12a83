"""The net zoo: each trick of net, compression and deployment on each net that guides name, tiny images, untrained.

    python -m benchmarks zoo [--nets NET ...] [--tricks NAME ...] [--size 32] [--markdown FILE]

A cell says `works`, `not applicable` (with one sentence below the table) or `fails`. Whether 8-bit arithmetic is exact
is a part of it. `--older-cpu` runs the same as on an x86 processor with AVX2 and no VNNI; it needs gcc, and a system
that lets CPUID fault.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.support.common import Row, hardware_line

NETS = (
    "resnet18", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnest14d", "resnest50d", "seresnet18",
    "seresnet50", "densenet121", "mobilenetv3_small_100", "mobilenetv3_large_100",
    *(f"efficientnet_b{size}" for size in range(8)),
    "convnext_atto", "convnext_tiny", "vit_tiny_patch16_224", "vit_small_patch32_224", "swin_tiny_patch4_window7_224",
)  # fmt: skip
WORKS, NOT_APPLICABLE, FAILS = "works", "not applicable", "fails"
SOURCE = Path(__file__).parent / "support" / "older_cpu.c"


@dataclass(frozen=True)
class Cell:
    """What became of one trick on one net; `why` is empty where it works."""

    net: str
    trick: str
    outcome: str
    why: str = ""


def tricks_of_the_net() -> list[str]:
    """The tricks that act on the net, its compression or its file, but for those that bring a runtime."""
    from tricksearch.contract import discover, hooks

    chosen = []
    for name, trick in discover().items():
        acts = set(hooks(trick))
        if acts & {"model", "compress", "deploy"} and "runtime" not in acts and trick.unavailable() is None:
            chosen.append(name)
    return chosen


def try_out(net: str, tricks: Sequence[str], size: int = 32) -> list[Cell]:
    """One row of the table: each trick at its defaults on an untrained net, images of `size` x `size`."""
    from tricksearch.contract import NotApplicable, defaults, discover
    from tricksearch.records.recipe import Recipe
    from tricksearch.trial.data.load import load_data
    from tricksearch.trial.measuring.machine_lock import Machine
    from tricksearch.trial.rehearsal import rehearse

    registry, cells = discover(), []
    data = {"name": "digits", "size": size, "train_images": 64, "validation_images": 60}
    machine = Machine()
    try:
        for trick in tricks:
            recipe = Recipe.model_validate(
                {"data": data, "net": {"name": net}, "train": {"epochs": 1, "batch_size": 16, "device": "cpu"}}
                | {"tricks": {trick: defaults(registry[trick])}}
            )
            with tempfile.TemporaryDirectory(prefix="tricksearch-zoo-") as folder:
                try:
                    rehearse(recipe, registry, load_data(recipe.data), machine, Path(folder))
                    cells.append(Cell(net, trick, WORKS))
                except NotApplicable as error:
                    cells.append(Cell(net, trick, NOT_APPLICABLE, " ".join(str(error).split())))
                except Exception as error:  # whatever a net, a trick or a library raises is a cell of the table
                    cells.append(
                        Cell(net, trick, FAILS, f"{type(error).__name__}: {' '.join(str(error).split())}"[:200])
                    )
    finally:
        machine.close()
    return cells


def table(cells: Sequence[Cell]) -> str:
    """The cells as a Markdown table of nets by tricks, and the sentences behind those that do not work.

    >>> print(table([Cell("a", "x", "works"), Cell("b", "x", "not applicable", "none is wide enough")]))
    | net | x |
    |---|---|
    | a | works |
    | b | not applicable (1) |
    <BLANKLINE>
    1. x: none is wide enough
    """
    tricks = list(dict.fromkeys(cell.trick for cell in cells))
    reasons = list(dict.fromkeys(f"{cell.trick}: {cell.why}" for cell in cells if cell.why))
    lines = [f"| net | {' | '.join(tricks)} |", "|---|" + "---|" * len(tricks)]
    for net in dict.fromkeys(cell.net for cell in cells):
        words = {
            cell.trick: cell.outcome + (f" ({reasons.index(f'{cell.trick}: {cell.why}') + 1})" if cell.why else "")
            for cell in cells
            if cell.net == net
        }
        lines.append(f"| {net} | {' | '.join(words.get(trick, '') for trick in tricks)} |")
    return "\n".join([*lines, "", *(f"{number}. {reason}" for number, reason in enumerate(reasons, start=1))])


def main(arguments: list[str]) -> list[Row]:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="zoo", description=__doc__)
    parser.add_argument("--nets", nargs="+", default=list(NETS))
    parser.add_argument("--tricks", nargs="+")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--markdown", type=Path, help="write the table to this file too")
    parser.add_argument("--older-cpu", action="store_true")
    asked = parser.parse_args(arguments)
    if asked.older_cpu:
        return _as_on_an_older_cpu([each for each in arguments if each != "--older-cpu"])
    print(hardware_line())
    cells = []
    for net in asked.nets:
        cells += try_out(net, asked.tricks or tricks_of_the_net(), asked.size)
        print(f"{net}: {', '.join(f'{cell.trick} {cell.outcome}' for cell in cells if cell.net == net)}", flush=True)
    text = table(cells)
    print(f"\n{text}")
    if asked.markdown:
        asked.markdown.write_text(text + "\n")
    failed = sum(cell.outcome == FAILS for cell in cells)
    return [Row("zoo: cells that fail", str(failed), target="0", n=f"{len(cells)} cells")]


def _as_on_an_older_cpu(arguments: list[str]) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="tricksearch-zoo-") as folder:
        library, processor = Path(folder) / "older_cpu.so", Path(folder) / "cpuinfo"
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"], check=True)
        newer = ("avx512", "avx_vnni", "amx_")
        processor.write_text(
            "\n".join(
                " ".join(word for word in line.split(" ") if not word.startswith(newer))
                for line in Path("/proc/cpuinfo").read_text().splitlines()
            )
        )
        own = {"LD_PRELOAD": str(library), "OLDER_CPU_INFO": str(processor)}
        subprocess.run([sys.executable, "-m", "benchmarks.zoo", *arguments], check=True, env=os.environ | own)
    return []


if __name__ == "__main__":
    main(sys.argv[1:])
