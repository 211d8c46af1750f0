#!/bin/sh
# Resolves requirements/*.txt anew: exact versions with hashes for every platform, and no index address.
set -eu
cd "$(dirname "$0")/.."
uv=${THUMBNAILS_UV:-uv}
compile() {
  "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-emit-find-links --no-header "$@"
}
compile --extra dev pyproject.toml --output-file requirements/dev.txt
for extra in local api operator worker; do
  # The same versions everywhere: what is tested is what is shipped.
  compile --extra "$extra" pyproject.toml --constraint requirements/dev.txt --output-file "requirements/$extra.txt"
done
echo 'hatchling==1.33.0' | compile - --output-file requirements/build.txt
