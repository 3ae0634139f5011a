"""Programs as XLA prints them, for CPU and for TPU."""

import jax
import jax.numpy as jnp
import pytest

from gossamer.core import hlo

# Recorded from XLA for TPU v5e and shortened: shapes with tiles, a tuple, an index comment.
TPU = """HloModule jit_step, is_scheduled=true, num_partitions=8

%fused_computation.5 (param_0.1: f32[8,4]) -> f32[4] {
  %param_0.1 = f32[8,4]{1,0:T(8,128)} parameter(0)
  ROOT %reduce.1 = f32[4]{0:T(128)} reduce(%param_0.1), dimensions={0}, to_apply=%region_1.2
}

ENTRY %main.9_spmd (param.1: f32[8,4]) -> (f32[4], s32[]) {
  %param.1 = f32[8,4]{1,0:T(8,128)} parameter(0), sharding={devices=[8,1]<=[8]}
  %fusion.1 = f32[4]{0:T(128)} fusion(%param.1), kind=kLoop, calls=%fused_computation.5
  %start = (f32[4]{0:T(128)S(1)}, f32[4]{0:T(128)S(1)}, u32[]{:S(2)}, /*index=3*/u32[]{:S(2)}) \
collective-permute-start(%fusion.1), channel_id=1, source_target_pairs={{0,1},{1,0}}
  %done = f32[4]{0:T(128)S(1)} collective-permute-done(%start)
  ROOT %tuple.2 = (f32[4]{0:T(128)}, s32[]{:T(128)}) tuple(%done, %constant.1)
}
"""


def test_reads_the_layouts_of_tpus():
    program = hlo.read(TPU)
    assert (program.entry, program.num_devices) == ("main.9_spmd", 8)
    entry = program.computations["main.9_spmd"]
    kinds = [one.kind for one in entry.instructions]
    assert kinds == [
        "parameter",
        "fusion",
        "collective-permute-start",
        "collective-permute-done",
        "tuple",
    ]
    assert entry.instructions[1].called == ["fused_computation.5"]
    assert entry.instructions[2].operands == ["fusion.1"]
    assert entry.instructions[4].operands == ["done", "constant.1"]
    assert hlo.num_bytes(entry.shapes["start"]) == 2 * 16 + 2 * 4
    assert hlo.dimensions(entry.shapes["param.1"]) == [8, 4]
    assert hlo.dimensions("u32[]{:S(2)}") == []


def test_sizes_of_types():
    sizes = {
        "pred[3]": 3,
        "bf16[2,3]": 12,
        "f8e4m3fn[5]": 5,
        "s4[3]": 2,
        "c64[2]": 16,
        "token[]": 0,
    }
    assert {shape: hlo.num_bytes(shape) for shape in sizes} == sizes


def test_reads_what_jax_compiles():
    def run(x):
        x = jax.lax.fori_loop(0, 7, lambda _, x: jnp.sin(x @ x), x)
        return jax.lax.cond(x[0, 0] > 0, lambda x: jnp.sort(x), lambda x: x @ x, x)

    program = hlo.read(jax.jit(run).lower(jnp.ones((4, 4))).compile())
    found = [one for each in program.computations.values() for one in each.instructions]
    assert [one.trip_count for one in found if one.kind == "while"] == [7]
    assert [len(one.called) for one in found if one.kind == "conditional"] == [2]
    assert program.num_devices == 1


def test_bad_text_is_refused():
    with pytest.raises(ValueError, match="`compiled` must be a compiled program"):
        hlo.read("no program")
