"""What the cluster is built from: pins in go.mod files."""

from pathlib import Path

from hack.cluster import build, pins

GO_MOD = """module example.dev/x

go 1.26.0

require example.dev/single v1.0.0

require (
	example.dev/a v1.2.3
	example.dev/b v0.1.0 // indirect
)

tool (
	example.dev/a/cmd/one
	example.dev/b
)

replace example.dev/b => example.dev/b v0.2.0
"""


def test_a_go_mod_is_read() -> None:
    module = pins.parse_go_mod(GO_MOD, Path("x"))
    assert module.go_version == (1, 26, 0)
    assert module.versions == {
        "example.dev/single": "v1.0.0",
        "example.dev/a": "v1.2.3",
        "example.dev/b": "v0.1.0",
    }
    assert module.tools == ("example.dev/a/cmd/one", "example.dev/b")


def test_versions_compare_as_numbers() -> None:
    assert pins.parse_version("go1.26.8\n") > pins.parse_version("1.26.0")
    assert pins.parse_version("go1.9") < pins.parse_version("1.26.0")
    assert pins.parse_version("devel") == ()


def test_another_pin_is_another_place_in_the_cache(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text(GO_MOD)
    before = pins.fingerprint(tmp_path, ["flag"])
    assert pins.fingerprint(tmp_path, ["flag"]) == before
    assert pins.fingerprint(tmp_path, ["other"]) != before
    (tmp_path / "go.mod").write_text(GO_MOD.replace("v1.2.3", "v1.2.4"))
    assert pins.fingerprint(tmp_path, ["flag"]) != before


def test_everything_that_is_started_is_built() -> None:
    recipe = build.cluster_recipe()
    assert set(recipe.programs) == {
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-proxy",
        "kubectl",
        "helm",
        "containerd",
        "containerd-shim-runc-v2",
        "ctr",
        "coredns",
        "pause",
    }
    assert build.minio_recipe().programs == ("minio",)


def test_kubernetes_own_modules_are_of_its_version() -> None:
    text = (recipe_folder() / "go.mod").read_text()
    minor = pins.read_go_module(recipe_folder()).version(pins.KUBERNETES).removeprefix("v1.")
    assert f"k8s.io/client-go => k8s.io/client-go v0.{minor}" in text


def recipe_folder() -> Path:
    return build.cluster_recipe().module.folder
