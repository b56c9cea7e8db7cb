#!/usr/bin/env bash
# Installs Debian's Chromium, where there is none. As root.
set -euo pipefail
command -v chromium >/dev/null && exit
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
chromium --version --no-sandbox
