"""Nets by name: the built-in one, timm's with the stem for small images, and what cannot be."""

import pytest
import torch
from torch import nn

from tricksearch.contract import InputError
from tricksearch.records.settings import NetSettings
from tricksearch.trial.measuring.export import count
from tricksearch.trial.training.nets import FAMILIES, Normalize, build_net, check_net, check_seen
from tricksearch.trial.training.visibility import unseen


def build(shape: tuple[int, int, int], **settings) -> nn.Module:
    return build_net(NetSettings(**settings), 10, shape)


def size_after(net: nn.Module, shape: tuple[int, int, int], *names: str) -> list[int]:
    """The height of the feature maps that these modules put out."""
    heights = {}
    for name in names:
        net.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: heights.__setitem__(name, out.shape[2])
        )
    with torch.no_grad():
        assert net.eval()(torch.zeros(2, *shape)).shape == (2, 10)
    return [heights[name] for name in names]


def test_the_built_in_net():
    net = build((1, 8, 8), widths=(8, 16), blocks=2)
    assert net.training
    assert size_after(net, (1, 8, 8), "stem", "stages.1", "stages.2", "stages.3") == [8, 8, 4, 4]
    by_hand = (
        8 * 9 + 16  # stem: a 3x3 convolution of one channel, and a norm
        + 2 * (2 * (8 * 8 * 9 + 16))  # two blocks of two convolutions with norms
        + (8 * 16 * 9 + 32) + (16 * 16 * 9 + 32) + (8 * 16 + 32)  # a third, with its shortcut
        + 2 * (16 * 16 * 9 + 32)  # a fourth
        + 16 * 10 + 10
    )  # fmt: skip
    assert sum(weight.numel() for weight in net.parameters()) == by_hand


def test_parameters_and_multiply_accumulates_of_a_small_net():
    params, macs = count(nn.Sequential(Normalize((0.5,), (0.5,)), build((1, 8, 8), widths=(8,))).eval(), (1, 8, 8))
    assert params == (8 * 9 + 16) + 2 * (8 * 8 * 9 + 16) + 8 * 10 + 10
    assert macs == 64 * (8 * 9 + 2 * 8 * 8 * 9) + 8 * 10


def test_the_caller_s_seed_makes_the_weights():
    nets = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        nets.append(build((1, 8, 8), widths=(8,)).head.weight)
    assert torch.equal(nets[0], nets[1])
    assert not torch.equal(nets[0], nets[2])


def test_normalisation():
    images = torch.rand(50, 2, 4, 4) * torch.tensor([1.0, 0.5]).view(1, 2, 1, 1) + 0.25
    mean, std = images.mean((0, 2, 3)), images.std((0, 2, 3), correction=0)
    out = Normalize(mean.tolist(), std.tolist())(images)
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std((0, 2, 3), correction=0), torch.ones(2))


def test_a_small_stem_keeps_the_size_of_small_images():
    names = ("conv1", "layer1", "layer2", "layer4")
    shape = (3, 32, 32)
    assert size_after(build(shape, name="resnet18"), shape, *names) == [16, 8, 4, 1]
    small = build(shape, name="resnet18", stem="small")
    assert small.training
    assert size_after(small, shape, *names) == [32, 32, 16, 4]
    assert small.conv1.kernel_size == (3, 3)
    assert sum(weight.numel() for weight in small.parameters()) == 11_173_962  # the CIFAR variant of He et al.


def test_a_grey_timm_net_whose_stem_is_small_in_kernel():
    shape = (1, 28, 28)
    net = build(shape, name="mobilenetv3_small_050", stem="small")
    assert size_after(net, shape, "conv_stem") == [28]


def test_a_vision_transformer_takes_the_study_s_size():
    net = build((3, 32, 32), name="vit_tiny_patch16_224")
    assert net.patch_embed.num_patches == 4


@pytest.mark.parametrize(
    ("settings", "shape", "message"),
    [
        ({"name": "resnet81"}, (3, 32, 32), "net.name: there is no net 'resnet81'. Did you mean 'resnet18'?"),
        (
            {"name": "zzz"},
            (3, 32, 32),
            "there is no net 'zzz'. All are listed by timm.list_models(); among them are resnet18, ",
        ),
        ({"name": "resnet_smal"}, (3, 32, 32), "net.name: there is no net 'resnet_smal'. Did you mean 'resnet_small'?"),
        (
            {"name": "vit_tiny_patch16_224", "stem": "small"},
            (3, 32, 32),
            "net.stem: 'vit_tiny_patch16_224' has no convolutional stem that could keep the image's size.",
        ),
        ({"name": "densenet121"}, (3, 8, 8), "net.name: 'densenet121' cannot take images of 3 x 8 x 8: "),
        ({"name": "vit_tiny_patch16_224"}, (3, 8, 8), "'vit_tiny_patch16_224' cannot take images of 3 x 8 x 8: "),
        ({"stem": "small"}, (3, 32, 32), "net.stem: 'resnet_small' has a small stem already. Leave 'stem' out."),
        (
            {"name": "resnet18", "widths": (8,)},
            (3, 32, 32),
            "net.widths: 'widths' belongs to the net 'resnet_small', not to 'resnet18'.",
        ),
    ],
)
def test_what_cannot_be_is_one_clear_error(settings, shape, message):
    with pytest.raises(InputError) as caught:
        build(shape, **settings)
    print(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("stem", "rule"), [("standard", "leaves out 67% of the pixels"), ("small", "no convolutional stem")]
)
def test_patches_that_leave_pixels_out_are_an_error_whose_remedy_helps(stem, rule):
    settings = NetSettings(name="vit_tiny_patch16_224", stem=stem)
    with pytest.raises(InputError, match=rule) as caught:
        check_seen(build_net(settings, 10, (1, 28, 28)), settings, 10, (1, 28, 28))
    leave = "leave net.stem out and " if stem == "small" else ""
    assert caught.value.remedy == f"{leave}set data.size to 32 or choose another net"
    plain = NetSettings(name="vit_tiny_patch16_224")
    assert check_seen(build_net(plain, 10, (1, 32, 32)), plain, 10, (1, 32, 32)) == ()


def test_an_image_that_is_too_small_is_an_error_whose_remedy_helps():
    settings = NetSettings(name="convnext_atto")
    with pytest.raises(InputError, match="cannot take images of 1 x 28 x 28") as caught:
        build_net(settings, 10, (1, 28, 28))
    assert caught.value.remedy == "set data.size to 32 or choose another net"
    build_net(settings, 10, (1, 32, 32))


class Half(nn.Module):
    """Looks at the rows from the second on and the columns up to the eighth, through a scale that starts at zero."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        return self.scale * images[:, :, 1:, :8].mean((2, 3))


def test_rows_and_columns_that_a_net_does_not_look_at_are_counted():
    assert unseen(Half(), (1, 10, 10)) == (1, 2)
    assert unseen(build((1, 9, 9), widths=(8, 8, 8)), (1, 9, 9)) == (0, 0)
    net = NetSettings(name="half")
    assert check_seen(nn.Identity(), net, 10, (1, 8, 8)) == ()
    with pytest.raises(InputError, match="leaves out 28% of the pixels of images of 10 x 10: 1 rows and 2 columns"):
        check_seen(Half(), net, 10, (1, 10, 10))


def test_a_tag_of_weights_is_refused():
    with pytest.raises(InputError, match=r"'a1_in1k' in 'resnet18\.a1_in1k' names trained weights") as caught:
        check_net(NetSettings(name="resnet18.a1_in1k"))
    assert caught.value.remedy == "write 'resnet18'"
    check_net(NetSettings(name="resnet18"))


def test_every_net_that_an_error_names_is_there():
    for name in FAMILIES:
        check_net(NetSettings(name=name))
