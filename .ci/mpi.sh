#!/usr/bin/env bash
# Installs what the tests under MPI run with: Open MPI and MPICH, side by side, an MPICH with the standard ABI of MPI 5, and
# what makes hosts of network namespaces.
# usage: .ci/mpi.sh FOLDER   of the virtual environment that has the last; the tests find it as FASP_MPI_ABI
set -euo pipefail
apt-get install -y -qq --no-install-recommends openmpi-bin mpich iproute2
[ -x "$1/bin/pip" ] || python3 -m venv "$1"
"$1/bin/pip" install -q --no-deps --disable-pip-version-check mpich==5.0.2
