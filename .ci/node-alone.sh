#!/usr/bin/env bash
# Runs a command where there is Node alone: in a file system of its own (chroot in a mount namespace) that has Node with npm, a shell, coreutils,
# tar, gzip, sed, git, what these link to, this checkout and the shared folder beside it. There is no Python, no compiler, no BLAS, no driver, no
# MPI, no browser and no strace in it, whatever this machine has.
# usage: .ci/node-alone.sh COMMAND…   as root, on Linux
set -euo pipefail
checkout=$(cd "$(dirname "$0")/.." && pwd -P)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT # the mounts are in the namespace and go with the command

TOOLS="bash sh env ls cat cp mv rm rmdir mkdir ln chmod touch true false sleep head tail wc sort tr cut mktemp readlink realpath dirname basename
uname id stat df du truncate dd sed grep tar gzip git kill node ldd which mkfifo setpriv ps find xargs printf seq test"
libraries() { { ldd "$@" 2>/dev/null || true; } | { grep -o "/[^ :]*\.so[^ :]*" || true; } | sort -u; }
for tool in $TOOLS; do
  path=$(type -P "$tool") || continue
  mkdir -p "$root/bin"
  cp -L "$path" "$root/bin/"
done
mkdir -p "$root"/{usr,etc,tmp,proc,dev,root} "$root/lib/node_modules" "$root$checkout"
chmod 1777 "$root/tmp"
ln -s ../bin "$root/usr/bin"
# The libraries of Node's packages are linked to the C++ library and to these of glibc.
libraries "$root"/bin/* /usr/lib/git-core/git "$checkout"/node_modules/onnxruntime-node/bin/napi-v6/linux/*/* "$checkout"/node_modules/@koromix/koffi-linux-*/* |
  while read -r file; do
    case $file in "$checkout"/*) continue ;; esac
    mkdir -p "$root$(dirname "$file")"
    cp -L "$file" "$root$file"
  done
npm=$(npm root -g)/npm
for name in npm npx; do ln -s "/lib/node_modules/npm/bin/$name-cli.js" "$root/bin/$name"; done
for file in passwd group hosts nsswitch.conf; do [ -f "/etc/$file" ] && cp "/etc/$file" "$root/etc/"; done
cp -r /usr/lib/git-core "$root/lib/git-core"
shared=$(cd "$checkout/../shared" 2>/dev/null && pwd -P || true)

export ROOT=$root CHECKOUT=$checkout SHARED=$shared NPM=$npm
unshare --mount bash -euo pipefail -c '
  mkdir -p "$ROOT/lib/node_modules/npm"
  mount --bind "$NPM" "$ROOT/lib/node_modules/npm"
  mount --bind "$CHECKOUT" "$ROOT$CHECKOUT"
  if [ -n "$SHARED" ]; then
    mkdir -p "$ROOT$(dirname "$CHECKOUT")/shared"
    mount --bind "$SHARED" "$ROOT$(dirname "$CHECKOUT")/shared"
  fi
  mount --rbind /dev "$ROOT/dev"
  mount -t proc proc "$ROOT/proc"
  cd /
  exec chroot "$ROOT" /bin/env -i PATH=/bin HOME=/root CI=true GIT_EXEC_PATH=/lib/git-core TERM=dumb \
    bash -c "cd \"\$0\" && exec \"\$@\"" "$CHECKOUT" "$@"' run "$@"
