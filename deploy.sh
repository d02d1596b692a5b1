#!/usr/bin/env bash
# Checks, builds, delivers, migrates, applies, and holds the result to the contract: knative/deploy/deploy-help.txt
set -euo pipefail
exec node "$(dirname "$0")/dev/bootstrap.mjs" deploy "$@"
