#!/usr/bin/env bash
# Every check of the project, from a fresh clone: installs what is missing, then format, lints, tests,
# documentation. Exits 0 only when all of them pass.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step="preparation"
trap 'status=$?; [ $status -eq 0 ] && echo "run.sh: all checks passed" || echo "run.sh: FAILED at: $step" >&2' EXIT

# Runs one check, announced.
check() {
    step="$*"
    echo "run.sh: $step"
    "$@"
}

step="finding or installing what is needed"
. tests/prerequisites.sh
need_all

check cargo fmt --all --check
check cargo clippy --all-targets --locked -- -D warnings
# The tests start the simulated daemons, which --all-targets builds only as a test of itself.
check cargo build --examples --locked
check cargo test --all-targets --locked
check cargo test --doc --locked
check env RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked --document-private-items
