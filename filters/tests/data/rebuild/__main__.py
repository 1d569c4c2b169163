"""Makes the sets anew: python3 filters/tests/data/rebuild WORK

Needs the packages of requirements.txt, npm, git, and `cargo fetch` done; WORK is a folder for downloads. The same versions give
the same bytes. The sets are checked in, so tests need none of this.
"""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import harmless  # noqa: E402
import keys  # noqa: E402
import personal  # noqa: E402
import rows  # noqa: E402

SEED = 20261124
REPOSITORIES = {
    "microsoft/presidio-research": "7622dec1e5f7d25dc60b57c28c39f4c4af197018",
    "microsoft/presidio": "0aa9f8e44275cb52c00fbbebe19168e934e1f076",
    "gitleaks/gitleaks": "b58d3f102cf3a2c84cb7f923d05c25c9b1aed84b",
    "mongodb/kingfisher": keys.KINGFISHER,
}


def split(name):
    package, _, version = name.rpartition("-")
    return package, version


def fetch(work):
    for name, commit in REPOSITORIES.items():
        folder = work / name.replace("/", "+")
        if not folder.exists():
            subprocess.run(["git", "clone", "-q", f"https://github.com/{name}", folder], check=True)
        subprocess.run(["git", "-C", folder, "reset", "-q", "--soft", commit], check=True)
    for name in harmless.WHEELS:
        if not list(work.glob(f"{name}-*.whl")):
            subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", work, "==".join(split(name))], check=True)
    for name in harmless.PACKS:
        if not (work / f"{name}.tgz").exists():
            subprocess.run(["npm", "pack", "--silent", "@".join(split(name))], cwd=work, check=True)


def main():
    work, here = Path(sys.argv[1]), Path(__file__).parent.parent
    fetch(work)
    crates = next(Path.home().glob(".cargo/registry/cache/*/"))
    research, presidio, gitleaks, kingfisher = (work / name.replace("/", "+") for name in REPOSITORIES)
    rows.write(here / "personal.jsonl", personal.rows(SEED, research, presidio))
    rows.write(here / "secrets.jsonl", keys.rows(SEED, gitleaks))
    rows.write(here / "secrets_fresh.jsonl", keys.fresh(SEED, kingfisher))
    locks = [Path(__file__).parent / "Cargo.lock.txt", Path(__file__).parent / "package-lock.json.txt"]
    rows.write(here / "harmless.jsonl", harmless.rows(SEED, crates, work, work, locks, gitleaks))


# Strings are drawn from sets too, whose order Python seeds.
if os.environ.get("PYTHONHASHSEED") != "0":
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONHASHSEED": "0"})
main()
