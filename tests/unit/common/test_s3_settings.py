"""Where the object store is: THUMBNAILS_S3_*, with one clear line for each wrong value."""

from pathlib import Path

import pytest
import trustme

from thumbnails_common.s3_settings import S3Settings

ENV = {
    "THUMBNAILS_S3_ENDPOINT": "http://minio:9000",
    "THUMBNAILS_S3_ACCESS_KEY": "access",
    "THUMBNAILS_S3_SECRET_KEY": "secret",
}


def test_defaults() -> None:
    settings = S3Settings.from_environment(ENV)
    assert settings == S3Settings("http://minio:9000", "access", "secret")
    assert (settings.bucket, settings.region, settings.ca_file) == ("thumbnails", "us-east-1", None)


def test_everything_can_be_set(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.crt"
    trustme.CA().cert_pem.write_to_path(ca_file)
    settings = S3Settings.from_environment(
        ENV
        | {
            "THUMBNAILS_S3_BUCKET": "pictures",
            "THUMBNAILS_S3_REGION": "eu-central-1",
            "THUMBNAILS_S3_CA_FILE": str(ca_file),
            "THUMBNAILS_S3_CONNECT_TIMEOUT_SECONDS": "1.5",
            "THUMBNAILS_S3_READ_TIMEOUT_SECONDS": "7",
            "THUMBNAILS_S3_RETRY_SECONDS": "4",
            "THUMBNAILS_S3_CONNECTIONS": "8",
            "THUMBNAILS_S3_LARGE_PUTS": "2",
            "THUMBNAILS_S3_PUBLIC_ENDPOINT": "https://pictures.example.com",
        }
    )
    assert settings == S3Settings(
        "http://minio:9000",
        "access",
        "secret",
        "pictures",
        "eu-central-1",
        str(ca_file),
        1.5,
        7.0,
        4.0,
        8,
        2,
        "https://pictures.example.com",
    )


def test_keys_may_be_in_files(tmp_path: Path) -> None:
    (tmp_path / "access").write_text("from a file\n")
    (tmp_path / "secret").write_text("also\n")
    settings = S3Settings.from_environment(
        {
            "THUMBNAILS_S3_ENDPOINT": "https://s3",
            "THUMBNAILS_S3_ACCESS_KEY_FILE": str(tmp_path / "access"),
            "THUMBNAILS_S3_SECRET_KEY_FILE": str(tmp_path / "secret"),
        }
    )
    assert (settings.access_key, settings.secret_key) == ("from a file", "also")


def test_keys_are_not_shown() -> None:
    assert "secret" not in repr(S3Settings.from_environment(ENV))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("THUMBNAILS_S3_ENDPOINT", ""),
        ("THUMBNAILS_S3_ENDPOINT", "minio:9000"),
        ("THUMBNAILS_S3_ENDPOINT", "ftp://minio"),
        ("THUMBNAILS_S3_ENDPOINT", "http://user:password@minio"),
        ("THUMBNAILS_S3_ENDPOINT", "http://minio/path"),
        ("THUMBNAILS_S3_ENDPOINT", "http://minio:port"),
        ("THUMBNAILS_S3_ACCESS_KEY", ""),
        ("THUMBNAILS_S3_SECRET_KEY", ""),
        ("THUMBNAILS_S3_BUCKET", "Not A Bucket"),
        ("THUMBNAILS_S3_RETRY_SECONDS", "soon"),
        ("THUMBNAILS_S3_RETRY_SECONDS", "-1"),
        ("THUMBNAILS_S3_READ_TIMEOUT_SECONDS", "inf"),
        ("THUMBNAILS_S3_READ_TIMEOUT_SECONDS", "nan"),
        ("THUMBNAILS_S3_CONNECTIONS", "1.5"),
    ],
)
def test_a_wrong_value_names_its_variable(variable: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"^{variable}: ") as caught:
        S3Settings.from_environment({**ENV, variable: value})
    assert "\n" not in str(caught.value)
    assert "password" not in str(caught.value)


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_file_without_certificates(tmp_path: Path, content: str | None) -> None:
    ca_file = tmp_path / "ca.crt"
    if content is not None:
        ca_file.write_text(content)
    with pytest.raises(ValueError, match="THUMBNAILS_S3_CA_FILE: must name a file with certificates"):
        S3Settings.from_environment({**ENV, "THUMBNAILS_S3_CA_FILE": str(ca_file)})


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    env = {**ENV, "THUMBNAILS_S3_SECRET_KEY": "", "THUMBNAILS_S3_SECRET_KEY_FILE": str(tmp_path / "none")}
    with pytest.raises(ValueError, match="THUMBNAILS_S3_SECRET_KEY_FILE: cannot be read"):
        S3Settings.from_environment(env)
