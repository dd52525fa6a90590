# SPDX-License-Identifier: Apache-2.0 OR MIT
# `make help` prints the lines with two hashes.

CONFIG ?= configs/zynq7020.toml
CARGO  ?= cargo
BRICKWORK = $(CARGO) run --quiet --

# Runs one command; if it fails, prints how to repeat it.
run = @$(1) || { status=$$?; printf '\nfailed; repeat with:\n  %s\n' '$(subst ','\'',$(1))' >&2; exit $$status; }

PYTHON ?= python3

.PHONY: help demo gen synth timing pnr formal bench-golden mutate vivado-check test test-long lint fmt clippy rtl-lint bless compare setup setup-test clean

help: ## Print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup ## Generate zynq7020, compile a network, run real digits on the RTL, print the table
	@test -d "$${CARGO_TARGET_DIR:-target}" || echo 'first run: Rust compiles Brickwork, then Verilator the machine; together a few minutes'
	$(call run,$(CARGO) build --quiet)
	@printf '\n1. The accelerator of configs/zynq7020.toml as Verilog\n\n'
	$(call run,$(BRICKWORK) gen configs/zynq7020.toml)
	@printf '\n2. 40 handwritten digits through a network, on that Verilog under Verilator, against the reference and the prediction\n\n'
	$(call run,$(BRICKWORK) verify models/TFC_1W2A.onnx --config configs/zynq7020.toml --inputs models/TFC_1W2A.vectors.npz --backend rtl)
	@printf '%s\n' '' 'What next:' \
	  '  build/zynq7020/rtl/files.f                the Verilog to read, simulate or synthesize' \
	  '  make gen CONFIG=configs/tiny.toml         another accelerator; copy the file and change it' \
	  '  cargo run -- run --help                   your own network (.onnx) and inputs (.npz, .png)' \
	  '  docs/architecture.md                      how the machine works'

gen: ## Generate the Verilog of CONFIG (default configs/zynq7020.toml) into build/
	$(call run,$(BRICKWORK) gen $(CONFIG))

synth: gen ## Synthesize CONFIG with Yosys: LUT, FF, block RAM, DSP of every module, and the table of the README
	$(call run,$(PYTHON) tools/synth.py build/$(basename $(notdir $(CONFIG))) --readme README.md)

timing: gen ## Longest paths of CONFIG in cell delay, module by module, with Yosys
	$(call run,$(PYTHON) tools/timing.py build/$(basename $(notdir $(CONFIG))) --readme README.md)

pnr: CONFIG = configs/ecp5_85f.toml
pnr: gen ## Place and route CONFIG (default configs/ecp5_85f.toml) on a Lattice ECP5 with nextpnr: Fmax (PNR='--seed 2')
	$(call run,$(PYTHON) tools/pnr.py build/$(basename $(notdir $(CONFIG))) $(PNR) --readme README.md)

formal: setup-test ## Prove the AXI ports, FIFOs, token counters and arithmetic leaves with Yosys' SAT solver
	$(call run,$(CARGO) test -p hdl-gen --test formal --test leaf)

bench-golden: ## Golden model against TFLite and ONNX Runtime (BENCH='--models DIR' for more networks); writes docs/speed.md, README.md
	$(call run,$(PYTHON) tools/bench_golden.py $(BENCH) --write docs/speed.md --readme README.md)

mutate: setup-test ## Put some 200 faults into the Verilog, one at a time, and run the tests against each (an hour; goes on where it was); docs/mutation.md
	$(call run,$(PYTHON) tools/mutate.py --write docs/mutation.md)

vivado-check: setup-test ## Run the Vivado scripts of every configuration against a mock of Vivado, and break them in every way
	$(call run,$(CARGO) test --test vivado -- --nocapture)

test: setup-test lint ## All that CI runs: lint and every test but the long ones
	$(call run,$(CARGO) test --workspace)

test-long: setup-test ## The long tests: random networks and programs by the thousand, whole pictures on RTL (BRICKWORK_MODELS=DIR: networks not shipped)
	$(call run,$(CARGO) test --workspace --release --no-fail-fast -- --ignored --nocapture)

lint: fmt clippy rtl-lint ## Format, Clippy, Verilator -Wall and Yosys over all configurations

fmt:
	$(call run,$(CARGO) fmt --all -- --check)

clippy:
	$(call run,$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings)

rtl-lint: setup-test
	$(call run,$(CARGO) test --test lint)

bless: ## Rewrite the committed texts (messages, docs/isa.md, schema); read the change afterwards
	$(call run,BLESS=1 $(CARGO) test --test config --test docs)

compare: ## Write docs/comparison.md and docs/bitfusion.md: our cycles and rates beside published figures
	$(call run,BLESS=1 $(CARGO) test --test comparison)
	$(call run,BLESS=1 $(CARGO) test --release --test bitfusion -- --ignored)

setup: ## Install what co-simulation needs and is missing (Debian-like machines)
	$(call run,tools/setup.sh)

setup-test:
	$(call run,tools/setup.sh test)

clean: ## Remove everything that was built or generated
	$(call run,$(CARGO) clean)
	$(call run,rm -rf build)
