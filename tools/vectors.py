# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Files of vectors that two runs write with the same bytes; used by the make_*.py beside it."""
import io
import zipfile

import numpy as np


def save(path, arrays):
    """An uncompressed .npz without dates."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, np.ascontiguousarray(array))
            archive.writestr(zipfile.ZipInfo(name + ".npy"), buffer.getvalue())
