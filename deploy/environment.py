"""`python -m deploy.environment`: the packages of the images for a CPU as a virtual environment, tried.

It takes the Dockerfile's own steps, with this machine's Python in place of the base image's. It fails where
an encoder under the GPL is left, the list of contents is no valid CycloneDX, or a HEIC file isn't embedded.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pillow_heif
from PIL import Image

CHECKOUT = Path(__file__).resolve().parents[1]
DOCKERFILE = CHECKOUT / "functions" / "query" / "Dockerfile"
STAGES = ("pip", "packages", "slim")
ENCODERS = (b"x264_encoder_open", b"x265_encoder_open")  # functions of libraries under the GPL
VALIDATE = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
sys.exit(JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read()))
"""
EMBED = """
import importlib.util, pathlib, sys
from functions_framework import create_app
from shared import embedding
for name in ("query", "embed_on_upload"):
    create_app(name, f"functions/{name}/main.py")
[vector] = embedding.load().embed_images([pathlib.Path(sys.argv[1]).read_bytes()])
assert importlib.util.find_spec("torch") is None
print(f"a HEIC file became {len(vector)} numbers")
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.environment", description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="the base's python3 (default: this one)")
    parser.add_argument("--folder", type=Path, help="where to build, and to leave it (default: nowhere)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="neural-search-environment-") as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        for step in steps(DOCKERFILE.read_text(), folder, options.python):
            print(f"$ {step}", flush=True)
            subprocess.run(step, shell=True, cwd=CHECKOUT, check=True)
        _look_inside(folder)


def steps(dockerfile: str, folder: Path, python: str) -> list[str]:
    """The commands of the packages' stages, with `folder` in place of /opt and `python` of the base's."""
    joined = re.sub(r"\\\n\s*", "", dockerfile)
    stages = dict(re.findall(r"^FROM \S+ AS (\w+)\n(.*?)(?=^FROM |\Z)", joined, re.MULTILINE | re.DOTALL))
    commands = [line for name in STAGES for line in re.findall(r"^RUN (.*)", stages[name], re.MULTILINE)]
    placed = [command.replace("/opt/", f"{folder}/") for command in commands]
    return [re.sub(r"(?<![\w/])python3 (?=-m)", f"{python} ", command) for command in placed]


def encoders(folder: Path) -> list[Path]:
    """Libraries that encode H.264 or H.265."""
    libraries = [path for path in folder.rglob("*.so*") if path.is_file()]
    return [path for path in libraries if any(name in path.read_bytes() for name in ENCODERS)]


def _look_inside(folder: Path) -> None:
    left = encoders(folder / "venv")
    if left:
        sys.exit(f"error: these encode H.264 or H.265 and are under the GPL: {', '.join(map(str, left))}")
    listing = folder / "venv" / "sbom.cdx.json"
    subprocess.run([folder / "pip/bin/python3", "-c", VALIDATE, listing], check=True)
    photograph = folder / "photograph.heic"
    pillow_heif.register_heif_opener()
    Image.open(CHECKOUT / "examples/images/animals/cat.jpg").save(photograph, "HEIF")
    subprocess.run([folder / "venv/bin/python3", "-c", EMBED, photograph], cwd=CHECKOUT, check=True)
    print("no encoder of H.264 or H.265; sbom.cdx.json is valid CycloneDX 1.6")


if __name__ == "__main__":
    main()
