"""Classify images with the model in this folder. Needs numpy and the packages of requirements.txt, nothing else.

python predict.py images.npy         uint8, or float32 in [0, 1]: (N, C, H, W)
python predict.py one.png two.jpg    image files, where Pillow is installed
python predict.py --time             the median latency on this machine
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

# -- the model and how it was measured; `tricksearch export` fills this in --
from tricksearch.trial.measuring.runtimes import load_onnx_runtime

LOAD = load_onnx_runtime
MODEL = "model.onnx"
PRECISION = "fp32"
OPTIONS: dict[str, Any] = {}
THREADS = 1
BATCH = 1
# -- end of what is filled in --

Array = np.ndarray[Any, Any]
BATCH_TO_PREDICT = 64  # images in one call of the model
TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}  # by the orientation in EXIF, tag 274
FOLDER = Path(__file__).resolve().parent


@functools.lru_cache(maxsize=1)
def preprocessing() -> dict[str, Any]:
    """The model's input and its classes: preprocessing.json."""
    content: dict[str, Any] = json.loads((FOLDER / "preprocessing.json").read_text(encoding="utf-8"))
    return content


@functools.lru_cache(maxsize=1)
def predictor(threads: int = THREADS) -> Any:
    """The loaded model: images float32 (N, C, H, W) in [0, 1] -> logits (N, K)."""
    return LOAD(str(FOLDER / MODEL), threads, PRECISION, **OPTIONS)


def predict(images: Array) -> Array:
    """The probability of each class, (N, K), for images uint8, or float32 in [0, 1]: (N, C, H, W).

    Raises ValueError for anything else.
    """
    ready = as_input(images)
    parts = [predictor()(ready[start : start + BATCH_TO_PREDICT]) for start in range(0, len(ready), BATCH_TO_PREDICT)]
    logits = np.concatenate(parts).astype(np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Array = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def as_input(images: Array) -> Array:
    """Images as the model takes them: float32 in [0, 1]. Raises ValueError for another shape or range."""
    shape = tuple(preprocessing()["input"][side] for side in ("channels", "height", "width"))
    if images.ndim != 4 or images.shape[1:] != shape or not len(images):
        raise ValueError(f"images of the shape (N, {', '.join(map(str, shape))}) are needed, got {images.shape}")
    if images.dtype == np.uint8:
        return images.astype(np.float32) / np.float32(255)
    if images.dtype.kind != "f":
        raise ValueError(f"pixels must be uint8, or float32 in [0, 1], got {images.dtype}")
    if not (images.min() >= 0 and images.max() <= 1):  # a NaN is neither
        raise ValueError(f"floats must lie in [0, 1], got {images.min():g} to {images.max():g}")
    return images.astype(np.float32)


def read_images(paths: list[Path]) -> Array:
    """One .npy file, or image files. Raises OSError or ValueError for what cannot be read."""
    if len(paths) == 1 and paths[0].suffix == ".npy":
        images: Array = np.load(paths[0], allow_pickle=False)
        return images
    return np.stack([read_image(path) for path in paths])


def read_image(path: Path) -> Array:
    """An image file as uint8 (C, H, W), resized where it has another size. Raises OSError or ValueError."""
    try:
        from PIL import Image
    except ImportError:
        raise ValueError(f"{path}: image files need Pillow; without it, give one .npy file") from None
    expected = preprocessing()["input"]
    with Image.open(path) as image:
        if image.mode not in preprocessing()["image_modes"]:
            raise ValueError(f"{path}: pixels of mode '{image.mode}' are not 8 bits of grey or of colour")
        image.load()  # which turns a TIFF already
        turn = TURNS.get(image.getexif().get(274, 1))
        upright = image if turn is None else image.transpose(Image.Transpose[turn])
        pixels = np.asarray(upright.convert("L" if expected["channels"] == 1 else "RGB"))
    pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return resized(pixels, expected["height"], expected["width"])


def resized(pixels: Array, height: int, width: int) -> Array:
    """Resize uint8 (C, H, W), antialiased bilinear, as the training's images were; the aspect ratio is not kept."""
    if pixels.shape[1:] == (height, width):
        return pixels
    rows, columns = (_weights(*sides) for sides in zip(pixels.shape[1:], (height, width), strict=True))
    levels: Array = np.clip(np.rint(rows @ pixels.astype(np.float64) @ columns.T), 0, 255).astype(np.uint8)
    return levels


def _weights(before: int, after: int) -> Array:
    """How much each of `before` pixels counts in each of `after`, (after, before): a triangle around its centre."""
    scale = before / after
    centres = (np.arange(after) + 0.5) * scale
    distances = np.abs(np.arange(before) + 0.5 - centres[:, None]) / max(scale, 1.0)
    weights = np.clip(1 - distances, 0, None)
    shares: Array = weights / weights.sum(axis=1, keepdims=True)
    return shares


def median_ms(images: Array, seconds: float = 1.0) -> tuple[float, int]:
    """The median of single calls with the batch that was measured, in milliseconds, and the number of calls."""
    run, batch = predictor(), np.resize(images[:BATCH], (BATCH, *images.shape[1:]))
    for _ in range(20):
        run(batch)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 20 or time.perf_counter() < end:
        start = time.perf_counter()
        run(batch)
        times.append(time.perf_counter() - start)
    return float(np.median(times) * 1e3), len(times)


def main(arguments: list[str] | None = None) -> None:
    """Print a class and its probability for each image."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", nargs="*", type=Path, help="one .npy file, or image files")
    parser.add_argument("--time", action="store_true", help="print the median latency, of random images without any")
    options = parser.parse_args(arguments)
    if not options.images and not options.time:
        parser.error("name an .npy file or image files, or ask for --time")
    shape = [preprocessing()["input"][side] for side in ("channels", "height", "width")]
    ready: Array = np.random.default_rng(0).random((BATCH, *shape), np.float32)
    if options.images:
        try:
            ready = as_input(read_images(options.images))
        except Exception as error:  # Pillow raises a dozen kinds for a damaged file
            parser.error(str(error))
        for index, row in enumerate(predict(ready)):
            label = f"{options.images[0]}[{index}]" if options.images[0].suffix == ".npy" else options.images[index]
            print(f"{label}\t{preprocessing()['classes'][int(row.argmax())]}\t{row.max():.4f}")
    if options.time:
        milliseconds, calls = median_ms(ready)
        print(f"median {milliseconds:.3f} ms for a batch of {BATCH}, {THREADS} thread(s), n = {calls} calls")


if __name__ == "__main__":
    main()
