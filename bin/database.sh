# shellcheck shell=bash
# Sourced by bin/backup and bin/restore: the database of DATABASE_URL, for PostgreSQL's own programs.

say() { printf '%s\n' "$*" >&2; }

# Past a connection pooler, if there is one.
database=${DATABASE_DIRECT_URL:-${DATABASE_URL:-}}
[ -n "$database" ] || {
  say "DATABASE_URL is not set"
  exit 2
}
# Where they are installed without being on the path.
for dir in /usr/lib/postgresql/*/bin /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin; do
  [ ! -d "$dir" ] || PATH=$PATH:$dir
done
[ -z "${ECOMDASH_PG_BIN:-}" ] || PATH=$ECOMDASH_PG_BIN:$PATH
for program in psql pg_dump pg_restore; do
  command -v "$program" >/dev/null || {
    say "please install PostgreSQL's client programs: $program is missing"
    exit 1
  }
done
# What stands in a command line is seen by everyone on the machine, so the password goes by the environment.
if [[ $database =~ ^(postgres(ql)?://[^:@/]+):([^@/]*)@(.*)$ ]]; then
  PGPASSWORD=$(printf '%b' "${BASH_REMATCH[3]//%/\\x}")
  export PGPASSWORD
  database=${BASH_REMATCH[1]}@${BASH_REMATCH[4]}
fi

ask() { psql -XAtq -v ON_ERROR_STOP=1 --dbname="$database" --command="$1"; }

# alter FORCE|NO FORCE CONDITION: of each tenant table by itself. Its lock is not waited for long, since all others would
# wait behind it.
alter() {
  local tries=0
  until psql -XAtq -v ON_ERROR_STOP=1 --dbname="$database" >/dev/null <<SQL
SET lock_timeout = '2s';
SELECT format('ALTER TABLE %I $1 ROW LEVEL SECURITY', c.relname)
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relrowsecurity AND $2
\gexec
SQL
  do
    tries=$((tries + 1))
    [ $tries -lt 10 ] || return 1
    sleep 1
  done
}
