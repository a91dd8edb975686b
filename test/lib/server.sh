# Shell functions for the scripts of this project: packages, a private copy of the server,
# throwaway clusters. Sourced, not run.
#
# The server's programs are copied into a temporary folder and payguard is installed into the
# copy, so that neither root's rights nor the system's own servers are needed or touched.

# set here or in test/run: clean_up ends and removes them
WORK=
SERVER=
BESIDE= # what runs in the background
WRAPPER=

PGMAJOR=${PGMAJOR:-15}
BUILD_PACKAGES="gcc make postgresql-$PGMAJOR postgresql-server-dev-$PGMAJOR postgresql-client-$PGMAJOR"
# the console's own, and what its day of a shop needs; the browser that tests it, and what makes small pictures, of Chinese too
CONSOLE_PACKAGES=${CONSOLE_PACKAGES-python3-flask python3-flaskext.wtf python3-flask-babel python3-psycopg python3-waitress
  libjs-bootstrap5 libjs-chart.js libfaketime python3-psycopg2}
BROWSER_PACKAGES=${BROWSER_PACKAGES-chromium chromium-driver python3-selenium${PAYGUARD_PICTURES:+ fonts-wqy-microhei pngquant}}
TEST_PACKAGES="$BUILD_PACKAGES clang clang-format libfaketime libipc-run-perl perl pgbouncer procps python3 python3-psycopg2 spin ${FUZZ_PACKAGES-sqlsmith}
  ${PGTAP_PACKAGE-postgresql-$PGMAJOR-pgtap} ${PLPROXY_PACKAGE-postgresql-$PGMAJOR-plproxy} libtap-parser-sourcehandler-pgtap-perl
  ${WATCH_PACKAGES-postgresql-$PGMAJOR-cron postgresql-$PGMAJOR-wal2json prometheus prometheus-sql-exporter}
  $CONSOLE_PACKAGES $BROWSER_PACKAGES"

# the drivers and ORMs in test/clients that Debian has
CLIENT_PACKAGES=${CLIENT_PACKAGES-python3-psycopg python3-psycopg-pool python3-sqlalchemy python3-django ruby-activerecord
  ruby-minitest ruby-pg default-jdk-headless libpostgresql-jdbc-java libspring-jdbc-java libspring-context-java
  libspring-test-java junit4 libeclipselink-java libjackson2-databind-java}

say() { printf '%s\n' "$*"; }
die() { printf 'payguard: %s\n' "$*" >&2; exit 1; }

# need_packages PACKAGE...: installs what is missing, as root; otherwise says what is.
need_packages() {
  local missing="" p
  for p in "$@"; do
    [ "$(dpkg-query -W -f='${Status}' "$p" 2>/dev/null)" = "install ok installed" ] || missing="$missing $p"
  done
  [ -z "$missing" ] && return 0
  if [ "$(id -u)" != 0 ]; then
    die "these packages are missing; as root run: apt-get install -y --no-install-recommends$missing"
  fi
  say "Installing$missing"
  export DEBIAN_FRONTEND=noninteractive
  # no cluster of the system's own is wanted from the server's package
  mkdir -p /etc/postgresql-common/createcluster.d
  [ -e /etc/postgresql-common/createcluster.d/payguard.conf ] ||
    [ -d "/etc/postgresql/$PGMAJOR" ] ||
    say "create_main_cluster = false" >/etc/postgresql-common/createcluster.d/payguard.conf
  { apt-get update -q && apt-get install -y -q --no-install-recommends $missing; } >/tmp/payguard-apt.$$ 2>&1 ||
    { cat /tmp/payguard-apt.$$ >&2; rm -f /tmp/payguard-apt.$$; die "apt-get failed"; }
  rm -f /tmp/payguard-apt.$$
}

# as_user COMMAND...: runs a command as an unprivileged user: ourselves, or postgres for root.
as_user() {
  if [ "$(id -u)" = 0 ]; then
    setpriv --reuid=postgres --regid=postgres --init-groups --no-new-privs env HOME="$WORK" USER=postgres LOGNAME=postgres "$@"
  else
    "$@"
  fi
}

# make_work: a temporary folder $WORK for everything, removed at the end. We go there, since the test user may
# not be allowed to be where we are.
make_work() {
  WORK=$(mktemp -d "${TMPDIR:-/tmp}/payguard.XXXXXX")
  chmod 755 "$WORK"
  cd "$WORK" || die "cannot enter $WORK"
  PGCONFIG=${PAYGUARD_PG_CONFIG:-/usr/lib/postgresql/$PGMAJOR/bin/pg_config}
  [ -x "$PGCONFIG" ] || PGCONFIG=pg_config
  BINDIR=$("$PGCONFIG" --bindir)
  PGBIN=$WORK/root$BINDIR
  SRC=$WORK/src
}

# copy_server: a private copy of the server's programs, libraries and shared files.
copy_server() {
  local d
  for d in "$BINDIR" "$("$PGCONFIG" --pkglibdir)" "$("$PGCONFIG" --sharedir)"; do
    mkdir -p "$WORK/root$d"
    cp -a "$d/." "$WORK/root$d/"
  done
}

# copy_source FOLDER: the tree as it is, without what was built, owned by the test user.
copy_source() {
  mkdir -p "$SRC"
  tar -C "$1" --exclude=.git --exclude='*.o' --exclude='*.bc' --exclude='*.so' \
    --exclude='./payguard--*.sql' --exclude=results --exclude=output_iso -cf - . | tar -C "$SRC" -xf -
}

# own_work: root gives the temporary folder to the test user.
own_work() {
  if [ "$(id -u)" = 0 ]; then chown -R postgres:postgres "$WORK"; fi
}

# build_and_install [MAKE ARGUMENT...]: into the private copy of the server.
build_and_install() {
  as_user make -s -C "$SRC" -j2 with_llvm=no PG_CONFIG="$PGCONFIG" "$@" all >"$WORK/build.log" 2>&1 ||
    { cat "$WORK/build.log" >&2; die "the build failed"; }
  as_user make -s -C "$SRC" with_llvm=no PG_CONFIG="$PGCONFIG" DESTDIR="$WORK/root" install >>"$WORK/build.log" 2>&1 ||
    { cat "$WORK/build.log" >&2; die "the installation failed"; }
}

# start_server NAME [SETTING=VALUE...]: a cluster under $WORK/NAME that listens on a socket
# there only; sets PGHOST, PGPORT, PGUSER, PGDATABASE. WRAPPER: a script that starts the server's program.
start_server() {
  local name=$1 setting
  shift
  SERVER=$WORK/$name
  PGHOST=$SERVER.socket PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
  export PGHOST PGPORT PGUSER PGDATABASE
  as_user mkdir -p "$PGHOST"
  as_user "$PGBIN/initdb" -D "$SERVER" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$WORK/initdb.log" 2>&1 ||
    { cat "$WORK/initdb.log" >&2; die "initdb failed"; }
  {
    say "listen_addresses = ''"
    say "unix_socket_directories = '$PGHOST'"
    say "fsync = off"
    say "max_prepared_transactions = 20"
    for setting in "$@"; do say "$setting"; done
  } | as_user tee -a "$SERVER/postgresql.conf" >/dev/null
  as_user "$PGBIN/pg_ctl" -D "$SERVER" -l "$SERVER/server.log" ${WRAPPER:+-p "$WRAPPER"} -w start >/dev/null ||
    { cat "$SERVER/server.log" >&2; die "the server did not start"; }
}

# stop_server: the one that was started last.
stop_server() {
  [ -n "${SERVER:-}" ] && [ -f "$SERVER/postmaster.pid" ] &&
    as_user "$PGBIN/pg_ctl" -D "$SERVER" -m immediate -w stop >/dev/null 2>&1
  SERVER=
}

# clean_up: for the EXIT trap.
clean_up() {
  if [ -n "$BESIDE" ]; then
    kill -INT -- -"$BESIDE" 2>/dev/null
    wait "$BESIDE"
  fi
  stop_server
  if [ -n "${WORK:-}" ] && [ -z "${PAYGUARD_KEEP:-}" ]; then rm -rf "$WORK"; fi
}
