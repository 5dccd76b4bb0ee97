"""The results of the study's runs, from the folder of a study or from the archive of a finished one.

tar -cJf results/study.tar.xz -C RECORDS networks rows times
"""

import json
import tarfile
from pathlib import Path
from typing import Any

from stablenormal.errors import DataError


def read_records(records: Path) -> dict[str, dict[str, Any]]:
    """Every result that is there, by its place, such as "rows/full-s0", in the order of these names.

    Args:
        records: folder with a `PLACE/result.json` for each run, any number of them; or a tar archive of such
            a folder, compressed or not.

    Raises:
        DataError: if the file is no archive, holds no result, or a result cannot be read.
    """
    texts = _texts_of_archive(records) if records.is_file() else _texts_of_folder(records)
    found = {}
    for place in sorted(texts):
        try:
            found[place] = json.loads(texts[place])
        except ValueError as error:
            raise DataError(f"{records}: {place}/result.json is damaged; restore it ({error})") from None
    return found


def _texts_of_folder(folder: Path) -> dict[str, bytes]:
    places = (*folder.glob("networks/*/result.json"), *folder.glob("rows/*/result.json"))
    times = folder / "times" / "result.json"
    paths = (*places, times) if times.exists() else places
    return {path.parent.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _texts_of_archive(path: Path) -> dict[str, bytes]:
    try:
        with tarfile.open(path) as archive:
            texts = {
                member.name.removeprefix("./").removesuffix("/result.json"): file.read()
                for member in archive
                if member.name.endswith("/result.json") and (file := archive.extractfile(member))
            }
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{path}: not an archive of a study's results, or damaged ({error})") from None
    if not texts:
        raise DataError(f"{path}: holds no result.json; give the archive of a folder given as --records")
    return texts
