# shellcheck shell=bash
# Sourced by bin/backup and bin/restore: the database of DATABASE_URL, for PostgreSQL's own programs.

say() { printf '%s\n' "$*" >&2; }

# Past a connection pooler, if there is one.
variable=DATABASE_URL
[ -z "${DATABASE_DIRECT_URL:-}" ] || variable=DATABASE_DIRECT_URL
database=${!variable:-}
[ -n "$database" ] || {
  say "DATABASE_URL is not set"
  exit 2
}
# Where they are installed without being on the path: the newest first, since none reads a server newer than itself.
installed=""
for dir in /usr/lib/postgresql/*/bin /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin; do
  [ ! -d "$dir" ] || installed=$dir:$installed
done
PATH=$PATH:${installed%:}
[ -z "${ECOMDASH_PG_BIN:-}" ] || PATH=$ECOMDASH_PG_BIN:$PATH
for program in psql pg_dump pg_restore; do
  command -v "$program" >/dev/null || {
    say "please install PostgreSQL's client programs: $program is missing"
    exit 1
  }
done
# What stands in a command line is seen by everyone on the machine, so the password goes by the environment.
decoded() { printf '%b' "$(printf '%s' "${1//\\/\\\\}" | sed 's/%\([0-9A-Fa-f][0-9A-Fa-f]\)/\\x\1/g')"; }
if [[ $database =~ ^(postgres(ql)?://[^:@/?#]*):([^/?#]*)@(.*)$ ]]; then
  PGPASSWORD=$(decoded "${BASH_REMATCH[3]}")
  export PGPASSWORD
  database=${BASH_REMATCH[1]}@${BASH_REMATCH[4]}
fi
form='^postgres(ql)?://([^:@/?]*@)?(\[[0-9a-fA-F:]+\]|[^:@/?]*)(:[0-9]+)?(/[^?@]*)?([?][^@]*)?$'
[[ $database =~ $form && ! $database =~ [?\&](password|sslpassword|user)= ]] || {
  say "$variable is of the form postgres://USER:PASSWORD@HOST:PORT/DATABASE; other characters than letters and digits are" \
    "percent-encoded"
  exit 2
}
say "the database of $variable: ${database%%[?]*}"

ask() { psql -XAtq -v ON_ERROR_STOP=1 --dbname="$database" --command="$1"; }

# Takes the programs of the server's version, $server, where they are installed: older ones cannot read it, and it does not
# understand all that newer ones say. Whoever sets ECOMDASH_PG_BIN has chosen.
use_the_server_s_programs() {
  local dir
  server=$(ask "SELECT current_setting('server_version_num')::int / 10000")
  [ -z "${ECOMDASH_PG_BIN:-}" ] || return 0
  for dir in "/usr/lib/postgresql/$server" "/opt/homebrew/opt/postgresql@$server" "/usr/local/opt/postgresql@$server"; do
    [ ! -x "$dir/bin/pg_dump" ] || PATH=$dir/bin:$PATH
  done
}

# alter FORCE|NO FORCE CONDITION: of each tenant table by itself, none of anybody else's. Its lock is not waited for long,
# since all others would wait behind it.
alter() {
  local tries=0
  until psql -XAtq -v ON_ERROR_STOP=1 --dbname="$database" >/dev/null <<SQL
SET lock_timeout = '2s';
SELECT format('ALTER TABLE public.%I $1 ROW LEVEL SECURITY', c.relname)
FROM pg_class c
JOIN pg_policy p ON p.polrelid = c.oid AND p.polname = 'tenant'
WHERE c.relnamespace = 'public'::regnamespace AND pg_has_role(c.relowner, 'USAGE') AND $2
\gexec
SQL
  do
    tries=$((tries + 1))
    [ $tries -lt 10 ] || return 1
    sleep 1
  done
}
