# What developers and CI run. `just` alone lists the recipes.

export CARGO_TERM_COLOR := env("CARGO_TERM_COLOR", "auto")

[private]
default:
    @just --list --unsorted

# make the patched SSH library from the released crate (every other recipe does this first)
prepare:
    @patches/prepare

# a debug build
build: prepare
    cargo build --workspace

# before each commit: format, lints, fast tests
check: prepare
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo test --workspace --lib --bins --locked --quiet

# each of cargo's features builds alone
features: prepare
    tools/features

# every test: units, properties, real clients (installs what it needs)
test *ARGS:
    tests/run {{ARGS}}

# the main job of each subcommand, within a minute
smoke:
    tests/run --test e2e smoke::

# long transfers and many sessions, at sizes that take many minutes ($SALLY_SESSIONS, $SALLY_TAR_MIB), and the ignored ones of e2e
soak:
    tests/soak

# the patched library's own tests
test-russh:
    patches/test

# licenses, bans, sources
deny: prepare
    cargo deny --locked check bans licenses sources

# known vulnerabilities; says so where the database can't be fetched
advisories: prepare
    cargo deny --locked check advisories || echo "advisories: not checked, or something was found: see above"

docs: prepare
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# one static binary that runs anywhere: target/x86_64-unknown-linux-gnu/release/sally
release: prepare
    tools/release

# a fleet on this machine: devices behind a NAT, asleep, reached by name (BROKER=mosquitto: through a mosquitto)
demo: prepare
    cargo build --locked -p sally
    demo/fleet target/debug/sally

# take away what a demo that was killed has left
demo-clean:
    demo/fleet clean

# a server, a visit with stock ssh, its record verified and played
demo-once: prepare
    cargo build --locked -p sally
    demo/run target/debug/sally

# side by side with OpenSSH's sshd, dropbear and tinysshd, in one run (--write docs/benchmarks.md keeps the table)
bench *ARGS: release
    bench/run target/x86_64-unknown-linux-gnu/release/sally {{ARGS}}

# sally relay side by side with OpenSSH's sshd as the pivot of ssh -R and ssh -J (--write docs/benchmarks.md keeps the table)
bench-relay *ARGS: release
    bench/run-relay target/x86_64-unknown-linux-gnu/release/sally {{ARGS}}

# memory of a connection at the MQTT listener beside mosquitto and another broker in Rust, in one run (--write docs/benchmarks.md keeps the table)
bench-broker *ARGS: prepare
    bench/run-broker {{ARGS}}

# how thousands of devices come back when their broker was gone, beside mosquitto, in one run (--write docs/benchmarks.md keeps the table)
bench-restart *ARGS: prepare
    bench/run-restart {{ARGS}}

# visits to devices that sleep, beside a permanent ssh -R tunnel through sshd (--write docs/benchmarks.md keeps the table)
bench-fleet *ARGS: release
    bench/run-fleet target/x86_64-unknown-linux-gnu/release/sally {{ARGS}}

# man pages and completions into target/share
share: build
    tools/share target/debug/sally

# a release into target/dist: static binary, Debian package, SBOM, checksums
dist:
    tools/dist

# feed a target (authorized_keys, record, keyboard, preauth, connection, wake, rendezvous, sftp, mqtt) whatever the fuzzer finds, for SECONDS
fuzz TARGET SECONDS="60":
    fuzz/run {{TARGET}} {{SECONDS}}
