# What building and trying maestro takes beyond a plain Debian. For scripts that run in the root of the project.

# Finds cargo, or ends with advice.
need_cargo() {
    PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    if command -v cargo >/dev/null; then return; fi
    echo "cargo is missing: install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer (https://rustup.rs)" >&2
    exit 1
}

# Installs the Debian package $2 unless there is a program or a file $1.
need() {
    if command -v "$1" >/dev/null || [ -e "$1" ]; then return; fi
    echo "installing $2 for $1"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$2" && return
    # The lists of packages may be missing or old.
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$2"
}

# Finds or installs everything.
need_all() {
    need_cargo
    need cc build-essential
    need protoc protobuf-compiler
    # Definitions that the definitions of etcd build on; protoc looks for them next to itself.
    need "$(dirname "$(command -v protoc)")/../include/google/protobuf/descriptor.proto" libprotobuf-dev
    need etcd etcd-server
}
