"""The recognizer of arXiv:2206.07882 and its two language models at 4 bits: products and bytes.

    python benchmarks/packed_size.py

Transducer and language models have the sizes that are remembered of the paper (see `PRESETS` of
both modules), 46 labels and random weights. Everything is quantized by the policy ``int4_paper``,
packed, written to files and read back; the ratio is of four bytes for each parameter to the bytes
of the file, header included. The head of the auxiliary loss, which recognition does not use, is
left out.
"""

import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from safetensors.numpy import load_file, save_file

from gossamer.core.audit import audit, table
from gossamer.core.packing import pack_tree, unpack_tree
from gossamer.core.paths import named_leaves
from gossamer.core.quantized_variables import deploy_variables, quantize_variables
from gossamer.speech import (
    language_model,
    language_model_config,
    transducer,
    transducer_config,
)
from gossamer.speech.policies import named_policy

LABELS = 46
POLICY: Any = named_policy("int4_paper")
TEXT = jnp.zeros((1, 20), jnp.int32)
NETWORKS: dict[str, tuple[Any, tuple]] = {
    "transducer": (
        transducer.Transducer(transducer_config.PRESETS["paper"], LABELS, POLICY),
        (jnp.zeros((1, 100, 240)), jnp.zeros((1, 100)), TEXT),
    ),
    "source language model": (
        language_model.LanguageModel(language_model_config.PRESETS["source"], LABELS, POLICY),
        (TEXT,),
    ),
    "external language model": (
        language_model.LanguageModel(language_model_config.PRESETS["external"], LABELS, POLICY),
        (TEXT,),
    ),
}


def main():
    rows = []
    for name, (model, inputs) in NETWORKS.items():
        # Compiled as a whole, the initializers' QR decompositions can deadlock XLA's thread pool.
        variables = model.init(jax.random.key(0), *inputs)
        params = variables["params"]
        variables["clips"]["weights"] = {}
        codes = jax.eval_shape(lambda v: quantize_variables(POLICY, v), variables)
        print(
            f"{name}\n{table(audit(model.apply, codes, *inputs, policy=POLICY, params=params))}\n"
        )
        variables["params"] = {key: x for key, x in params.items() if key != "ctc_output"}
        count = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
        rows.append((name, count, write(deploy_variables(POLICY, variables))))
    rows.append(("all", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    print(f"{'':26}{'parameters':>14}{'float32, MB':>14}{'file, MB':>12}{'ratio':>8}")
    for name, count, size in rows:
        print(f"{name:26}{count:14,}{4e-6 * count:14.1f}{1e-6 * size:12.2f}{4 * count / size:8.2f}")


def write(deployed) -> int:
    """The bytes of a packed file, which gives back what it was made of."""
    tensors, codes = pack_tree(deployed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "packed.safetensors"
        save_file(tensors, path, metadata={"codes": str(codes)})
        found = dict(named_leaves(unpack_tree(load_file(path), codes)))
        assert all((found[key] == x).all() for key, x in named_leaves(deployed))
        return path.stat().st_size


if __name__ == "__main__":
    main()
