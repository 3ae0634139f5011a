"""Converted weights give the logits of torchvision; naming alone is tested without it."""

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.vision import conversion, models

SCRIPT = Path(__file__).parents[2] / "tools/torch_networks.py"


def state_of(variables):
    """A state of PyTorch with these variables, by the names of its definitions."""
    names = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
    state = {}
    for path, leaf in jax.tree.leaves_with_path(variables):
        _, *layers, name = (entry.key for entry in path)
        x = np.asarray(leaf)
        if name == "kernel":
            x = x.transpose((3, 2, 0, 1) if x.ndim == 4 else (1, 0))
        state[".".join((*layers, names.get(name, name)))] = x
    return state


@pytest.fixture(scope="module")
def resnet():
    network = models.create("resnet18", 3, width=0.1)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 3)), jnp.float32)
    return network, jax.jit(network.init)(jax.random.key(0), images)


def test_round_trip(resnet):
    _, variables = resnet
    state = state_of(variables) | {"bn1.num_batches_tracked": np.array(3)}
    assert {"conv1.weight", "layer2.0.shortcut.1.running_var", "linear.bias"} <= set(state)
    found = conversion.from_torch(state, jax.eval_shape(lambda: variables))
    jax.tree.map(np.testing.assert_array_equal, found, variables)


def test_refuses_another_network(resnet):
    _, variables = resnet
    state = state_of(variables)
    with pytest.raises(ValueError, match=r"\['extra'\] are left over"):
        conversion.from_torch(state | {"extra": np.zeros(1)}, variables)
    with pytest.raises(ValueError, match=r"got \(4,\) for params/linear/bias of shape \(3,\)"):
        conversion.from_torch(state | {"linear.bias": np.zeros(4)}, variables)
    del state["conv1.weight"]
    with pytest.raises(ValueError, match=r"\['conv1.weight'\] are missing"):
        conversion.from_torch(state, variables)


@pytest.mark.slow
@pytest.mark.checkout
@pytest.mark.parametrize("name", ["resnet18_imagenet", "mobilenet_v2_imagenet", "alexnet"])
def test_logits_are_those_of_torchvision(name, tmp_path):
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            subprocess.run(
                [python, "-c", "import torch, torchvision"], check=True, capture_output=True
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        break
    else:
        pytest.skip("needs a Python with torch and torchvision, such as Debian's")
    export = [python, SCRIPT, "export", tmp_path, "--names", name, "--size", "64"]
    for command in (export, [sys.executable, SCRIPT, "compare", tmp_path]):
        run = subprocess.run(command, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr
