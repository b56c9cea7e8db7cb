#!/usr/bin/env bash
# Installs plugins of ONNX Runtime, OpenVINO's and that for WebGPU, for the tests with them, which find them with that folder as VIRTUAL_ENV.
# usage: .ci/openvino.sh FOLDER
set -euo pipefail
[ -x "$1/bin/pip" ] || python3 -m venv "$1"
"$1/bin/pip" install -q --no-deps --disable-pip-version-check onnxruntime-ep-openvino==1.8.1 onnxruntime-ep-webgpu==0.4.0
