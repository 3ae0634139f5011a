"""The model of a cluster against its formulas by hand and in its limits."""

import math

import pytest

from gossamer.core.machine import Cluster, Workload, break_even, speedup, step_time

CLUSTER = Cluster(8, peak=100e12, memory_bandwidth=200e9, link_bandwidth=32e9, latency=1e-6)
RESNET = Workload(25.6e6, operations=24.6e9, minibatch=8, gradient_bytes=2)


def test_a_dense_step_by_hand():
    found = step_time(CLUSTER, RESNET)
    assert found.compute == pytest.approx(8 * 24.6e9 / 100e12)
    assert found.compression == 0
    assert found.communication == pytest.approx(14e-6 + 1.75 * 51.2e6 / 32e9)
    assert found.total == pytest.approx(found.compute + found.communication)


def test_a_compressed_step_by_hand():
    found = step_time(CLUSTER, RESNET, "scalecom", 100)
    assert found.compression == pytest.approx(16 * 25.6e6 / 200e9)
    assert found.communication == pytest.approx(28e-6 + 1.75 * 256e3 * 5 / 32e9)
    local = step_time(CLUSTER, RESNET, "local_top_k", 100)
    assert local.communication == pytest.approx(7e-6 + 7 * 256e3 * 8 / 32e9)
    assert step_time(CLUSTER, RESNET, "scalecom", 400).communication == pytest.approx(
        28e-6 + 1.75 * 64e3 * 6 / 32e9
    )


def test_scalecom_stays_constant_where_local_top_k_builds_up():
    times = {
        scheme: [
            step_time(CLUSTER._replace(num_learners=n, latency=0.0), RESNET, scheme, 100)
            for n in (8, 512)
        ]
        for scheme in ("scalecom", "local_top_k", "dense")
    }
    few, many = times["scalecom"]
    assert many.communication < 1.2 * few.communication
    few, many = times["local_top_k"]
    assert many.communication == pytest.approx(73 * few.communication)
    assert many.total > times["dense"][1].total


def test_compression_pays_less_for_large_minibatches_and_more_for_fast_computers():
    large, fast = RESNET._replace(minibatch=32), CLUSTER._replace(peak=300e12)
    options = "scalecom", 100
    assert speedup(CLUSTER, RESNET, *options) > speedup(CLUSTER, large, *options) > 1
    assert speedup(fast, RESNET, *options) > speedup(CLUSTER, RESNET, *options)


def test_break_even():
    found = break_even(CLUSTER, RESNET, 100)
    for bandwidth, pays in ((0.99 * found, True), (1.01 * found, False)):
        cluster = CLUSTER._replace(link_bandwidth=bandwidth)
        assert (speedup(cluster, RESNET, "scalecom", 100) > 1) is pays
    # 1.75 (51.2 MB - 1.28 MB) / bandwidth = 16 p / memory bandwidth + 14 latencies more.
    assert found == pytest.approx(1.75 * 49.92e6 / (2.048e-3 + 14e-6), rel=1e-6)
    assert break_even(CLUSTER._replace(overlap=1.0), RESNET, 100) < found


def test_one_learner_communicates_nothing():
    alone = CLUSTER._replace(num_learners=1)
    assert step_time(alone, RESNET).communication == 0
    assert break_even(alone, RESNET, 100) == 0
    assert not math.isnan(step_time(alone, RESNET, "scalecom", 100).communication_share)


@pytest.mark.parametrize(
    ("cluster", "workload", "scheme", "rate", "match"),
    [
        ({"num_learners": 0}, {}, "dense", 1, "`num_learners` must be at least 1, got 0"),
        ({"utilization": 1.5}, {}, "dense", 1, "`utilization` must be above 0"),
        ({"overlap": -0.1}, {}, "dense", 1, "`overlap` must be from 0 to 1, got -0.1"),
        ({"latency": -1.0}, {}, "dense", 1, "`latency` must be at least 0"),
        ({"link_bandwidth": 0.0}, {}, "dense", 1, "`link_bandwidth` must be positive, got 0.0"),
        ({}, {"minibatch": math.nan}, "dense", 1, "`minibatch` must be positive, got nan"),
        ({}, {}, "scalecom", 0.5, "`rate` must be at least 1, got 0.5"),
        ({}, {}, "scalecom", 1e5, "`chunk` must be from 1 to 65536, got 100000"),
        ({}, {}, "sketch", 2, '`scheme` must be "dense", "scalecom" or "local_top_k"'),
    ],
)
def test_bad_arguments_are_refused(cluster, workload, scheme, rate, match):
    with pytest.raises(ValueError, match=match):
        step_time(CLUSTER._replace(**cluster), RESNET._replace(**workload), scheme, rate)
