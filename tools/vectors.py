# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Files of vectors that two runs write with the same bytes, and which cases to make; used by the make_*.py beside it."""
import argparse
import io
import pathlib
import zipfile

import numpy as np


def save(path, arrays):
    """An uncompressed .npz without dates."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, np.ascontiguousarray(array))
            archive.writestr(zipfile.ZipInfo(name + ".npy"), buffer.getvalue())


def chosen(description, cases):
    """The folder of the command line, made if need be, with the name and the case of each that is wanted: all, or those named."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    for name, case in cases.items():
        if not arguments.names or name in arguments.names:
            yield arguments.directory, name, case
