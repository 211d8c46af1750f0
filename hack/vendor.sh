#!/bin/sh
# Fetches what the page at /docs is made of into the package: one pinned release, whose hash is checked.
set -eu
cd "$(dirname "$0")/.."
version=5.35.0
sha512=534eaba4cb56f55dd73c638179a993512af4674f63317e0826e00da44fc465b021c341bc0a0c2bcd4e18997927fe1d3008336c5dd19aad334d1c2dec53cc9551
folder=$(pwd)/api/thumbnails_api/web/vendor/swagger-ui

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
npm pack --silent "swagger-ui-dist@$version" >/dev/null
echo "$sha512  swagger-ui-dist-$version.tgz" | sha512sum --check --quiet
tar -xzf "swagger-ui-dist-$version.tgz"
rm -rf "$folder"
mkdir -p "$folder"
# Kept as they are sent: a quarter of the bytes, in the repository, in the image and on the way.
for file in swagger-ui-bundle.js swagger-ui.css; do
  gzip -9 --no-name --stdout "package/$file" >"$folder/$file.gz"
done
cp package/LICENSE package/NOTICE package/swagger-ui-bundle.js.LICENSE.txt "$folder"
echo "$version" >"$folder/VERSION"
