# SPDX-License-Identifier: GPL-2.0-only
# What the shell scripts share. Sourced by bash, with set -euo pipefail.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/anykvm
me=${0##*/}

say() {
	echo "==> $*" >&2
}

die() {
	echo "$me: $*" >&2
	exit 1
}

# Runs a command as root, by way of sudo where we are not.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "this needs root for '$1': run it as root, or install sudo"
	fi
}

# Makes sure that Debian packages are installed; says so where that takes installing some.
need_packages() {
	local package status missing=()

	command -v apt-get >/dev/null || die "there is no apt-get here: this needs Debian 12"
	for package; do
		status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
		[ "$status" = installed ] || missing+=("$package")
	done
	[ ${#missing[@]} = 0 ] && return
	say "installing ${missing[*]}"
	# The package lists may be missing, or older than the packages on the mirror.
	apt_install "${missing[@]}" >/dev/null 2>&1 && return
	as_root apt-get -q update >&2 || true
	apt_install "${missing[@]}" >&2 || die "apt-get cannot install ${missing[*]}: see above"
}

apt_install() {
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends \
		install "$@" </dev/null
}

# Runs the rest of the script with an exclusive lock on a file, which goes with the process. Says
# what it waits for where somebody else has it.
lock() {
	local file=$1 what=$2

	mkdir -p "$(dirname "$file")"
	exec {lock_fd}>"$file"
	if ! flock -n "$lock_fd"; then
		say "waiting for another $me to finish $what"
		flock "$lock_fd"
	fi
}

unlock() {
	exec {lock_fd}>&-
}

# Prints the apt sources of this machine that carry Debian 12, as apt knows them, a line each.
debian_sources() {
	local sources

	sources=$(apt-get indextargets --format \
		'deb $(REPO_URI) $(RELEASE) $(COMPONENT)|$(ORIGIN)|$(CODENAME)' 'Created-By: Packages' |
		awk -F '|' '$2 == "Debian" && $3 ~ /^bookworm/ { print $1 }' | sort -u)
	[ -n "$sources" ] || die "apt has no sources of Debian 12 (bookworm): add them to" \
		"/etc/apt/sources.list and run apt-get update"
	echo "$sources"
}
