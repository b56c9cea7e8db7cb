#!/usr/bin/env bash
# Installs OpenVINO's plugin for ONNX Runtime, for the tests with it, where `auto` finds it with that folder as VIRTUAL_ENV.
# usage: .ci/openvino.sh FOLDER
set -euo pipefail
[ -x "$1/bin/pip" ] || python3 -m venv "$1"
"$1/bin/pip" install -q --no-deps --disable-pip-version-check onnxruntime-ep-openvino==1.8.1
