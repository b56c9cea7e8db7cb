#!/usr/bin/env bash
# Installs what the suite `machine` needs: Mesa's Vulkan driver, which has a device in software (lavapipe), so WebGPU without a GPU; OpenBLAS;
# strace; shells; plugins of ONNX Runtime, OpenVINO's and WebGPU's, which the tests find with FOLDER as VIRTUAL_ENV.
# usage: .ci/machine.sh FOLDER   as root, on Debian or Ubuntu
# Dawn, the WebGPU in ONNX Runtime, asks for shaderSampledImageArrayDynamicIndexing: Mesa 22.3, Debian 12's own, lacks the feature, and the
# Mesa of its backports has it.
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
apt-get install -y -qq --no-install-recommends libopenblas0-pthread strace zsh fish

[ -x "$1/bin/pip" ] || python3 -m venv "$1"
"$1/bin/pip" install -q --no-deps --disable-pip-version-check onnxruntime-ep-openvino==1.8.1 onnxruntime-ep-webgpu==0.4.0
