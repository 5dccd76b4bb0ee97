"""Released weights, by hub id or folder, to one model folder."""

from pathlib import Path
from typing import cast

from stablenormal.errors import SettingError
from stablenormal.io.hub import resolve_model
from stablenormal.io.output_folder import refuse_replacing
from stablenormal.models.loading import save_components
from stablenormal.models.released import (
    Generation,
    ReleasedFolders,
    detect_generation,
    join_released,
    needs_semantic,
    released_spec,
)
from stablenormal.models.spec import ModelSpec
from stablenormal.pipelines.placement import TORCH_DTYPES


def convert_released(
    yoso: str,
    refiner: str,
    output: Path,
    *,
    base: str | None = None,
    semantic: str = "facebook/dinov2-large",
    generation: str | None = None,
    processing_resolution: int = 768,
    variant: str | None = "fp16",
    dtype: str = "float16",
    trust_remote_code: bool = False,
    offline: bool = False,
) -> ModelSpec:
    """Join the two released repositories into one model folder that `from_pretrained` reads.

    Args:
        yoso: hub id or folder of YOSO.
        refiner: hub id or folder of the refiner.
        output: the folder to write.
        base: hub id or folder of the autoencoder and the text encoder, if the other two lack them.
        semantic: hub id or folder of a DINOv2 encoder, used if the refiner brings none.
        generation: `before-v1.5` or `v1.5`; by default from YOSO's name.
        processing_resolution: pixels of the longer side at which the networks will see images.
        variant: prefer weight files of this variant where they exist.
        dtype: of the stored weights.
        trust_remote_code: run the Python files of the refiner's semantic branch.
        offline: never open a socket.

    Returns:
        The spec of the joined model.

    Raises:
        ModelError: if a part is missing, damaged, or needs remote code that was not allowed.
        SettingError: if an option is unknown.
        OfflineError: if something must be downloaded and `offline` is set.
        OutputError: if the folder cannot be written, or is or holds one that is read.
    """
    if dtype not in TORCH_DTYPES:
        raise SettingError(f"dtype: {dtype!r} does not exist; choose one of {', '.join(TORCH_DTYPES)}")
    code = ("*.py",) if trust_remote_code else ()
    refiner_folder = resolve_model(refiner, offline, variant=variant, allow_patterns=code)
    folders = ReleasedFolders(
        yoso=resolve_model(yoso, offline, variant=variant),
        refiner=refiner_folder,
        base=None if base is None else resolve_model(base, offline, variant=variant),
        semantic=resolve_model(semantic, offline) if needs_semantic(refiner_folder) else None,
    )
    read = (folders.yoso, folders.refiner, folders.base, folders.semantic)
    refuse_replacing(output, [folder for folder in read if folder is not None])
    chosen = cast(Generation, generation) if generation else detect_generation(yoso, folders.yoso)
    spec = released_spec(output.name, chosen, processing_resolution)
    components = join_released(folders, spec, TORCH_DTYPES[dtype], variant, trust_remote_code)
    save_components(components, output, TORCH_DTYPES[dtype])
    return spec
