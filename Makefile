# `make help` lists the targets; the README and CONTRIBUTING.md explain them.

# The minor version of Kubernetes to build and test against: a folder in cluster/.
KUBERNETES ?= 1.36
export KUBERNETES

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
TESTBED := $(TARGET_DIR)/debug/testbed
FAULTS := $(TARGET_DIR)/debug/faults
KUBECTL_REPLICAS := $(TARGET_DIR)/debug/kubectl-replicas

# Always the whole workspace: a single package would be built a second time, with different features.
BUILD := $(CARGO) build --locked --workspace --bins

# Only the programs of the benchmarks are optimized, because that takes minutes for each. kubectl-replicas makes their
# certificates.
MEASURED := replica-count-manager replica-count-cli replica-count-bench replica-count-testbed
BUILD_BENCH := $(CARGO) build --locked --release --bins $(MEASURED:%=-p %)

# The tests of these packages need neither a cluster nor Go.
UNIT_TESTED := replica-count-core replica-count-wire replica-count-api replica-count-client replica-count-cli replica-count-manager

# Only a KUBECONFIG on the command line selects a cluster. An exported one is meant for other tools, and a development
# server should not work on that cluster by accident.
ifeq ($(origin KUBECONFIG),command line)
RUN_FLAGS += --kubeconfig '$(KUBECONFIG)'
K8S_FLAGS += --kubeconfig '$(KUBECONFIG)'
endif
ifeq ($(origin CONTEXT),command line)
RUN_FLAGS += --context '$(CONTEXT)'
endif

ifneq ($(ONLY),)
BENCH_FLAGS += --only $(ONLY)
endif
ifneq ($(ROUNDS),)
BENCH_FLAGS += --rounds $(ROUNDS)
endif
ifneq ($(BASELINE),)
BENCH_FLAGS += --baseline '$(BASELINE)'
endif
# A short run is no real measurement, so it uses a debug build.
ifneq ($(SHORT),)
BENCH_FLAGS += --short
endif


ifneq ($(SEED),)
FAULTS_FLAGS += --seed $(SEED)
endif
ifneq ($(MINUTES),)
FAULTS_FLAGS += --minutes $(MINUTES)
endif
ifneq ($(TRACE),)
FAULTS_FLAGS += --replay $(TRACE)
endif

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@echo 'Replica Count Manager. Prerequisites: git, make, a C compiler, rustup, Go 1.21 or newer; for ci also jq, Python 3.11.'
	@echo
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  KUBERNETES=1.33           another minor version of Kubernetes, for run, demo, test and cluster'
	@echo '  KUBECONFIG=FILE           your own cluster, for run, run-k8s and test-k8s (never taken from the environment)'
	@echo '  NODE=local                a real node on this machine, as root, for run-k8s and test-k8s'
	@echo '  HELM=helm3                the version of Helm, for test-chart, run-k8s and test-k8s (which also takes helm3,helm4)'
	@echo '  BASELINE=origin/main      an earlier commit whose server is measured too, for bench'
	@echo '  KUBEBUILDER_ASSETS=DIR    a folder with etcd and kube-apiserver, to use instead of building them'

.PHONY: build
build: ## Build everything, unoptimized
	$(BUILD)

.PHONY: build-release
build-release: ## Build the server and kubectl-replicas, optimized
	$(CARGO) build --locked --release
	$(CARGO) build --locked --release -p replica-count-cli

.PHONY: build-static
build-static: ## Build the server for the image: static, reproducible
	scripts/build-static.sh

.PHONY: image
image: build-static ## Build the image into target/image/ (needs buildah)
	scripts/build-image.sh $(IMAGE)

.PHONY: test-image
test-image: build image ## Inspect the image and run it like a strict cluster (needs runc and root)
	scripts/inspect-image.sh
	scripts/test-image.sh

.PHONY: test-reproducible
test-reproducible: ## Build the image of HEAD twice, in clean clones, and compare the results (two release builds)
	scripts/compare-images.sh

.PHONY: run
run: build ## Run the server on a local control plane, or on KUBECONFIG=FILE, until Ctrl-C
	$(TESTBED) run $(RUN_FLAGS)

.PHONY: demo
demo: build ## Demonstrate the server on a real API server, step by step
	$(TESTBED) demo

.PHONY: run-k8s
run-k8s: build ## Install the chart on minikube, NODE=local or KUBECONFIG=FILE, and forward its port until Ctrl-C
	scripts/k8s.sh run $(K8S_FLAGS)

.PHONY: test
test: build cluster ## Run every test
	$(CARGO) test --locked --workspace -- --skip on_a_node

.PHONY: test-node
test-node: build ## Test the testbed's node (needs root, and minutes to build a kubelet)
	$(CARGO) test --locked --workspace on_a_node

.PHONY: test-k8s
test-k8s: build ## Verify the documentation on running pods: on minikube, NODE=local or KUBECONFIG=FILE
	scripts/k8s.sh test $(K8S_FLAGS)

.PHONY: man
man: ## Write the manual pages of kubectl-replicas into target/man/
	MAN_PAGES='$(abspath $(TARGET_DIR))/man' $(CARGO) test --quiet --locked -p replica-count-cli --test man

.PHONY: page
page: ## Build the page of `kubectl replicas ui` into crates/cli/page/built (needs Node)
	scripts/build-page.sh

.PHONY: test-page
test-page: build cluster ## Test the page in Chromium, on a real server (needs Node and Chromium)
	scripts/build-page.sh --check
	CHROMIUM=$$(scripts/browser.sh) node --test --test-timeout 180000 crates/cli/page/tests/page.test.mjs

.PHONY: page-pictures
page-pictures: build cluster ## Make the pictures of the page for the documentation (needs Node and Chromium)
	scripts/page-tools.sh
	CHROMIUM=$$(scripts/browser.sh) node crates/cli/page/tests/pictures.mjs docs/pictures
	@# The first README shows a picture of this name.
	cp docs/pictures/page-overview-light.png docs/bloomRPC.png

.PHONY: test-unit
test-unit: ## Run the tests that need no cluster (seconds, without Go)
	$(CARGO) test --locked $(UNIT_TESTED:%=-p %)

.PHONY: faults
faults: build cluster ## Inject random faults, in rounds from a seed: SEED=N MINUTES=M, or replay TRACE=FILE
	$(FAULTS) run $(FAULTS_FLAGS)

.PHONY: soak
soak: build cluster ## Disturb one server as clusters do, for MINUTES=10, and print what it uses
	$(FAULTS) soak $(FAULTS_FLAGS)

.PHONY: handover
handover: build cluster ## Measure handovers between two servers, and look for late writes: ROUNDS=N of each kind
	$(FAULTS) handover $(if $(ROUNDS),--rounds $(ROUNDS))

.PHONY: faults-all
faults-all: build cluster ## Inject every fault, crash and disk failure, one by one (30 minutes)
	$(FAULTS) all

.PHONY: mutants
mutants: build cluster ## Verify that each seeded bug is caught (an hour)
	$(FAULTS) mutants

.PHONY: fuzz
fuzz: ## Fuzz the parsers: SECONDS=60 for each (needs a nightly toolchain)
	scripts/fuzz.sh $(SECONDS)

.PHONY: bench
bench: ## Compare the server with limits and a Go operator: ONLY=drift, or another of bench --help, BASELINE=COMMIT ROUNDS=N SHORT=1
	@# Finds a mistyped commit before the build, which takes minutes.
	$(if $(BASELINE),git rev-parse --verify --end-of-options '$(BASELINE)^{commit}')
	$(if $(SHORT),$(BUILD),$(BUILD_BENCH))
	$(TARGET_DIR)/$(if $(SHORT),debug,release)/replica-count-bench $(BENCH_FLAGS)

.PHONY: lint-chart
lint-chart: ## Check the Helm chart without a cluster
	scripts/lint-chart.sh

.PHONY: test-chart
test-chart: build ## Test the Helm chart on a control plane without nodes: HELM=helm3 for Helm 3
	HELM=$(or $(HELM),helm4) scripts/test-chart.sh

.PHONY: test-release
test-release: ## Publish to a registry and a Helm repository on loopback, and install from them and with krew
	scripts/test-release.sh

.PHONY: crd
crd: ## Generate the CustomResourceDefinition of the chart from the Rust types
	$(CARGO) run --quiet --locked -p replica-count-manager -- crd > charts/replica-count-manager/files/crd/replicacounts.yaml

.PHONY: proto-docs
proto-docs: ## Generate the reference of the messages from the proto contract
	scripts/proto-docs.py

.PHONY: lint-notifications
lint-notifications: build ## Check notifications with the public packages of their receivers (needs openssl)
	scripts/lint-notifications.sh

.PHONY: chart-docs
chart-docs: ## Generate the README of the chart from its values
	scripts/chart-docs.sh

.PHONY: dashboard
dashboard: ## Generate the Grafana dashboard of the chart
	scripts/dashboard.py > charts/replica-count-manager/files/monitoring/dashboard.json

.PHONY: metrics-docs
metrics-docs: ## Generate the table of metrics in docs/ from a running server
	UPDATE_DOCS=1 $(CARGO) test --locked -p replica-count-manager --test metrics the_documentation

.PHONY: lint
lint: ## Check formatting and clippy (CI also runs lint-modules, lint-pipelines and cargo-deny)
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

.PHONY: lint-modules
lint-modules: ## Check that no modules of the product use each other in a circle, and that files are short
	scripts/lint-modules.sh

.PHONY: lint-pipelines
lint-pipelines: ## Check workflows, scripts, YAML, JSON, the proto contract and links
	scripts/lint-pipelines.sh

.PHONY: lint-peer
lint-peer: ## Check the Go operator of the benchmarks (minutes, unless `make bench` has built it)
	scripts/lint-peer.sh

.PHONY: lint-prose
lint-prose: ## Check the words of the documents
	scripts/lint-prose.sh

.PHONY: docs
docs: ## Build the documents as a site into target/docs/book, and check its links
	scripts/docs.sh build

.PHONY: pictures
pictures: build ## Draw the pictures of the README again, from a real drift and a real demo
	scripts/pictures.sh

.PHONY: opponents
opponents: build ## Try kubectl, Helm and autoscalers against each mode of the guard, and write the table (minutes)
	harness/opponents/opponents.py

.PHONY: fmt
fmt: ## Format the code
	$(CARGO) fmt --all

.PHONY: ci
ci: ## Run the same checks as CI
	.ci/run

.PHONY: ci-full
ci-full: ci ## Run the same checks as CI, and those that take too long for it
	$(MAKE) test-reproducible
	$(MAKE) test-k8s NODE=local HELM=helm3 # Helm 4 is in `ci`.

.PHONY: certs
certs: build ## Create development certificates in certificates/
	$(KUBECTL_REPLICAS) certs --dir certificates

.PHONY: cluster
cluster: build ## Build the programs of the local control plane, into the cache
	$(TESTBED) build

.PHONY: clean
clean: ## Remove what cargo built (keeps certificates/, dev/ and the cache of cluster programs)
	$(CARGO) clean
