"""Statistics of nets that nobody here wrote, against one-by-one float64 gradients."""

import gc

import pytest
import torch
from test_gradient_checks import naive, split
from torch import nn

from pruning_lab import environment, gradients

SIDE = {"inception_v3": 75, "googlenet": 32, "maxvit_t": 224}  # where 32 pixels do not do
TORCHVISION = [
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "mnasnet0_5",
    "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "regnet_x_400mf", "regnet_y_400mf", "resnet18",
    "resnet34", "resnet50", "resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_0", "squeezenet1_1", "swin_t",
    "swin_v2_t", "vgg11", "vgg11_bn", "wide_resnet50_2",
]  # fmt: skip
TIMM = [
    "beit_base_patch16_224", "botnet26t_256", "cait_xxs24_224", "coat_tiny", "coatnet_nano_rw_224", "convit_tiny",
    "convmixer_768_32", "convnext_atto", "convnextv2_atto", "crossvit_tiny_240", "cspresnet50", "deit_tiny_patch16_224",
    "densenet121", "dla34", "dpn48b", "edgenext_xx_small", "efficientformer_l1", "efficientnet_lite0",
    "eva02_tiny_patch14_224",
    "fastvit_t8", "fbnetc_100", "focalnet_tiny_srf", "gcresnet33ts", "gernet_s", "ghostnet_100", "gmixer_24_224",
    "gmlp_s16_224", "halonet26t", "hardcorenas_a", "hrnet_w18_small", "lambda_resnet26t", "lcnet_050", "levit_128s",
    "maxvit_rmlp_pico_rw_256", "mixer_s16_224", "mnasnet_small", "mobilenetv2_050", "mobilenetv3_small_050",
    "mobilevit_xxs", "nf_regnet_b0", "pit_ti_224", "poolformer_s12", "pvt_v2_b0", "regnetx_002", "regnety_002",
    "repvgg_a0", "res2net50_26w_4s", "resmlp_12_224", "resnet26t", "resnetv2_50", "rexnet_100", "selecsls42",
    "sequencer2d_s", "skresnet18", "spnasnet_100", "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256",
    "tf_efficientnet_lite0", "tiny_vit_5m_224", "tinynet_e", "tnt_s_patch16_224", "twins_pcpvt_small",
    "vit_tiny_patch16_224",
    "visformer_tiny", "volo_d1_224", "xcit_nano_12_p16_224",
]  # fmt: skip


def small(build, **kinds):
    """A net of few classes on small images, in float64, or None where it cannot be built for them."""
    for side in (32, 64, 96, None):
        try:
            net = build(**kinds, **({"img_size": side} if side else {})).double().eval()
            images(net, side or 0)
        except Exception:  # it has a size of its own, or no size at all, or none so small
            continue
        return net, side or 0
    return build(**kinds), 0


def images(net, asked):
    """The fewest pixels with which a net works."""
    for side in [asked] if asked else (32, 64, 96, 128, 160, 224, 240, 256):
        test = split(torch.randn(2, 3, side, side, dtype=torch.float64), 2)
        try:
            with torch.no_grad():
                net(test.images)
        except Exception:  # too small for its pools
            continue
        return test
    raise AssertionError("no size of images works")


def check(net, asked=0):
    """Means and norms within rounding of what autograd gives one sample at a time."""
    net = net.double().eval()
    for p in net.parameters():  # layer scales near zero would hide what is behind them
        if p.ndim == 1 and float(p.detach().abs().max()) < 1e-2:
            nn.init.uniform_(p, 0.1, 0.5)
    test = images(net, asked)
    found, rows = gradients.statistics(net, test), naive(net, test, again=True)
    largest = max(float(g.abs().max()) for g in rows.values())
    for name, g in rows.items():
        assert float((found.mean[name] - g.mean(0)).abs().max()) <= 1e-8 * largest, name
        square = float(g.square().sum() / len(g))
        assert abs(found.mean_square[name] - square) <= 1e-8 * square + (1e-10 * largest) ** 2 * g[0].numel(), name


def tried(names, build, record):
    """Checks all nets; says how many there were, and fails with those that were wrong."""
    wrong = []
    for name in names:
        torch.manual_seed(0)
        try:
            check(*build(name))
        except Exception as error:  # the next net is tried as well
            wrong.append(f"{name}: {type(error).__name__}: {str(error)[:300]}")
        gc.collect()
    record("nets_tried", len(names))
    print(f"\nstatistics of {len(names)} nets, {len(wrong)} wrong")
    assert not wrong, "\n".join(wrong)


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore")
def test_nets_of_torchvision_have_their_own_gradients(record_property, capsys):
    zoo = environment.import_torchvision().models

    def build(name):
        plain = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
        return zoo.get_model(name, num_classes=2, **plain), SIDE.get(name, 0)

    with capsys.disabled():
        tried(TORCHVISION, build, record_property)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.filterwarnings("ignore")
def test_nets_of_timm_have_their_own_gradients(record_property, capsys):
    environment.import_torchvision()
    timm = pytest.importorskip("timm", reason="timm is not installed: pip install timm==1.0.31")
    there = [name for name in TIMM if timm.is_model(name)]
    assert len(there) + len(TORCHVISION) >= 60

    def build(name):
        return small(lambda **kinds: timm.create_model(name, **kinds), num_classes=2)

    with capsys.disabled():
        tried(there, build, record_property)
