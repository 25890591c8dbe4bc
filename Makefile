# Few lines a target, no logic: what a target does is in the program that it calls.
.PHONY: help setup build demo test test-unit test-boot test-long lint repro fuzz picture bench bench-boot bench-build bench-root bench-flash clean deny
NODE = --profile node
BIN = target/release
# The same packages with the same features for all tests: nothing is compiled twice.
TESTS = --workspace --exclude selector --all-features

help:  ## this list
	@grep -hE '^[a-z-]+: .*## ' Makefile | sed 's/:.*## /\t/' | expand -t 14

setup:  ## install what building and demo need (Debian packages, Rust targets)
	@scripts/setup build

build: setup  ## the workstation's commands, the loader, the agent and the selector
	@echo "build: the programs of the node, then the builder" && cargo build $(NODE) -p initloader -p agent --target x86_64-unknown-linux-musl
	@cargo build $(NODE) -p selector --bins --examples --target x86_64-unknown-uefi && cargo build --release -p builder

demo: build  ## build the image of node demo from the default site and boot it in QEMU
	@$(BIN)/psyops demo

test: build  ## all tests: units, and boots in QEMU
	@scripts/setup test && cargo nextest run $(TESTS)
	@scripts/slowest target/nextest/default/junit.xml 40 && scripts/skipped target/nextest/default/junit.xml && target/debug/budget

test-unit: build  ## only what needs no virtual machine
	@scripts/setup test && cargo nextest run $(TESTS) -E 'not package(qemu-tests)'

test-boot: build  ## only the boots in QEMU
	@scripts/setup test && cargo nextest run $(TESTS) -E 'package(qemu-tests)'

test-long: build  ## inputs just under the limits, all states of power cuts, cold boots from 30, a large base three times, each fuzz target for a minute (two hours)
	@scripts/setup test && cargo nextest run -p builder --release --profile long --run-ignored only -E 'test(/^cli::limit_tests::/)'
	@cargo nextest run $(TESTS) --profile long --run-ignored only -E 'package(qemu-tests)'
	@scripts/setup fuzz && FUZZ_SECONDS=60 scripts/fuzz

lint: build  ## formatting, clippy and the documents of the code, without warnings
	@cargo fmt --all --check && cargo clippy -q --workspace --exclude selector --all-targets --all-features -- -D warnings
	@cargo clippy -q -p selector --bins --examples --target x86_64-unknown-uefi -- -D warnings && RUSTDOCFLAGS="-D warnings" cargo doc -q --no-deps --workspace --exclude selector --document-private-items

fuzz:  ## all that PID 1 and the builder parse, against made-up inputs, FUZZ_SECONDS (600) each, two at once; some with TARGETS=...
	@scripts/setup fuzz && FUZZ_SECONDS=$${FUZZ_SECONDS:-600} scripts/fuzz $(TARGETS)

repro: build  ## images of both bases built twice in different surroundings, compared byte for byte (part of test)
	@scripts/setup test && cargo nextest run $(TESTS) -E 'package(qemu-tests) & test(/^repro::/)'

deny:  ## licences and advisories of the dependencies
	@cargo deny check licenses bans sources

picture: build  ## boot the demo and draw docs/boot.svg, the picture in the README
	@$(BIN)/psyops demo < /dev/null > docs/boot.json && $(BIN)/psyops boot-chart docs/boot.json --output docs/boot.svg

bench: build  ## sizes and times, printed and not judged
	@cargo run -q --release -p qemu-tests --bin bench

bench-boot: build  ## boot times beside other generators of initramfs, which it makes first (a quarter of an hour)
	@cargo run -q --release -p qemu-tests --bin bench-boot

bench-build: build  ## build times beside mksquashfs, tar2sqfs and genimage (some minutes)
	@scripts/setup bench && cargo run -q --release -p qemu-tests --bin bench-build

bench-root: build  ## sizes, boots from a slow stick and updates of roots, by compression; as root (half an hour)
	@scripts/setup bench && cargo run -q --release -p qemu-tests --bin bench-root

bench-flash: build  ## writing a stick beside dd, cp and bmaptool, on a loop device; as root (some minutes)
	@scripts/setup bench && cargo run -q --release -p qemu-tests --bin bench-flash

clean:  ## remove what was built
	@cargo clean
