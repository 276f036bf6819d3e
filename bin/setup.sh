# shellcheck shell=bash
# Sourced by the scripts beside it: goes to the root of the repository and sees that the tools are there.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"
export SQLX_OFFLINE=true # queries are checked against .sqlx, so a build needs no database

say() { printf '%s\n' "$*" >&2; }
has() { command -v "$1" >/dev/null 2>&1; }

has cargo || PATH=$PATH:${HOME:-}/.cargo/bin

# Where crates/cli/src/postgres.rs looks too: the one we need may not be on the PATH.
has_postgres() {
  local initdb dir version
  initdb=$(command -v initdb || true)
  for dir in "${ECOMDASH_PG_BIN:-}" "$(dirname "$(readlink -f "$initdb" || true)")" "$(dirname "$initdb")" \
    /usr/lib/postgresql/*/bin /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin; do
    [ -x "$dir/initdb" ] && [ -x "$dir/postgres" ] && [ -x "$dir/pg_ctl" ] || continue
    version=$("$dir/postgres" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
    [ "${version:-0}" -ge 15 ] && return
  done
  return 1
}

# Other clocks for the tests. Where they are not packaged, the tests that need them say that they looked at nothing.
has_clocks() { has faketime || ! has apt-get; }

# Prints what is still missing, as one line.
missing() {
  local list=""
  has cargo || list+="; cargo (https://rustup.rs)"
  has cc || list+="; a C compiler (apt-get install -y gcc libc6-dev; on macOS: xcode-select --install)"
  has curl || list+="; curl"
  has openssl || list+="; openssl"
  has_postgres || list+="; PostgreSQL 15 or newer (apt-get install -y postgresql; on macOS: brew install postgresql@17)"
  printf '%s' "${list#; }"
}

# shellcheck disable=SC2086 # lists of packages are meant to be split
install_missing() {
  local apt="" brew="" sudo=""
  has cc || apt+=" gcc libc6-dev"
  has curl || { apt+=" curl" && brew+=" curl"; }
  has openssl || { apt+=" openssl" && brew+=" openssl"; }
  has_postgres || { apt+=" postgresql postgresql-contrib" && brew+=" postgresql@17"; }
  has_clocks || apt+=" faketime"
  [ -n "$apt" ] || return 0
  if ! has apt-get; then
    [ -z "$brew" ] || ! has brew || brew install $brew >&2
    return
  fi
  if [ "$(id -u)" != 0 ]; then
    has sudo && sudo -n true 2>/dev/null || return 0
    sudo="sudo -n"
  fi
  # Debian would start a server of its own on port 5432.
  local conf=/etc/postgresql-common/createcluster.conf
  if [[ $apt == *postgresql* && ! -e $conf ]]; then
    $sudo mkdir -p "$(dirname $conf)"
    echo 'create_main_cluster = false' | $sudo tee $conf >/dev/null
  fi
  local get="$sudo env DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 apt-get -qq -y"
  say "installing:$apt"
  $get update </dev/null >&2 || true
  $get install $apt </dev/null >&2
  has mold || $get install mold </dev/null >&2 || true # only faster
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
  if [ -n "$(missing)" ] || ! has_clocks; then install_missing || true; fi
  list=$(missing)
  if [ -n "$list" ]; then
    say "please install: $list"
    exit 1
  fi
  use_fast_linker
}

# False if there is none and none can be built: `cargo test` has to do.
need_nextest() {
  has cargo-nextest || cargo install --locked cargo-nextest --version 0.9.143 >&2
}
