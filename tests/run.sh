#!/usr/bin/env bash
# Every check of the project, from a fresh clone: installs what is missing, then format, lints, tests (the examples
# are built with them), documentation. Exits 0 only when all of them pass.
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

# Installs the Debian package $2 unless there is a program or a file $1.
need() {
    if command -v "$1" >/dev/null || [ -e "$1" ]; then return; fi
    step="installing $2 for $1"
    echo "run.sh: $step"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$2" && return
    # The lists of packages may be missing or old.
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$2"
}

PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
if ! command -v cargo >/dev/null; then
    step="looking for cargo: install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer (https://rustup.rs)"
    exit 1
fi
need cc build-essential
need protoc protobuf-compiler
# Definitions that the definitions of etcd build on; protoc looks for them next to itself.
need "$(dirname "$(command -v protoc)")/../include/google/protobuf/descriptor.proto" libprotobuf-dev
need etcd etcd-server

check cargo fmt --all --check
check cargo clippy --all-targets --locked -- -D warnings
check cargo test --all-targets --locked
check cargo test --doc --locked
check env RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked --document-private-items
