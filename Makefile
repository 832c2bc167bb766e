# `make help` lists what there is; see CONTRIBUTING.md for what lies behind it.

# The minor of Kubernetes to build and test against: a folder of cluster/.
KUBERNETES ?= 1.36
export KUBERNETES

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
TESTBED := $(TARGET_DIR)/debug/testbed
FAULTS := $(TARGET_DIR)/debug/faults
MANAGER := $(TARGET_DIR)/debug/replica-count-manager

# Always the whole workspace: a package alone would be built with other features, and so a second time.
BUILD := $(CARGO) build --locked --workspace --bins

# Only what takes part in benchmarks is built optimized: that takes minutes for each program.
MEASURED := replica-count-manager replica-count-bench replica-count-testbed
BUILD_BENCH := $(CARGO) build --locked --release --bins $(MEASURED:%=-p %)

# Only a cluster named on the command line is a target. An exported KUBECONFIG is there for other reasons, and
# nobody wants a development server to work on the cluster that happens to be in it.
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
# A short run measures nothing, so it does not wait for an optimized build.
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
help: ## List these targets
	@echo 'Replica Count Manager. Prerequisites: git, make, a C compiler, rustup, Go 1.21 or newer; for ci also jq, Python 3.11.'
	@echo
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  KUBERNETES=1.33           another minor of Kubernetes, for run, demo, test and cluster'
	@echo '  KUBECONFIG=FILE           your own cluster, for run, run-k8s and test-k8s (only here, never from the environment)'
	@echo '  NODE=local                a real node of its own on this machine, as root, for run-k8s and test-k8s'
	@echo '  HELM=helm3                a version of Helm, for test-chart, run-k8s and test-k8s, which takes both: helm3,helm4'
	@echo '  BASELINE=origin/main      an earlier commit whose server is measured too, for bench'
	@echo '  KUBEBUILDER_ASSETS=DIR    a folder with etcd and kube-apiserver, instead of building them'

.PHONY: build
build: ## Build everything, unoptimized
	$(BUILD)

.PHONY: build-release
build-release: ## Build the server as it is shipped
	$(CARGO) build --locked --release

.PHONY: build-static
build-static: ## Build the server as it goes into the image: static, reproducible
	scripts/build-static.sh

.PHONY: image
image: build-static ## Build the image and write it to target/image/ (needs buildah)
	scripts/build-image.sh $(IMAGE)

.PHONY: test-image
test-image: build image ## Look into the image and run it, as a strict cluster would (needs runc and root)
	scripts/inspect-image.sh
	scripts/test-image.sh

.PHONY: test-reproducible
test-reproducible: ## Build the image of HEAD twice, in clean clones, and compare: takes two release builds
	scripts/compare-images.sh

.PHONY: run
run: build ## Run the server on a control plane of its own, or on KUBECONFIG=FILE, until Ctrl-C
	$(TESTBED) run $(RUN_FLAGS)

.PHONY: demo
demo: build ## Play the whole story against a real API server, step by step
	$(TESTBED) demo

.PHONY: run-k8s
run-k8s: build ## Install the chart on minikube, NODE=local or KUBECONFIG=FILE, and forward its port until Ctrl-C
	scripts/k8s.sh run $(K8S_FLAGS)

.PHONY: test
test: build cluster ## Run every test
	$(CARGO) test --locked --workspace -- --skip on_a_node

.PHONY: test-node
test-node: build ## Try the real node of the testbed (needs root, and minutes to build a kubelet)
	$(CARGO) test --locked --workspace on_a_node

.PHONY: test-k8s
test-k8s: build ## Show on running pods what the documents promise: on minikube, NODE=local or KUBECONFIG=FILE
	scripts/k8s.sh test $(K8S_FLAGS)

.PHONY: test-unit
test-unit: ## Run the tests that need no cluster: seconds, no Go
	$(CARGO) test --locked -p replica-count-core -p replica-count-api -p replica-count-manager

.PHONY: faults
faults: build cluster ## Try to break the server, in rounds drawn from a seed: SEED=N MINUTES=M, or TRACE=FILE again
	$(FAULTS) run $(FAULTS_FLAGS)

.PHONY: faults-all
faults-all: build cluster ## Try every fault, crash and disk failure, one by one: 20 minutes
	$(FAULTS) all

.PHONY: mutants
mutants: build cluster ## Show that each seeded bug is caught: an hour
	$(FAULTS) mutants

.PHONY: fuzz
fuzz: ## Look for input that breaks a parser: SECONDS=60 for each (needs a nightly toolchain)
	scripts/fuzz.sh $(SECONDS)

.PHONY: bench
bench: ## Measure the server beside limits and a Go operator: ONLY=drift, or another of bench --help, BASELINE=COMMIT ROUNDS=N SHORT=1
	@# A mistyped commit is found before the build, which takes minutes.
	$(if $(BASELINE),git rev-parse --verify --end-of-options '$(BASELINE)^{commit}')
	$(if $(SHORT),$(BUILD),$(BUILD_BENCH))
	$(TARGET_DIR)/$(if $(SHORT),debug,release)/replica-count-bench $(BENCH_FLAGS)

.PHONY: lint-chart
lint-chart: ## Check the Helm chart without a cluster
	scripts/lint-chart.sh

.PHONY: test-chart
test-chart: build ## Try the Helm chart on a control plane without nodes: HELM=helm3 for Helm 3
	HELM=$(or $(HELM),helm4) scripts/test-chart.sh

.PHONY: chart-docs
chart-docs: ## Write the README of the chart from its values
	scripts/chart-docs.sh

.PHONY: lint
lint: ## Check formatting and lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

.PHONY: lint-pipelines
lint-pipelines: ## Check workflows, scripts, YAML, JSON, the contract and links
	scripts/lint-pipelines.sh

.PHONY: lint-peer
lint-peer: ## Check the Go operator that the benchmarks compare with: minutes, unless `make bench` built it
	scripts/lint-peer.sh

.PHONY: fmt
fmt: ## Format the code
	$(CARGO) fmt --all

.PHONY: ci
ci: ## Run what CI runs
	.ci/run

.PHONY: ci-full
ci-full: ci ## Run what CI runs, and what takes too long for it
	$(MAKE) test-reproducible
	$(MAKE) test-k8s NODE=local HELM=helm3 # Helm 4 is in `ci`.

.PHONY: certs
certs: build ## Make development certificates in certificates/
	$(MANAGER) certs --dir certificates

.PHONY: cluster
cluster: build ## Build the programs of the local control plane into the cache
	$(TESTBED) build

.PHONY: clean
clean: ## Remove what cargo built; certificates/, dev/ and the cache of cluster programs stay
	$(CARGO) clean
