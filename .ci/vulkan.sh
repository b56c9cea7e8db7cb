#!/usr/bin/env bash
# Installs Mesa's Vulkan driver, which has a device in software (lavapipe): WebGPU without a GPU. For Debian and Ubuntu, as root.
# Dawn, the WebGPU in ONNX Runtime, asks for shaderSampledImageArrayDynamicIndexing: Mesa 22.3, Debian 12's own, lacks it, and the Mesa
# of its backports has it.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

apt-get update -qq
suite=()
if grep -q '^VERSION_CODENAME=bookworm' /etc/os-release; then
  # The mirror that this machine takes bookworm from.
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' 'Created-By: Packages' | head -n 1)
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm-backports main" \
    >/etc/apt/sources.list.d/bookworm-backports.list
  apt-get update -qq
  suite=(-t bookworm-backports)
fi
apt-get install -y -qq --no-install-recommends "${suite[@]}" mesa-vulkan-drivers libvulkan1
