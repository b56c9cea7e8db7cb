#!/usr/bin/env bash
# Prunes and exports models with the built command line and runs them in transformers.js, in Node and in Chromium.
# usage: test/transformers-js/run.sh   (after npm run build; as root on Debian where Chromium is missing)
# Prints a line a check; the last is `N passed, N failed`.
set -uo pipefail
cd "$(dirname "$0")/../.."

.ci/chromium.sh # where it is still missing, its checks fail
FASP_CHROMIUM=$(command -v chromium)
export FASP_CHROMIUM

report=$(mktemp)
trap 'rm -f "$report"' EXIT
rm "$report" # vitest leaves none where it does not start
status=0
npx vitest run --config test/transformers-js/vitest.config.ts --reporter=verbose --reporter=json --outputFile.json="$report" ||
  status=$?
node scripts/count-tests.mjs "$report" "$status"
((status == 0))
