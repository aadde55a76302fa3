#!/usr/bin/env bash
# A network of timm that has answered once keeps part of its old weights when others are loaded into it.
#
# One expects: after load_state_dict(other.state_dict()), strict and without a complaint, a network in eval mode answers as
# the other one does. Whoever recovers a network, loads its best weights back and measures it relies on that.
# What happens: LeViT, TinyViT, EfficientFormerV2 and their kin work out their attention biases from a parameter at the
# first answer in eval mode and keep them beside the state dict. Loading replaces the parameter, not what was kept: the
# answers are those of the new weights with the old biases, without a word, until somebody calls train() once.
#
# Seen with timm 1.0.31, torch 2.14.1 (the largest difference of an answer from the other network's, relative):
#   levit_128s: loaded before the first answer 0.00, after it 0.75, and after train() and eval() 0.00 again
# Exits with 1 when that is not so any more.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet timm==1.0.31 torch==2.14.1 torchvision==0.29.1 numpy
HF_HOME="$folder" OMP_NUM_THREADS=1 "$folder/venv/bin/python" - <<'PY'
import timm
import torch


def network(seed):
    """A network as after some training: its attention biases are no zeros."""
    torch.manual_seed(seed)
    model = timm.create_model("levit_128s", num_classes=4).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("attention_biases"):
            torch.nn.init.normal_(parameter, std=3)
        elif name.endswith("bn.weight"):
            torch.nn.init.ones_(parameter)
        elif parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
    return model


def apart(model):
    return float((model(x) - wanted).abs().max() / wanted.abs().max())


x, other = torch.randn(1, 3, 224, 224), network(1)
with torch.no_grad():
    wanted = other(x)
    fresh, used = network(2), network(2)
    used(x)
    for model in (fresh, used):
        model.load_state_dict(other.state_dict())
    before, after = apart(fresh), apart(used)
    used.train()
    used.eval()
    anew = apart(used)
print(f"levit_128s: loaded before the first answer {before:.2f}, after it {after:.2f}, and after train() and eval() {anew:.2f} again")
raise SystemExit(not (before < 1e-4 and after > 0.01 and anew < 1e-4))
PY
