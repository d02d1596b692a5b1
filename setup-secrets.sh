#!/usr/bin/env bash
# Asks for, checks and stores the secrets of an installation: knative/deploy/secrets-help.txt
set -euo pipefail
exec node "$(dirname "$0")/dev/bootstrap.mjs" secrets "$@"
