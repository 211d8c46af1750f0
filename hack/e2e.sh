#!/bin/sh
# The end-to-end tests, on the cluster of KUBECONFIG, or else on the one that `make cluster` made.
# Anything that is given goes to pytest.
set -eu
cd "$(dirname "$0")/.."
KUBECONFIG=${THUMBNAILS_TEST_KUBECONFIG:-${KUBECONFIG:-}}
if [ -z "$KUBECONFIG" ]; then
  if ! [ -f .cluster/kubeconfig ]; then
    echo "There is no cluster: set KUBECONFIG, or make one with 'make cluster images'." >&2
    exit 1
  fi
  KUBECONFIG=$PWD/.cluster/kubeconfig
fi
PATH=$PWD/.cluster/bin:$PATH
export KUBECONFIG PATH
for tool in kubectl helm; do
  command -v "$tool" >/dev/null || {
    echo "$tool is needed: put it on the PATH." >&2
    exit 1
  }
done
kubectl version >/dev/null || {
  echo "The cluster of $KUBECONFIG does not answer." >&2
  exit 1
}
version=$(awk '/^appVersion:/ { gsub(/"/, "", $2); print $2 }' charts/thumbnails/Chart.yaml)
: "${THUMBNAILS_TEST_WORKER_IMAGE:=localhost/thumbnails/worker:$version}"
export THUMBNAILS_TEST_WORKER_IMAGE
# With a real API server at hand, also what is skipped without one. E2E_TESTS names some of them alone.
: "${E2E_TESTS:=tests/e2e tests/conformance/jobstore tests/conformance/rest tests/integration/api tests/integration/common}"
# shellcheck disable=SC2086 # several paths
exec .venv/bin/python -m pytest $E2E_TESTS "$@"
