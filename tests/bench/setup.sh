# setup.sh -- sourced by run.sh and imported.sh in the tree's top folder: builds the release preset, makes build/bench-venv.
#
#   $bin, $python          our programs; the python that has the peers, packages of the system's python included
#   $ahead                 the words that run a command ahead of other work, where that is allowed: all that are compared alike
#   install MODULE PACKAGE [NOTE]    true if the module is there, or could be installed
. tests/support/setup.sh

say() { echo "bench: $*" >&2; }
stop() { say "$*"; exit 1; }

base=${FLEN_PYTHON:-python3}
packages=
[ "$base" = python3 ] && packages="python3 python3-venv"
flen_setup $packages || exit 1
mkdir -p build/bench
{ cmake --preset release && cmake --build --preset release; } >build/bench/build.log 2>&1 || { tail -20 build/bench/build.log >&2; stop "the release preset did not build"; }
bin=$(pwd)/build/release/bin
python=build/bench-venv/bin/python
# nice warns where it may not.
ahead=
[ -n "$(nice -n -9 true 2>&1)" ] || ahead="nice -n -9"

make_environment() {
    [ -x $python ] || "$base" -m venv --system-site-packages build/bench-venv >&2 || stop "$base cannot make a virtual environment"
}
have() { $python -c "import $1" 2>/dev/null; }
install() {
    have "$1" && return
    say "installing $2${3:-}"
    timeout 1800 $python -m pip install --quiet "$2" >build/bench/pip-"$2".log 2>&1 && have "$1"
}
