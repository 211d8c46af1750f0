"""Packs files into container images, as archives that containerd and buildah read (OCI image layout).

The format: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def program_image(archive: Path, name: str, program: Path) -> None:
    """An image with one static program as its only file and entrypoint."""

    def fill(layer: tarfile.TarFile) -> None:
        entry = tarfile.TarInfo(program.name)
        entry.size = program.stat().st_size
        entry.mode = 0o755
        with program.open("rb") as content:
            layer.addfile(entry, content)

    with tempfile.TemporaryFile(dir=archive.parent) as layer:
        with tarfile.open(fileobj=layer, mode="w") as tar:
            fill(tar)
        _write(archive, name, layer, {"Entrypoint": [f"/{program.name}"]})


def tree_image(archive: Path, name: str, root: Path, config: Mapping[str, Any]) -> None:
    """An image whose one layer is a folder, owners and modes kept."""
    with tempfile.TemporaryFile(dir=archive.parent) as layer:
        with tarfile.open(fileobj=layer, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for entry in sorted(os.listdir(root)):  # noqa: PTH208 - names alone are wanted
                tar.add(root / entry, arcname=entry)
        _write(archive, name, layer, config)


def _write(archive: Path, name: str, layer: BinaryIO, config: Mapping[str, Any]) -> None:
    """Writes beside the archive's place first, so that one that is there is whole."""
    layer.seek(0)
    layer_digest = hashlib.file_digest(layer, "sha256").hexdigest()  # type: ignore[arg-type]  # a BinaryIO is enough
    layer_size = layer.tell()
    layer.seek(0)
    image_config = _json(
        {
            "architecture": _ARCHITECTURES[os.uname().machine],
            "os": "linux",
            "config": dict(config),
            # buildah counts layers by it.
            "history": [{"created_by": "hack/cluster"}],
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor("application/vnd.oci.image.config.v1+json", image_config),
            "layers": [
                {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar",
                    "digest": f"sha256:{layer_digest}",
                    "size": layer_size,
                }
            ],
        }
    )
    index = {
        "schemaVersion": 2,
        "manifests": [
            {
                **_descriptor("application/vnd.oci.image.manifest.v1+json", manifest),
                "annotations": {
                    # containerd reads the first, and buildah the second.
                    "io.containerd.image.name": name,
                    "org.opencontainers.image.ref.name": name,
                },
            }
        ],
    }
    new = archive.with_suffix(".new")
    with tarfile.open(new, "w") as tar:
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(tar, "index.json", _json(index))
        for blob in (image_config, manifest):
            _add(tar, f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}", blob)
        entry = tarfile.TarInfo(f"blobs/sha256/{layer_digest}")
        entry.size = layer_size
        tar.addfile(entry, layer)
    shutil.move(new, archive)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {
        "mediaType": media_type,
        "digest": f"sha256:{hashlib.sha256(content).hexdigest()}",
        "size": len(content),
    }


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True).encode()
