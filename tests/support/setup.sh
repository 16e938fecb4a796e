# setup.sh -- sourced by the scripts that set a machine up: what a new Debian 12 needs to build and test flen.
#
#   flen_setup [PACKAGE...]   installs what is missing of the build's packages and of those named; a second run takes no time.
#
# Build: cmake, ninja and gcc; protobuf-c with onnx.proto (ONNX files), libyaml (configurations), jansson (JSON), zlib and zstd
# (compressed data), LLVM 19 (code generation), cmocka (unit tests).
flen_build_packages="cmake ninja-build gcc libc6-dev pkg-config protobuf-c-compiler libprotobuf-c-dev libonnx-dev libyaml-dev \
libjansson-dev zlib1g-dev libzstd-dev llvm-19-dev libcmocka-dev"

flen_as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        echo "setup: packages have to be installed; run as root, or install sudo" >&2
        return 1
    fi
}

flen_setup() {
    missing=
    for package in $flen_build_packages "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
    if [ -z "$missing" ]; then
        echo "setup: all packages are there" >&2
        return 0
    fi
    echo "setup: installing$missing" >&2
    flen_as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2 || return 1
    # How much: "Need to get 210 MB of archives.", "After this operation, 900 MB of additional disk space will be used."
    env LC_ALL=C apt-get install --assume-no --no-install-recommends $missing 2>/dev/null |
        sed -n 's/^\(Need to get .*\|After this operation.*\)/setup: \1/p' >&2
    flen_as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2
}
