"""What the documents say holds: examples run and counts are true; `docs_test` follows the links."""

import csv
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_the_readme_has_examples():
    assert EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.splitlines()[0])
def test_example_runs(example, monkeypatch):
    monkeypatch.chdir(ROOT)
    exec(compile(example, "README.md", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_counts_of_the_prompts(split):
    with (ROOT / "speech/prompts/transcripts.tsv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["split"] == split]
    recordings = len({row["name"] for row in rows})
    minutes = sum(float(row["end"]) - float(row["start"]) for row in rows) / 60
    words = sum(len(row["text"].split()) for row in rows)
    line = f"| {split} | {recordings} | {len(rows)} | {minutes:.1f} | {words:,} |"
    assert line in (ROOT / "docs/data.md").read_text(encoding="utf-8").splitlines()
