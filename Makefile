# The commands of this project; `make help` lists them.
SHELL := /bin/sh
.DEFAULT_GOAL := help
BIN := .venv/bin
CODE := crds common api operator worker local client charts tests hack
# Tests wait for processes more than they compute: a few more workers than cores.
TEST_JOBS ?= $(shell expr $$(nproc 2>/dev/null || echo 2) + 1)

.PHONY: help
help: ## list these commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## start the whole service on http://localhost:3000 (PORT=... THUMBNAILS_DATA=... to change)
	@./hack/venv.sh local
	@exec $(BIN)/python -m thumbnails_local

.PHONY: test
test: ## run the unit, integration and conformance tests (ARGS=... for pytest)
	@./hack/venv.sh dev
	@$(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadgroup $(ARGS)

.PHONY: lint
lint: ## check style, types and the layers (ruff, mypy, import-linter)
	@./hack/venv.sh dev
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy crds common api operator worker local client
	$(BIN)/mypy tests hack
	$(BIN)/lint-imports

.PHONY: format
format: ## format the code
	@./hack/venv.sh dev
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

.PHONY: bench
bench: ## measure against the same work by hand, and redraw docs/benchmarks.md
	@./hack/venv.sh dev
	@$(BIN)/python hack/bench/local.py

.PHONY: bench-render
bench-render: ## measure the renderer beside Pillow, libvips and sharp (ARGS="--rounds 3 --only WebP --print-only")
	@./hack/venv.sh dev
	@$(BIN)/python hack/bench/render.py $(ARGS)

.PHONY: bench-worker
bench-worker: ## measure how busy a worker keeps its renderer, and its start (ARGS="--count 100 --print-only")
	@./hack/venv.sh dev
	@$(BIN)/python hack/bench/render_flow.py $(ARGS)

.PHONY: bench-cluster
bench-cluster: ## measure on the cluster of KUBECONFIG, or on that of `make cluster images` (ARGS="--burst 100 --print-only")
	@./hack/venv.sh dev
	@$(BIN)/python hack/bench/cluster.py $(ARGS)

.PHONY: bench-steady
bench-steady: ## an hour of uploads on the cluster of `make cluster images`, leaders killed meanwhile (ARGS="--minutes 5 --print-only")
	@./hack/venv.sh dev
	@PYTHONPATH=. $(BIN)/python hack/bench/steady.py $(ARGS)

.PHONY: fuzz
fuzz: ## render 50,000 damaged files; goes on where it ended (ARGS="--inputs 100000 --seed 2")
	@./hack/venv.sh dev
	@$(BIN)/python -m hack.fuzz $(ARGS)

.PHONY: schemathesis
schemathesis: ## hold a running service to its OpenAPI description, with thousands of requests
	@./hack/venv.sh dev
	@THUMBNAILS_SCHEMATHESIS_EXAMPLES=$${EXAMPLES:-200} $(BIN)/python -m pytest -q -rP tests/integration/service/test_openapi.py $(ARGS)

.PHONY: vendor
vendor: ## fetch the pinned files of the page at /docs anew (needs npm)
	@./hack/vendor.sh

.PHONY: cluster
cluster: ## start a real single-node Kubernetes on this machine (Debian, root; the first time takes half an hour)
	@python3 hack/cluster up

.PHONY: cluster-down
cluster-down: ## end it, and leave nothing behind
	@python3 hack/cluster down

.PHONY: images
images: ## build the container images and load them into the cluster
	@python3 hack/cluster images

.PHONY: e2e
e2e: ## run the end-to-end tests on the cluster of KUBECONFIG, or on that of `make cluster images` (ARGS=... for pytest)
	@./hack/venv.sh dev
	@./hack/e2e.sh -m "not outage" $(ARGS)

.PHONY: e2e-faults
e2e-faults: ## take away what the service stands on, with uploads flowing, on the cluster of `make cluster images`; draw docs/operating.md's table (half an hour)
	@./hack/venv.sh dev
	@THUMBNAILS_TEST_OUTAGES=$${THUMBNAILS_TEST_OUTAGES:-$(CURDIR)/docs/outages.json} \
		E2E_TESTS=tests/e2e/faults ./hack/e2e.sh -m outage $(ARGS)
	@$(BIN)/python hack/outages.py

.PHONY: e2e-ways
e2e-ways: ## install the chart in every way that charts/thumbnails/ci shows, on the same cluster (a quarter of an hour)
	@./hack/venv.sh dev
	@THUMBNAILS_TEST_WAYS=ways E2E_TESTS=tests/e2e/ways ./hack/e2e.sh $(ARGS)

.PHONY: chart
chart: ## check the chart with helm, kubeconform and promtool, which are built first (a few minutes, once)
	@./hack/venv.sh dev
	@$(BIN)/python -m hack.chart
	@THUMBNAILS_CHART_TOOLS=required $(BIN)/python -m pytest -n $(TEST_JOBS) tests/chart $(ARGS)

.PHONY: docs
docs: ## write the made pages of docs/ and the chart's README and dashboard anew
	@./hack/venv.sh dev
	@$(BIN)/python hack/docs.py
	@$(BIN)/python -m hack.metrics_page
	@$(BIN)/python -m hack.chart.values
	@$(BIN)/python -m hack.chart.dashboard
	@$(BIN)/python -m hack.formats

.PHONY: screenshots
screenshots: ## draw the pictures of the page in docs/ anew (needs Chromium)
	@./hack/venv.sh dev
	@$(BIN)/python hack/screenshots.py

.PHONY: lock
lock: ## pin the newest versions, with hashes (needs uv: THUMBNAILS_UV=/path/to/uv)
	@./hack/lock.sh

.PHONY: clean
clean: ## remove what was installed and built (not your data in .data)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
