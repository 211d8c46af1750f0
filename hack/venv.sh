#!/bin/sh
# Makes the project's own virtual environment, or brings it up to date: hack/venv.sh local|dev
# Everything goes into .venv; nothing is installed anywhere else. Done in a second when nothing changed.
set -eu
cd "$(dirname "$0")/.."
set_name=$1
venv=.venv

fail() {
  printf '%s\n' "$@" >&2
  exit 1
}

# What an environment was made from; .venv cannot be moved, so the folder is part of it.
fingerprint() {
  echo "$(cat pyproject.toml requirements/build.txt "requirements/$1.txt" | cksum) $PWD"
}
is_installed() {
  [ -x "$venv/bin/python" ] && [ "$(cat "$venv/.installed-$1" 2>/dev/null)" = "$(fingerprint "$1")" ]
}
if is_installed "$set_name" || is_installed dev; then # dev has all that local has
  exit 0
fi

# Tells the interpreter itself, whatever the PATH has in front of it: in an activated .venv, python3 is the one that
# is deleted below when the environment is made anew.
find_python() {
  for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    "$candidate" -c 'import os, sys
if sys.version_info < (3, 11): sys.exit(1)
print(os.path.realpath(sys._base_executable))' 2>/dev/null && return
  done
  return 1
}
python=$(find_python) || fail "Python 3.11 or newer is needed (PYTHON=/path/to/python3 names one)."

if ! [ -x "$venv/bin/python" ] || [ "$(cat "$venv/.made-by" 2>/dev/null)" != "$python $PWD" ]; then
  echo "Making $venv with $("$python" --version) ..."
  rm -rf "$venv"
  if "$python" -c 'import ensurepip' 2>/dev/null; then
    "$python" -m venv "$venv"
  elif "$python" -m pip --version >/dev/null 2>&1; then
    # Debian and Ubuntu keep ensurepip in python3-venv; with python3-pip alone this works as well.
    "$python" -m venv --without-pip "$venv"
    "$python" -m pip --python "$venv/bin/python" install --quiet pip
  else
    fail "This Python cannot make virtual environments by itself. On Debian and Ubuntu:" \
      "  sudo apt-get install python3-venv"
  fi
  printf '%s' "$python $PWD" >"$venv/.made-by"
fi

echo "Installing requirements/$set_name.txt into $venv (half a minute the first time) ..."
log=$venv/install-$set_name.log
# Shows a line for each package while they arrive; the whole output is kept for when it fails.
if ! { "$venv/bin/python" -m pip install --disable-pip-version-check --require-hashes \
  -r requirements/build.txt -r "requirements/$set_name.txt" 2>&1 || echo "install-failed"; } |
  tee "$log" | awk -v terminal="$([ -t 2 ] && echo yes)" '
    function show(text) { if (terminal) { printf "\r\033[K%s", text; fflush() } }
    /^install-failed$/ { failed = 1 }
    /^Collecting / { show(sprintf("  %3d  %s", ++count, $2)) }
    /^Installing collected/ { show(sprintf("  %3d packages, unpacking ...", count)) }
    END { show(""); exit failed }'; then
  tail -n 15 "$log" >&2
  fail "" "The installation failed; all of its output is in $log."
fi
"$venv/bin/python" -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e . ||
  fail "The project itself could not be installed into $venv."
fingerprint "$set_name" >"$venv/.installed-$set_name"
echo "Done."
