# Shell functions for Debian chroots: other versions of the server, clean systems. Sourced, not run.

CHROOTS=${PAYGUARD_CHROOTS:-/var/cache/payguard}
MIRROR=${PAYGUARD_MIRROR:-http://deb.debian.org/debian}

# suite_of VERSION: the Debian that has it.
suite_of() {
  case $1 in
    15) say bookworm ;;
    17) say trixie ;;
    18) say forky ;;
    19) say sid ;;
    *) die "PostgreSQL $1 is in no Debian suite that this knows" ;;
  esac
}

# inside FOLDER COMMAND...: runs it there, with mounts that go when it ends.
inside() {
  local folder=$1
  shift
  unshare --mount --pid --fork --kill-child sh -c '
    mount -t proc proc "$0/proc" && mount -t tmpfs tmpfs "$0/dev/shm" && exec chroot "$0" "$@"
  ' "$folder" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}

# make_chroot VERSION FOLDER: a small Debian that can install this PostgreSQL.
make_chroot() {
  local version=$1 folder=$2 suite
  suite=$(suite_of "$version")
  # the script of sid knows how to make any newer suite
  debootstrap --variant=minbase "$suite" "$folder.new" "$MIRROR" /usr/share/debootstrap/scripts/sid || return 1
  # a mirror may be a snapshot, older than its index allows
  say 'Acquire::Check-Valid-Until "false";' >"$folder.new/etc/apt/apt.conf.d/payguard"
  if [ "$version" = 19 ]; then
    say "deb $MIRROR experimental main" >"$folder.new/etc/apt/sources.list.d/experimental.list"
    printf '%s\n' 'Package: src:postgresql-19' 'Pin: release a=experimental' 'Pin-Priority: 990' \
      >"$folder.new/etc/apt/preferences.d/payguard"
  fi
  mv "$folder.new" "$folder"
}

# clean_system VERSION FOLDER: a copy of a system on which nothing was ever installed.
clean_system() {
  if [ ! -d "$CHROOTS/$1.clean" ]; then
    mkdir -p "$CHROOTS" && make_chroot "$1" "$CHROOTS/$1.clean" &&
      inside "$CHROOTS/$1.clean" apt-get update -q || return 1
  fi
  rm -rf "$2" && cp -a "$CHROOTS/$1.clean" "$2"
}

# apt_alone FOLDER LINE: sets APT, with which apt-get knows this source of packages alone, and keeps what it knows
# in FOLDER.
apt_alone() {
  mkdir -p "$1/lists/partial" "$1/cache/archives/partial"
  say "$2" >"$1/sources.list"
  APT=(-q -o "Dir::Etc::sourcelist=$1/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$1/lists"
    -o "Dir::Cache=$1/cache" -o Acquire::Check-Valid-Until=false)
  # root's apt-get would work as a user who cannot write there
  if [ "$(id -u)" = 0 ]; then APT+=(-o APT::Sandbox::User=root); fi
}

# copy_tree FOLDER: the source as it is, without what was built, to FOLDER.
copy_tree() {
  rm -rf "$1"
  mkdir -p "$1"
  tar -C "$TREE" --exclude=.git --exclude='*.o' --exclude='*.bc' --exclude='*.so' --exclude='./payguard--*.sql' -cf - . |
    tar -C "$1" -xf -
}
