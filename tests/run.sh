#!/usr/bin/env bash
# Every check of the project, from a fresh clone: installs what is missing, then format, lints, tests,
# documentation. Exits 0 only when all of them pass.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --all --check
cargo clippy --all-targets --locked -- -D warnings
cargo test --locked
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked --document-private-items
