"""Which form of an 8-bit net a processor computes right, and what makes it slow there."""

from __future__ import annotations

import contextlib
import functools
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VNNI = frozenset({"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"})  # as Linux calls them
X86 = ("x86_64", "amd64", "i386", "i686")
NARROW = 32  # channels: a layer of fewer on one side leaves most of a vector of 8-bit numbers empty


@dataclass(frozen=True)
class Processor:
    """A kind of processor, and its instruction sets by Linux's names."""

    machine: str  # as platform.machine() has it
    features: frozenset[str]

    @property
    def saturates(self) -> bool:
        """Whether kernels add pairs of products of unsigned and signed 8-bit numbers in 16 bits.

        Such a pair is 2 x 255 x 127 at most, and 16 bits end at 32767. x86 processors without VNNI do.

        >>> [Processor("x86_64", frozenset(has)).saturates for has in (["avx2"], ["avx2", "avx_vnni"])]
        [True, False]
        >>> Processor("aarch64", frozenset()).saturates
        False
        """
        return self.machine.lower() in X86 and not self.features & VNNI


def features() -> frozenset[str]:
    """The instruction sets that Linux lists for the processor; empty where it lists none."""
    with contextlib.suppress(OSError):
        match = re.search(r"^(?:flags|Features)\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        if match:  # x86 and ARM
            return frozenset(match[1].split())
    return frozenset()


@functools.cache
def this_processor() -> Processor:
    """The one that this process runs on."""
    return Processor(platform.machine(), features())


def seven_bits(asked: bool | str, mode: str, processor: Processor) -> tuple[bool, str]:
    """Whether the weights get 7 bits in place of 8, and which form that is and why, in a sentence.

    `asked` is True, False, or "auto" for what the processor computes right; `mode` is static or dynamic.

    >>> seven_bits("auto", "static", Processor("x86_64", frozenset({"avx2"})))[0]
    True
    >>> seven_bits("auto", "static", Processor("x86_64", frozenset({"avx2", "avx512_vnni"})))
    (False, '8-bit arithmetic with signed weights of 8 bits: this processor has VNNI, which adds them in 32 bits')
    """
    kind = "unsigned" if mode == "dynamic" else "signed"
    bits = f"8-bit arithmetic with {kind} weights of"
    if asked != "auto":
        taken = f"{bits} {7 if asked else 8} bits, as the recipe asks"
        wrong = mode == "static" and not asked and processor.saturates
        return bool(asked), taken + (", which this processor without VNNI does not add exactly" if wrong else "")
    if mode == "dynamic":
        return False, f"{bits} 8 bits: their kernels add exactly on every processor"
    if processor.saturates:
        why = "this processor has no VNNI and adds pairs of products in 16 bits, which weights of 8 bits overflow"
        return True, f"{bits} 7 bits: {why}"
    if processor.features & VNNI:
        return False, f"{bits} 8 bits: this processor has VNNI, which adds them in 32 bits"
    return False, f"{bits} 8 bits: a processor of the kind {processor.machine} adds them in 32 bits"


def slow_because(path: Path, mode: str, processor: Processor) -> list[str]:
    """What of a float ONNX graph, of the form, and of the processor makes 8-bit arithmetic slow; each a phrase."""
    import onnx

    graph = onnx.load(path).graph
    shapes: dict[str, Sequence[int]] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    weights = [
        (node, shapes[node.input[1]]) for node in graph.node if node.op_type == "Conv" and node.input[1] in shapes
    ]
    depthwise = [shape for node, shape in weights if _groups(node) > 1 and shape[1] == 1]
    narrow = [shape for node, shape in weights if min(shape[0], shape[1] * _groups(node)) < NARROW and shape[1] > 1]
    reasons = []
    if mode == "dynamic":
        reasons.append("the dynamic form finds the range of each activation anew")
    if processor.saturates:
        reasons.append("the processor has no VNNI")
    if 4 * len(depthwise) >= len(weights) > 0:
        reasons.append(f"{len(depthwise)} of {len(weights)} convolutions are depthwise")
    if 2 * len(narrow) >= len(weights) > 0:
        reasons.append(f"{len(narrow)} of {len(weights)} convolutions have fewer than {NARROW} channels on a side")
    return reasons


def form_note(why: str, reasons: Sequence[str]) -> str:
    """The note of a quantized deployable: its form, and what may make it slow.

    >>> form_note("weights of 7 bits: no VNNI", ["the processor has no VNNI"])
    'weights of 7 bits: no VNNI; it may be slower than float: the processor has no VNNI'
    """
    return why + (f"; it may be slower than float: {', '.join(reasons)}" if reasons else "")


def _groups(node: Any) -> int:
    return int(next((given.i for given in node.attribute if given.name == "group"), 1))
