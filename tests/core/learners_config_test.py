"""Learners and compression as configuration, and what makes no sense of it."""

import sys
from typing import get_args

import pytest

from gossamer.core.learners_config import CompressionConfig, LearnersConfig, TopologyName


@pytest.mark.parametrize("options", [{}, {"algorithm": "delay_by_one"}, {"engine": "threads"}])
def test_compression_needs_learners_that_average_gradients(options):
    compression = CompressionConfig(scheme="scalecom")
    with pytest.raises(ValueError, match=r"add `--learners\.algorithm ssgd`"):
        compression.check(LearnersConfig(**options))
    compression.check(LearnersConfig(algorithm="ssgd"))
    CompressionConfig().check(LearnersConfig(**options))


def test_how_alike_gradients_are_is_not_measured_of_updates():
    compression = CompressionConfig(scheme="scalecom", of="updates")
    compression.check(LearnersConfig(algorithm="ssgd"))
    with pytest.raises(ValueError, match=r"`compression\.of updates`"):
        compression.check(LearnersConfig(algorithm="ssgd", diagnose_every=5))


@pytest.mark.parametrize("name", get_args(TopologyName))
def test_learners_mix_over_the_graph_of_that_name(name):
    graph = LearnersConfig(number=8, topology=name).build()
    assert graph.num_learners == 8
    assert graph == LearnersConfig(number=8, topology=name).build()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "ssgd"}, "`learners.algorithm` must be 'dpsgd'"),
        ({"order": "atc"}, "`learners.order` must be 'awc'"),
        ({"diagnose_every": 5}, "`learners.diagnose_every` must be 0"),
        ({"topology": "random_ring"}, "`learners.topology` must be the same in all rounds"),
    ],
)
def test_learners_that_do_not_wait_refuse_what_needs_rounds(options, message):
    LearnersConfig(engine="vmap", **options).check()
    with pytest.raises(ValueError, match=message):
        LearnersConfig(engine="threads", **options).check()
    LearnersConfig(engine="threads", topology="exponential", weight_noise=0.1).check()


@pytest.mark.parametrize("engine", ["vmap", "threads"])
def test_there_is_a_learner(engine):
    with pytest.raises(ValueError, match=r"`learners\.number` must be at least 1, got 0"):
        LearnersConfig(number=0, engine=engine).check()


def test_a_missing_engine_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install '\.\[ray\]' in a checkout"):
        LearnersConfig(engine="ray").check()
