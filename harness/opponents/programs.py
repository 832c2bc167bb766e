"""Opponents that are built from source: Go modules, pinned here, kept in the user's cache."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from cluster import Failed

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "replica-count-manager/opponents"
# The Go module with its version, and the package to build.
GO_PROGRAMS = {
    "kustomize-controller": ("github.com/fluxcd/kustomize-controller@v1.9.6", "."),
    "keda": ("github.com/kedacore/keda/v2@v2.21.0", "./cmd/operator"),
}
# Go modules of which only files are needed.
FLUX_SOURCES = "github.com/fluxcd/source-controller@v1.8.5"
DOWNSCALER = "kubedownscaler==0.4.2"


def go_environment():
    return os.environ | {"GOWORK": "off", "GOFLAGS": "", "CGO_ENABLED": "0"}


def sources(module):
    """The folder of a Go module. It is downloaded if necessary, and must not be changed."""
    done = subprocess.run(
        ["go", "mod", "download", "-json", module], env=go_environment(), cwd="/", text=True, capture_output=True, check=False
    )
    if done.returncode:
        raise Failed(f"{module} cannot be had: {done.stdout} {done.stderr}")
    return Path(json.loads(done.stdout)["Dir"])


def program(name):
    """The path of a program. It is built once, which takes minutes."""
    module, package = GO_PROGRAMS[name]
    binary = CACHE / f"{name}-{module.rpartition('@')[2]}"
    if binary.exists():
        return binary
    copy = CACHE / f"{name}.source"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(sources(module), copy)
    for path in [copy, *copy.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o200)
    # Folders of the same repository are modules of their own, and not part of this one's download.
    go_mod = copy / "go.mod"
    lines = go_mod.read_text().splitlines(keepends=True)
    go_mod.write_text("".join(line for line in lines if "=> ./" not in line and "=> ../" not in line))
    unfinished = CACHE / f"{name}.unfinished"
    command = ["go", "build", "-mod=mod", "-trimpath", "-ldflags=-s -w", "-o", str(unfinished), package]
    if subprocess.run(command, cwd=copy, env=go_environment(), check=False).returncode:
        raise Failed(f"{module} cannot be built")
    shutil.rmtree(copy)
    unfinished.rename(binary)
    return binary


def downscaler():
    """The path of kubedownscaler's command, in a virtual environment of its own."""
    home = CACHE / DOWNSCALER.replace("==", "-")
    if not (home / "complete").exists():
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run(["python3", "-m", "venv", home], check=True)
        subprocess.run([home / "bin/pip", "install", "--quiet", "--disable-pip-version-check", DOWNSCALER], check=True)
        (home / "complete").touch()
    return home / "bin/kubectl-downscale"
