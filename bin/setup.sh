# shellcheck shell=bash
# Sourced by the scripts beside it: goes to the root of the repository and sees that the tools are there.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"
export SQLX_OFFLINE=true # queries are checked against .sqlx, so a build needs no database

say() { printf '%s\n' "$*" >&2; }
has() { command -v "$1" >/dev/null 2>&1; }

has cargo || PATH=$PATH:${HOME:-}/.cargo/bin
has brew || PATH=$PATH:/opt/homebrew/bin # on Apple silicon

# Asks for a password where somebody is there to give it.
as_root() {
  local ask=-n
  [ ! -t 2 ] || ask=--prompt="password of %u, to install what is missing: "
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$ask" "$@"; fi
}

# On a new machine, the system may be updating itself.
apt_get() {
  as_root env DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 \
    apt-get -qq -y -o DPkg::Lock::Timeout=120 "$@" </dev/null >&2
}

brew_install() {
  say "installing by brew: $*"
  HOMEBREW_NO_ASK=1 brew install "$@" </dev/null >&2
}

# Where crates/cli/src/postgres.rs looks too: the one we need may not be on the PATH. Sets $postgres_bin.
has_postgres() {
  local initdb dir version
  initdb=$(command -v initdb || true)
  for dir in "${ECOMDASH_PG_BIN:-}" "$(dirname "$(readlink -f "$initdb" || true)")" "$(dirname "$initdb")" \
    /usr/lib/postgresql/*/bin /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin; do
    [ -x "$dir/initdb" ] && [ -x "$dir/postgres" ] && [ -x "$dir/pg_ctl" ] || continue
    version=$("$dir/postgres" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
    if [ "${version:-0}" -ge 15 ]; then
      # shellcheck disable=SC2034 # bin/prepare uses it
      postgres_bin=$dir
      return
    fi
  done
  return 1
}

# On macOS, what is called cc without the developers' tools does nothing but offer them.
has_cc() {
  has cc && { [ "$(uname -s)" != Darwin ] || xcode-select -p >/dev/null 2>&1; }
}

# The oldest Rust that builds this.
rust_version=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
has_rust() {
  local version
  version=$(rustc --version 2>/dev/null | sed 's/^rustc \([0-9.]*\).*/\1/')
  [ "$(printf '%s\n' "$rust_version" "${version:-0}" | sort -t. -k1,1n -k2,2n -k3,3n | head -n 1)" = "$rust_version" ]
}

# What apt would install is new enough.
apt_has_postgres() {
  local version
  version=$(LC_ALL=C apt-cache policy postgresql 2>/dev/null | sed -n 's/^ *Candidate: \([0-9]*\).*/\1/p')
  [ "${version:-0}" -ge 15 ]
}

# Prints what is still missing, as one line.
missing() {
  local list=""
  if ! has cargo; then
    list+="; cargo (https://rustup.rs)"
  elif ! has_rust; then
    list+="; Rust $rust_version or newer (rustup update, or https://rustup.rs)"
  fi
  has_cc || list+="; a C compiler (apt-get install -y gcc libc6-dev; on macOS: xcode-select --install)"
  has curl || list+="; curl"
  has openssl || list+="; openssl"
  if has_postgres; then
    :
  elif has apt-cache && ! apt_has_postgres; then
    list+="; PostgreSQL 15 or newer, which this system has not: add PostgreSQL's own packages by apt-get install -y \
postgresql-common, then /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y, then apt-get install -y postgresql-17"
  else
    list+="; PostgreSQL 15 or newer (apt-get install -y postgresql; on macOS: brew install postgresql@17, by https://brew.sh, \
or any other with its programs on the PATH)"
  fi
  printf '%s' "${list#; }"
}

# shellcheck disable=SC2086 # lists of packages are meant to be split
install_missing() {
  local apt="" brew=""
  has_cc || apt+=" gcc libc6-dev"
  has curl || { apt+=" curl" && brew+=" curl"; }
  has openssl || { apt+=" openssl" && brew+=" openssl"; }
  has_postgres || brew+=" postgresql@17"
  if ! has apt-get; then
    [ -z "$brew" ] || ! has brew || brew_install $brew
    return
  fi
  [ -n "$apt$brew" ] || return 0
  say "looking for$apt$brew"
  as_root true || return 0
  apt_get update || true
  has_postgres || ! apt_has_postgres || apt+=" postgresql postgresql-contrib"
  [ -n "$apt" ] || return 0
  # Debian would start a server of its own on port 5432.
  local conf=/etc/postgresql-common/createcluster.conf
  if [[ $apt == *postgresql* && ! -e $conf ]]; then
    as_root mkdir -p "$(dirname $conf)"
    echo 'create_main_cluster = false' | as_root tee $conf >/dev/null
  fi
  say "installing:$apt"
  apt_get install $apt
  has mold || apt_get install mold || true # only faster
}

# Links with mold or lld if the compiler can, and if the user has no flags of his own.
use_fast_linker() {
  local variable linker trial
  case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) variable=CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS ;;
    Linux-aarch64) variable=CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS ;;
    *) return 0 ;;
  esac
  [ -z "${RUSTFLAGS:-}${CARGO_ENCODED_RUSTFLAGS:-}${CARGO_BUILD_RUSTFLAGS:-}${!variable:-}" ] || return 0
  trial=$(mktemp -d) # not /dev/null: a linker run by root may replace it
  for linker in mold lld; do
    has "${linker/#lld/ld.lld}" || continue
    if echo 'int main(void) { return 0; }' | cc -x c -fuse-ld="$linker" -o "$trial/a" - 2>/dev/null; then
      export "$variable=-C link-arg=-fuse-ld=$linker"
      break
    fi
  done
  rm -rf "$trial"
}

need_tools() {
  local list
  [ -z "$(missing)" ] || install_missing || true
  list=$(missing)
  if [ -n "$list" ]; then
    say "please install: $list"
    exit 1
  fi
  use_fast_linker
}

# Programs that some tests run: promtool, redis-server, another's slow attacks, other clocks. Where they cannot be had, those
# tests say so. Debian's packages of the first two start a server, now and at every boot. So promtool is unpacked from its
# package and not installed, and Redis is taken from redis-tools, which has the same program under another name and no service.
need_test_tools() {
  local tools work
  tools=${CARGO_TARGET_DIR:-target}/tools
  mkdir -p "$tools"
  tools=$(cd "$tools" && pwd -P)
  PATH=$PATH:$tools
  if ! has apt-get; then
    has redis-server || { has brew && brew_install redis; } || true
    has promtool || { has brew && brew_install prometheus; } || true
    return 0
  fi
  ! { has promtool && has redis-server && has slowhttptest && has faketime; } || return 0
  # Once: what could not be had is not asked for each time.
  [ ! -e "$tools/asked" ] || return 0
  say "fetching promtool, redis-server, slowhttptest and faketime for the tests"
  as_root true || return 0
  touch "$tools/asked"
  apt_get update || true
  has slowhttptest || apt_get install slowhttptest || true
  has faketime || apt_get install faketime || true
  if ! has redis-server; then
    apt_get install --no-install-recommends redis-tools &&
      ln -sf /usr/bin/redis-check-rdb "$tools/redis-server" || true
  fi
  if ! has promtool; then
    work=$(mktemp -d)
    chmod 755 "$work" # apt's own user writes there
    (cd "$work" && apt-get -qq download prometheus </dev/null >&2 &&
      dpkg-deb --fsys-tarfile prometheus_*.deb | tar -xO ./usr/bin/promtool >promtool &&
      chmod 755 promtool && ./promtool --version >/dev/null && mv promtool "$tools/") || true
    rm -rf "$work"
  fi
}

# False if there is none and none can be built: `cargo test` has to do.
need_nextest() {
  has cargo-nextest || cargo install --locked cargo-nextest --version 0.9.143 >&2
}

# The fuzzer of the surface, beside what is built. False if it cannot be had: its test says then that it looked at nothing.
export ECOMDASH_SCHEMATHESIS=${CARGO_TARGET_DIR:-$root/target}/schemathesis
need_schemathesis() {
  local list=$root/tests/schemathesis/requirements.txt
  ! cmp -s "$list" "$ECOMDASH_SCHEMATHESIS/installed" || return 0
  if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && ! has apt-get && has brew; then
    brew_install python3 || return
    PATH=$(brew --prefix)/bin:$PATH # the system's own comes first otherwise
  fi
  if ! python3 -c 'import ensurepip, venv' 2>/dev/null && has apt-get; then
    say "installing: python3-venv"
    apt_get update || true
    apt_get install python3-venv || return
  fi
  rm -rf "$ECOMDASH_SCHEMATHESIS"
  python3 -m venv "$ECOMDASH_SCHEMATHESIS" >&2 || return
  "$ECOMDASH_SCHEMATHESIS/bin/pip" install -q --disable-pip-version-check -r "$list" >&2 || return
  cp "$list" "$ECOMDASH_SCHEMATHESIS/installed"
}

# A browser for the tests of pages, and what drives it. False if either cannot be had: those tests say so then.
need_browser() {
  local program modules=$root/tests/browser/node_modules
  has node && has npm || return
  has chromium || has google-chrome || ! grep -qs '^ID=debian' /etc/os-release || {
    say "installing: chromium"
    apt_get update || true
    apt_get install --no-install-recommends chromium || return
  }
  for program in "$(command -v chromium)" "$(command -v google-chrome)" "$(command -v chromium-browser)" \
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" /Applications/Chromium.app/Contents/MacOS/Chromium; do
    [ -x "$program" ] && break
    program=""
  done
  [ -n "$program" ] || return
  export ECOMDASH_CHROMIUM=$program
  cmp -s "$root/tests/browser/package-lock.json" "$modules/installed" && return
  (cd "$root/tests/browser" && npm ci --no-audit --no-fund --silent >&2) || return
  cp "$root/tests/browser/package-lock.json" "$modules/installed"
}
