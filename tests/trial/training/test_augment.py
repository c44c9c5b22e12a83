import pytest
import torch

from tricksearch.trial.training.augment import augmentation


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shifts(image: torch.Tensor, down: int, across: int) -> list[torch.Tensor]:
    """Every image that a crop of (C, H, W) padded by (down, across) can be."""
    _, height, width = image.shape
    padded = torch.nn.functional.pad(image, (across, across, down, down))
    return [
        padded[:, row : row + height, column : column + width]
        for row in range(2 * down + 1)
        for column in range(2 * across + 1)
    ]


@pytest.mark.parametrize(
    ("size", "margins"), [((8, 8), (1, 1)), ((32, 32), (4, 4)), ((28, 16), (4, 2)), ((4, 4), (1, 1))]
)
def test_crop_gives_each_image_one_of_its_shifts_and_in_time_all_of_them(size, margins):
    image = torch.rand(1, *size)
    possible = torch.stack(shifts(image, *margins))
    cropped = augmentation("crop", size, generator())(image.expand(600, *image.shape))
    assert cropped.shape == (600, 1, *size)
    matches = torch.stack([(cropped == each).flatten(1).all(1) for each in possible])  # (shifts, 600)
    assert matches.sum(0).eq(1).all()
    assert matches.any(1).all()


def test_flip_crop_mirrors_about_half_and_nothing_else_is_changed():
    image = torch.rand(1, 8, 8)
    out = augmentation("flip_crop", (8, 8), generator())(image.expand(1000, 1, 8, 8))
    plain = torch.stack(shifts(image, 1, 1))
    mirrored = torch.stack(shifts(image.flip(-1), 1, 1))
    is_plain = torch.stack([(out == each).flatten(1).all(1) for each in plain]).any(0)
    is_mirrored = torch.stack([(out == each).flatten(1).all(1) for each in mirrored]).any(0)
    assert (is_plain ^ is_mirrored).all()
    assert 430 < is_mirrored.sum() < 570  # 4.4 standard deviations


def test_images_of_one_batch_are_not_mixed_up():
    images = torch.arange(50.0).div(50).view(50, 1, 1, 1).expand(50, 2, 12, 12)
    out = augmentation("flip_crop", (12, 12), generator())(images)
    assert torch.equal(out.amax((1, 2, 3)), images[:, 0, 0, 0])


@pytest.mark.parametrize("kind", ["crop", "flip_crop"])
def test_the_generator_alone_decides_and_the_global_stream_does_not_move(kind):
    images = torch.rand(64, 3, 16, 16)
    before = torch.get_rng_state()
    one, again = (augmentation(kind, (16, 16), generator(5)) for _ in range(2))
    first, second = one(images), one(images)
    torch.manual_seed(99)
    assert torch.equal(again(images), first)
    assert torch.equal(again(images), second)
    assert not torch.equal(first, second)
    torch.set_rng_state(before)
    other = augmentation(kind, (16, 16), generator(6))(images)
    assert not torch.equal(other, first)
    assert torch.equal(torch.get_rng_state(), before)


def test_crop_agrees_with_kornia_on_the_same_shifts():
    import kornia.augmentation as K

    torch.manual_seed(0)
    images = torch.rand(40, 3, 16, 16)
    crop = K.RandomCrop((16, 16), padding=2)
    expected = crop(images)
    # kornia drew these corners; fed to ours, they must cut the same images.
    corners = crop._params["src"][:, 0].long()

    def drawn(high, size, **_):
        drawn.calls += 1
        return corners[:, 1:] if drawn.calls == 1 else corners[:, :1]  # rows first, then columns

    drawn.calls = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randint", drawn)
        ours = augmentation("crop", (16, 16), generator())(images)
    assert torch.allclose(ours, expected, atol=1e-6)


def test_none_returns_the_images_themselves_and_an_unknown_kind_is_refused():
    images = torch.rand(2, 1, 8, 8)
    assert augmentation("none", (8, 8), generator())(images) is images
    with pytest.raises(ValueError, match="'rotate'"):
        augmentation("rotate", (8, 8), generator())


def test_half_precision_keeps_its_type():
    images = torch.rand(4, 1, 8, 8).bfloat16()
    assert augmentation("flip_crop", (8, 8), generator())(images).dtype == torch.bfloat16
