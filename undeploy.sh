#!/usr/bin/env bash
# Removes what ./deploy.sh made, and nothing else: knative/deploy/deploy-help.txt
set -euo pipefail
exec node "$(dirname "$0")/dev/bootstrap.mjs" deploy --undeploy "$@"
