#!/bin/bash
# The Debian package: built in a chroot, looked at by lintian, installed from its .deb in a clean
# one, used there, in the image of examples/docker too, and tested by its autopkgtest. Then the archive for PGXN: made of the last commit
# and installed by PGXN's client.
#
#   make test-package          as root; PAYGUARD_VERSIONS="15" (17, 18)
#
# The chroots are made anew below PAYGUARD_CHROOTS each time, and removed; a clean system to copy
# from is kept there. PAYGUARD_DEBS names a folder for the packages that were built.
set -eu -o pipefail

TREE=$(cd "$(dirname "$0")/../.." && pwd)
. "$TREE/test/lib/server.sh"
. "$TREE/test/lib/chroot.sh"

PASSED=0
NEW=

# step NAME COMMAND...: one of the count; its output is shown where it fails.
step() {
  local name=$1
  shift
  if "$@" >"$NEW.log" 2>&1; then
    PASSED=$((PASSED + 1))
    say "ok - $name"
  else
    cat "$NEW.log"
    say "not ok - $name"
    say "$PASSED passed, 1 failed"
    exit 1
  fi
}

# build FOLDER VERSION: source and binary packages, in /build there.
build() {
  local version
  version=$(sed -n "s/^default_version = '\(.*\)'/\1/p" "$TREE/payguard.control")
  copy_tree "$1/build/payguard-$version"
  tar -C "$1/build" --exclude=debian -czf "$1/build/payguard_$version.orig.tar.gz" "payguard-$version"
  inside "$1" sh -e -c '
    apt-get install -y -q --no-install-recommends build-essential debhelper lintian postgresql-server-dev-all
    cd "/build/payguard-$0"
    pg_buildext updatecontrol
    dpkg-buildpackage -us -uc' "$version"
}

PAY_ONCE="SELECT FROM payguard.create_order('A-1', 100, 'EUR');
SELECT outcome FROM payguard.pay_order('A-1', 'key');
SELECT outcome FROM payguard.try_pay_order('A-1', 'other');
SELECT count(*) FROM payguard.verify();"

# use FOLDER VERSION: the package is installed from its file, and an order is paid once.
use() {
  say "CREATE EXTENSION payguard SCHEMA pg_catalog; $PAY_ONCE" >"$1/use.sql"
  inside "$1" sh -e -c '
    apt-get install -y -q --no-install-recommends ./debs/*.deb
    pg_ctlcluster "$0" main start
    setpriv --reuid=postgres --regid=postgres --init-groups psql -XAtq -v ON_ERROR_STOP=1 -f /use.sql | tee /use.out
    pg_dropcluster --stop "$0" main' "$2"
  printf '%s\n' paid order_already_paid 0 | cmp - "$1/use.out"
}

# image FOLDER DEBS VERSION: examples/docker, built on an image of a clean system, in FOLDER. What it starts, in a network
# of its own, is a server on which an order is paid once.
image() {
  local box base command
  box=(buildah --root "$1/storage" --runroot "$1/run" --storage-driver vfs)
  rm -rf "$1"
  mkdir -p "$1/context"
  cp "$TREE/examples/docker/Dockerfile" "$2/postgresql-$3-payguard"_*.deb "$1/context/"
  clean_system "$3" "$1/root"
  tar -C "$1/root" -cf "$1/root.tar" .
  base=$("${box[@]}" from scratch)
  "${box[@]}" add -q "$base" "$1/root.tar" /
  "${box[@]}" commit -q "$base" payguard-base
  "${box[@]}" bud --isolation chroot --pull-never --build-arg BASE=localhost/payguard-base --build-arg VERSION="$3" \
    -t payguard "$1/context"
  "${box[@]}" from --pull-never --name payguard localhost/payguard
  command=$("${box[@]}" inspect --format '{{index .OCIv1.Config.Cmd 2}}' payguard)
  unshare --net sh -e -c 'ip link set lo up && exec "$@"' sh "${box[@]}" run --isolation chroot payguard -- sh -e -c '
    sh -c "$0" &
    until pg_isready -q -h 127.0.0.1; do sleep 1; done
    psql -XAtq -h 127.0.0.1 -U postgres -v ON_ERROR_STOP=1 -c "$1"
    kill -INT $!
    wait $!' "$command" "$PAY_ONCE" >"$1/pay.out"
  printf '%s\n' paid order_already_paid 0 | cmp - "$1/pay.out"
}

# console FOLDER: what its unit starts, with the settings of its package, answers with the page to sign in.
console() {
  inside "$1" sh -e -c '
    unit=/lib/systemd/system/payguard-console.service
    [ -e "$unit" ] || unit=/usr$unit
    set -a
    . /etc/payguard-console.conf
    setpriv --reuid=nobody --regid=nogroup --clear-groups $(sed -n "s/^ExecStart=//p" "$unit") &
    for i in 1 2 3 4 5 6 7 8 9 10; do
      sleep 1
      if python3 -c "import urllib.request as u; print(u.urlopen(\"http://$PAYGUARD_CONSOLE_LISTEN/\").read().decode())" >/console.html 2>/dev/null; then break; fi
    done
    kill $!
    grep -q csrf_token /console.html'
}

# autopkgtest FOLDER: as Debian runs it.
autopkgtest() {
  inside "$1" sh -e -c '
    apt-get install -y -q --no-install-recommends autopkgtest build-essential
    autopkgtest --no-built-binaries ./debs/*.deb ./debs/*.dsc -- null'
}

# archive FOLDER VERSION: make dist, and what pgxn makes of it where no other payguard is installed.
archive() {
  local name version extension
  version=$(sed -n "s/^default_version = '\(.*\)'/\1/p" "$TREE/payguard.control")
  name=payguard-$version.zip extension=/usr/share/postgresql/$2/extension
  make -s -C "$TREE" dist
  mv "$TREE/$name" "$1/"
  [ ! -e "$1$extension/payguard.control" ] || return 1
  inside "$1" sh -e -c '
    apt-get install -y -q --no-install-recommends pgxnclient
    pgxn install --pg_config "/usr/lib/postgresql/$1/bin/pg_config" --nosudo "./$0"' "$name" "$2"
  [ -e "$1$extension/payguard.control" ] && [ -e "$1$extension/payguard--$version.sql" ] &&
    [ -e "$1/usr/lib/postgresql/$2/lib/payguard.so" ]
}

[ "$(id -u)" = 0 ] || die "chroots need root"
need_packages debootstrap buildah iproute2
trap '[ -n "${PAYGUARD_KEEP:-}" ] || [ -z "$NEW" ] || rm -rf "$NEW".*' EXIT
for version in ${PAYGUARD_VERSIONS:-15}; do
  say "PostgreSQL $version, Debian $(suite_of "$version")"
  NEW=$CHROOTS/package-$version
  mkdir -p "$CHROOTS"
  step "clean systems" clean_system "$version" "$NEW.build"
  step "build" build "$NEW.build" "$version"
  step "lintian" inside "$NEW.build" sh -c 'lintian --allow-root --info --fail-on error,warning /build/*.changes'
  step "a clean system" clean_system "$version" "$NEW.use"
  mkdir "$NEW.use/debs"
  find "$NEW.build/build" -maxdepth 1 -type f ! -name "*dbgsym*" -exec cp -t "$NEW.use/debs" {} +
  step "install, CREATE EXTENSION, pay" use "$NEW.use" "$version"
  step "the console" console "$NEW.use"
  step "examples/docker" image "$NEW.image" "$NEW.use/debs" "$version"
  step "autopkgtest" autopkgtest "$NEW.use"
  grep "^installcheck" "$NEW.log" | tail -n 1
  step "make dist, pgxn install" archive "$NEW.build" "$version"
  [ -z "${PAYGUARD_DEBS:-}" ] || cp "$NEW.use"/debs/* "$PAYGUARD_DEBS"
done
say "$PASSED passed, 0 failed"
