"""What the cluster leaves on the machine is written down, and found again after any crash."""

import configparser
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hack.cluster import archive, images, mounts, record
from hack.cluster.certs import PARTIES
from hack.cluster.components import components, configuration_files
from hack.cluster.layout import Layout, layout_from_environment
from hack.cluster.shell import ClusterError, CommandFailed, run


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "checkout", tmp_path / "cache", tmp_path / "run" / "owner.json")


def test_the_cache_is_where_the_environment_says() -> None:
    assert layout_from_environment({"THUMBNAILS_CACHE": "/c"}).cache == Path("/c/cluster")
    assert layout_from_environment({"XDG_CACHE_HOME": "/x"}).cache == Path("/x/thumbnails/cluster")
    assert layout_from_environment({"HOME": "/h"}).cache == Path("/h/.cache/thumbnails/cluster")


def test_a_record_is_read_as_it_was_written_and_leaves_nothing_when_removed(layout: Layout) -> None:
    written = record.Record("/checkout", "/programs", pid=7, born=8, settings={"a/b": "1"})
    record.write_record(layout.record, written)
    assert record.read_record(layout.record) == written
    record.remove_record(layout.record)
    assert record.read_record(layout.record) is None
    assert not layout.record.parent.exists()
    record.remove_record(layout.record)


def test_a_process_is_told_from_a_later_one_with_its_number() -> None:
    born = record.birth(os.getpid())
    assert born is not None
    assert record.is_alive(record.Record("c", "p", pid=os.getpid(), born=born))
    assert not record.is_alive(record.Record("c", "p", pid=os.getpid(), born=born - 1))
    assert not record.is_alive(record.Record("c", "p"))


def test_a_dead_process_is_not_alive_even_when_nobody_waited_for_it() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert record.birth(child.pid) is None
    child.wait()
    assert record.birth(child.pid) is None


def test_folders_that_the_nodes_own_would_hide_are_known() -> None:
    paths = [Path("/var/lib/ci/checkout"), Path("/root/cache"), Path("/runner/x"), Path("/run/x")]
    assert mounts.hidden(paths) == [Path("/var/lib/ci/checkout"), Path("/run/x")]


def test_configuration_names_only_certificates_that_are_made(layout: Layout) -> None:
    made = {f"{party.file}.{kind}" for party in PARTIES for kind in ("crt", "key")}
    made |= {"ca.crt", "ca.key", "service-accounts.key", "service-accounts.pub"}
    texts = [*configuration_files(layout).values()]
    texts += [word for part in components(layout, Path("/p"), "python3") for word in part.command]
    used = {
        word.partition(f"{layout.pki}/")[2].partition('"')[0]
        for text in texts
        for word in text.split()
        if f"{layout.pki}/" in word
    }
    assert used
    assert used <= made


def test_configuration_files_are_json_that_kubernetes_can_read(layout: Layout) -> None:
    for path, text in configuration_files(layout).items():
        if path.suffix == ".json":
            assert json.loads(text)["kind"]


def test_a_failing_program_is_reported_in_its_own_words() -> None:
    with pytest.raises(CommandFailed, match="exit code 3"):
        run("sh", "-c", "echo it broke >&2; exit 3")
    with pytest.raises(CommandFailed, match="it broke"):
        run("sh", "-c", "echo it broke >&2; exit 3")
    with pytest.raises(ClusterError, match="is not installed"):
        run("no-such-program-anywhere")


def test_a_program_becomes_an_image(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(b"program")
    target = tmp_path / "pause.tar"
    archive.program_image(target, "localhost/x/pause:1", program)
    with tarfile.open(target) as tar:

        def read(name: str) -> bytes:
            member = tar.extractfile(name)
            assert member is not None
            return member.read()

        def blob(descriptor: dict[str, str]) -> bytes:
            return read("blobs/" + descriptor["digest"].replace(":", "/"))

        index = json.loads(read("index.json"))
        manifest = json.loads(blob(index["manifests"][0]))
        config = json.loads(blob(manifest["config"]))
        layer = blob(manifest["layers"][0])
    assert index["manifests"][0]["annotations"]["io.containerd.image.name"] == "localhost/x/pause:1"
    assert config["config"]["Entrypoint"] == ["/pause"]
    (tmp_path / "layer.tar").write_bytes(layer)
    with tarfile.open(tmp_path / "layer.tar") as tar:
        assert tar.getmember("pause").mode == 0o755


def test_images_have_archives_of_their_own() -> None:
    built = images.project_images(Path("/checkout"), "1.2.3", Path("/minio"))
    assert [image.name for image in built] == [
        "localhost/thumbnails/api:1.2.3",
        "localhost/thumbnails/operator:1.2.3",
        "localhost/thumbnails/worker:1.2.3",
        "localhost/thumbnails/minio:1.2.3",
    ]
    assert len({image.archive_name for image in built}) == 4


def test_pip_in_an_image_is_set_up_like_the_machines() -> None:
    text = images.pip_settings(
        {
            ":env:.timeout": "180",
            "global.timeout": "60",
            "global.index-url": "https://packages.example/simple",
            "global.cert": "/somewhere/on/the/machine.pem",
            ":env:.find-links": "/wheels",
            "install.no-binary": "x",
        }
    )
    settings = configparser.ConfigParser()
    settings.read_string(text)
    assert {name: dict(section) for name, section in settings.items() if name != "DEFAULT"} == {
        "global": {
            "timeout": "180",
            "index-url": "https://packages.example/simple",
            "cert": "/etc/ssl/certs/ca-certificates.crt",
        },
        "install": {"no-binary": "x"},
    }
