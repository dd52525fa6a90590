#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Installs what is missing on a Debian-like machine that has Rust.
#
#   tools/setup.sh          what co-simulation needs: verilator, a C++ compiler, make, zlib (for FST traces)
#   tools/setup.sh test     that, and what the tests need besides: yosys, iverilog, tclsh, Python with NumPy, chromium
#
# Does nothing where everything is there. Uses sudo where it does not run as root.
set -eu

fail() {
    echo "setup: $*" >&2
    exit 1
}

command -v cargo >/dev/null || fail "cargo is missing; install Rust first (https://rustup.rs)"

packages=""
need() { # need COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 || packages="$packages $2"
}

need verilator verilator
need g++ g++
need make make
[ -e /usr/include/zlib.h ] || packages="$packages zlib1g-dev"
case "${1:-}" in
"") ;;
test)
    need yosys yosys
    need iverilog iverilog
    # to look at the report page
    command -v chromium >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 ||
        need chromium-browser chromium
    need tclsh tcl
    need python3 python3
    python3 -c 'import numpy' >/dev/null 2>&1 || packages="$packages python3-numpy"
    ;;
*) fail "unknown argument $1; use none, or test" ;;
esac

if [ -n "$packages" ]; then
    echo "setup: installing$packages"
    command -v apt-get >/dev/null 2>&1 || fail "no apt-get here; install by hand:$packages"
    sudo=""
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null 2>&1 || fail "neither root nor sudo; install by hand:$packages"
        sudo=sudo
    fi
    # sudo keeps no variables of ours.
    apt="$sudo env DEBIAN_FRONTEND=noninteractive apt-get"
    # shellcheck disable=SC2086 # one word per package
    { $apt update -qq && $apt install -y -qq --no-install-recommends $packages; } >/dev/null ||
        fail "apt-get failed; install by hand:$packages"
fi

version=$(verilator --version | awk '{ print $2 }')
oldest=$(printf '5.006\n%s\n' "$version" | sort -V | head -n 1)
[ "$oldest" = 5.006 ] || fail "verilator $version is older than 5.006"
