#!/bin/sh
# PostgreSQL, MariaDB, Docker and HAProxy of another release of Debian, for the tests that take them by an environment variable:
#   sh tools/other-servers.sh trixie /srv/trixie
# They are unpacked, not installed, and run by their own libraries. Needs root, mmdebstrap and patchelf. The folder must be
# one that the user postgres may enter.
set -e
release=$1
dir=$2
[ -n "$dir" ] || { echo "sh $0 RELEASE FOLDER" >&2; exit 2; }

here=$(. /etc/os-release && echo "$VERSION_CODENAME")
format='$(RELEASE) $(COMPONENT) $(REPO_URI) $(SIGNED_BY)'
set -- $(apt-get indextargets --format "$format" 'Created-By: Packages' |
  awk -v here="$here" '$1 == here && $2 == "main" { print $2, $3, $4; exit }')
[ -n "$2" ] || { echo 'apt knows no source of Debian' >&2; exit 1; }
case $3 in /*) key="[signed-by=$3]" ;; *) key= ;; esac
# Before, docker.io brings its client, and docker-compose is written in Python.
case $release in buster | bullseye | bookworm) docker= ;; *) docker=,docker-cli,docker-compose ;; esac
mmdebstrap --quiet --variant=extract --aptopt='Acquire::Check-Valid-Until "false"' \
  --include=postgresql,mariadb-server,haproxy,docker.io$docker "$release" "$dir" "deb $key $2 $release main"
chmod 755 "$dir"
dir=$(cd "$dir" && pwd)

# MariaDB as its own archives have it: all programs in one folder, what they read beside it.
mkdir -p "$dir/mariadb/bin" "$dir/mariadb/share"
ln -s bin "$dir/mariadb/sbin"
for program in mariadb mariadb-dump mariadb-admin mariadb-install-db mariadbd my_print_defaults resolveip; do
  for from in "$dir/usr/bin/$program" "$dir/usr/sbin/$program"; do
    if [ -f "$from" ]; then cp "$from" "$dir/mariadb/bin/"; fi
  done
done
ln -s mariadbd "$dir/mariadb/bin/mysqld"
for share in "$dir"/usr/share/mariadb "$dir"/usr/share/mysql; do
  if [ -f "$share/fill_help_tables.sql" ]; then
    for name in mariadb mysql; do cp -r "$share" "$dir/mariadb/share/$name"; done
  fi
done

# Docker, which finds all of it by PATH. What becomes an init within containers finds no libraries there.
mkdir -p "$dir/docker/bin"
for program in sbin/dockerd sbin/runc sbin/docker-proxy bin/docker bin/containerd bin/containerd-shim-runc-v2 \
  libexec/docker/cli-plugins/docker-compose; do
  if [ -f "$dir/usr/$program" ]; then cp "$dir/usr/$program" "$dir/docker/bin/"; fi
done
cp "$dir/usr/bin/tini-static" "$dir/docker/bin/docker-init"

mkdir -p "$dir/haproxy/bin"
cp "$dir/usr/sbin/haproxy" "$dir/haproxy/bin/"

loader=$(find "$dir" \( -name 'ld-linux-*.so.*' -o -name 'ld-2.*.so' \) -type f | head -n 1)
libraries=$(dirname "$loader"):$dir/usr/lib/$(basename "$(dirname "$loader")")
for program in "$dir"/usr/lib/postgresql/*/bin/* "$dir"/mariadb/bin/* "$dir"/docker/bin/* "$dir"/haproxy/bin/*; do
  if [ ! -L "$program" ] && patchelf --print-interpreter "$program" >/dev/null 2>&1; then
    patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$libraries" "$program"
  fi
done
echo "BACKOUT_TEST_POSTGRES=$(echo "$dir"/usr/lib/postgresql/*/bin)"
echo "BACKOUT_TEST_MARIADB=$dir/mariadb/bin"
echo "BACKOUT_TEST_DOCKER=$dir/docker/bin"
echo "PATH=$dir/haproxy/bin:\$PATH"
