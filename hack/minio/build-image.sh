#!/bin/sh
# Builds MinIO's image with Go and Docker, for Skaffold, which gives the name and says whether to push it:
#   IMAGE=localhost/thumbnails/minio:0.1.0 PUSH_IMAGE=false hack/minio/build-image.sh
set -eu
cd "$(dirname "$0")/../cluster/go/minio"
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
CGO_ENABLED=0 GOOS=linux go build -trimpath -ldflags '-s -w' -o "$context/minio" github.com/minio/minio
cp "$(go list -m -f '{{.Dir}}' github.com/minio/minio)/LICENSE" "$context/"
docker build --file ../../../minio/Dockerfile --tag "$IMAGE" "$context"
if [ "${PUSH_IMAGE:-false}" = true ]; then
  docker push "$IMAGE"
fi
