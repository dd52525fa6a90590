# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Folders of their own for packages from PyPI that the tools beside it use."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def environment(name, variable):
    """Python of the folder build/NAME, or of the one that the environment variable names, which is made if it is not there."""
    home = Path(os.environ.get(variable, ROOT / "build" / name))
    python = home / "bin" / "python"
    if not python.exists():
        made = subprocess.run([sys.executable, "-m", "venv", str(home)], capture_output=True, text=True)
        if made.returncode != 0:
            sys.exit("cannot make a Python environment (Debian: apt install python3-venv)\n" + made.stdout)
    return python


def has(python, module):
    return subprocess.run([str(python), "-c", f"import {module}"], capture_output=True).returncode == 0


def install(python, *packages):
    print(f"installing {' '.join(packages)}", file=sys.stderr)
    return subprocess.run([str(python), "-m", "pip", "install", "-q", *packages]).returncode == 0


def version(python, package):
    ask = f"from importlib.metadata import version; print(version('{package}'))"
    return subprocess.run([str(python), "-c", ask], capture_output=True, text=True, check=True).stdout.strip()
