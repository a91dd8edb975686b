#!/bin/bash
# Regress and isolation tests on a PostgreSQL that checks itself: built with --enable-cassert from Debian's source,
# without Debian's patches, and payguard's own assertions with it.
#
#   make torture-assert          PAYGUARD_ASSERT_SERVER (/var/cache/payguard-assert): where the server is kept
#
# The server is built once, in some minutes, and kept for the next run: remove the folder when it is not needed any
# more. Where a package is missing, or the folder cannot be written to, it needs root. The suite "discard" of test/run
# is the part that runs with debug_discard_caches = 1.
set -u -o pipefail

TREE=$(cd "$(dirname "$0")/../.." && pwd)
. "$TREE/test/lib/server.sh"
. "$TREE/test/lib/chroot.sh"

FOLDER=$(realpath -m "${PAYGUARD_ASSERT_SERVER:-/var/cache/payguard-assert}")
PREFIX=$FOLDER/$PGMAJOR

# build_server: what the regress and isolation tests need of it, into PREFIX, all or nothing.
build_server() {
  apt_alone "$WORK" "deb-src $MIRROR $(suite_of "$PGMAJOR") main"
  cd "$WORK" && mkdir source &&
    apt-get "${APT[@]}" update && apt-get "${APT[@]}" source --download-only "postgresql-$PGMAJOR" &&
    tar -xf "postgresql-$PGMAJOR"_*.orig.tar.* -C source --strip-components=1 && cd source &&
    ./configure --prefix="$PREFIX" --enable-cassert --enable-debug --with-icu --with-libxml --without-readline &&
    make -s -j2 && make -s install DESTDIR="$WORK/root" && mv "$WORK/root$PREFIX" "$PREFIX"
}

if [ ! -d "$PREFIX" ]; then
  need_packages gcc make libc6-dev pkg-config bzip2 libicu-dev libxml2-dev zlib1g-dev
  mkdir -p "$FOLDER" 2>/dev/null && [ -w "$FOLDER" ] ||
    die "cannot write to $FOLDER; run this as root, or name another folder: PAYGUARD_ASSERT_SERVER"
  trap clean_up EXIT
  WORK=$(mktemp -d "$FOLDER/new.XXXXXX")
  say "Building PostgreSQL $PGMAJOR with assertions in $PREFIX"
  (build_server) >"$WORK/log" 2>&1 || { tail -n 50 "$WORK/log" >&2; die "the server was not built"; }
  clean_up
  trap - EXIT
fi
"$PREFIX/bin/postgres" --version
PAYGUARD_PG_CONFIG=$PREFIX/bin/pg_config exec "$TREE/test/run" assert
