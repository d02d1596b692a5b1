#!/usr/bin/env bash
# Builds the images of agent-functions with docker, podman or buildah. See --help.
set -euo pipefail
cd "$(dirname "$0")/../.."

usage() {
  cat <<'TEXT'
knative/images/build.sh [options]

  --only NAME      services, tools, egress or router; may be given more than once (default: services and tools)
  --tag TAG        tag of the images (default: git's short commit, with "-dirty" after it if there are changes)
  --base IMAGE     Debian 12 to build on (default: docker.io/library/debian:12-slim)
  --tool NAME      docker, podman or buildah (default: the first that works)
  --push REGISTRY  name the images REGISTRY/… and push them; digests are written to OUT/NAME.digest
  --archive DIR    write DIR/NAME.tar (docker's format), for clusters without a registry
  --out DIR        folder of SBOMs and digests (default: DIR of --archive, else .local/images)

Images: agent-functions, agent-tools, agent-egress and agent-router, named dev.local/… unless pushed, of this machine's architecture.
Beside each an SBOM in CycloneDX's format, NAME.cdx.json: Debian's packages in the image, and npm's in the bundles.
TEXT
}
fail() { echo "build.sh: $1" >&2; exit "${2:-1}"; }

only=() tag='' registry=dev.local base=docker.io/library/debian:12-slim tool='' push='' archive='' out=''
while [ $# -gt 0 ]; do
  case $1 in
    --only) only+=("${2:?}"); shift 2 ;;
    --tag) tag=${2:?}; shift 2 ;;
    --base) base=${2:?}; shift 2 ;;
    --tool) tool=${2:?}; shift 2 ;;
    --push) push=1 registry=${2:?}; shift 2 ;;
    --archive) archive=${2:?}; shift 2 ;;
    --out) out=${2:?}; shift 2 ;;
    -h | --help) usage; exit ;;
    *) usage >&2; fail "unknown: $1" 2 ;;
  esac
done
[ ${#only[@]} -gt 0 ] || only=(services tools)
[ -n "$tag" ] || tag=$(git rev-parse --short HEAD)$(git diff --quiet HEAD -- || echo -dirty)
out=${out:-${archive:-.local/images}}
mkdir -p "$out" ${archive:+"$archive"}

if [ -z "$tool" ]; then
  # a client of docker without its daemon is of no use
  for candidate in docker podman buildah; do
    if command -v $candidate >/dev/null && $candidate info >/dev/null 2>&1; then tool=$candidate; break; fi
  done
  [ -n "$tool" ] || fail 'none of docker, podman and buildah works here'
fi

case $(uname -m) in
  x86_64) cpu=x64 ;;
  aarch64 | arm64) cpu=arm64 ;;
  *) fail "no Node for $(uname -m) in the lockfile" ;;
esac
# Node's program and the bundles; elsewhere than on Linux npm has not installed the former, so it is fetched by the same lockfile.
node=node_modules/node-linux-$cpu/bin/node
if [ ! -x $node ]; then
  fetched=.local/images/node
  rm -rf $fetched && mkdir -p $fetched && cp package.json package-lock.json $fetched/
  npm ci --prefix $fetched --ignore-scripts --omit=dev --os=linux --cpu=$cpu --no-audit --no-fund >/dev/null
  node=$fetched/$node
fi
npm run --silent build >&2

build() { # build IMAGE FOLDER
  local args=(--build-arg "BASE=$base" --build-arg "NODE=$node" -t "$1" -f "knative/images/$2/Dockerfile")
  case $tool in
    buildah) buildah bud --isolation chroot --layers "${args[@]}" . >&2 ;;
    *) $tool build "${args[@]}" . >&2 ;;
  esac
}
packages() { # packages IMAGE: Debian's packages in it
  local list=(dpkg-query -W -f '${binary:Package}\t${Version}\t${Architecture}\n')
  case $tool in
    buildah)
      local container; container=$(buildah from --pull-never "$1")
      buildah run --isolation chroot "$container" -- "${list[@]}"
      buildah rm "$container" >/dev/null ;;
    *) $tool run --rm --entrypoint dpkg-query "$1" "${list[@]:1}" ;;
  esac
}
save() { # save IMAGE FILE
  rm -f "$2"
  case $tool in
    buildah) buildah push -q "$1" "docker-archive:$2:$1" >&2 ;;
    *) $tool save -o "$2" "$1" ;;
  esac
}
send() { # send IMAGE FILE: pushes and keeps the digest
  case $tool in
    docker)
      docker push -q "$1" >&2
      docker image inspect --format '{{index .RepoDigests 0}}' "$1" | sed 's/.*@//' >"$2" ;;
    *) $tool push -q --digestfile "$2" "$1" >&2 ;;
  esac
}

for name in "${only[@]}"; do
  case $name in
    services) image=$registry/agent-functions:$tag ;;
    tools) image=$registry/agent-tools:$tag ;;
    egress) image=$registry/agent-egress:$tag ;;
    router) image=$registry/agent-router:$tag ;;
    *) fail "no image $name: services, tools, egress or router" 2 ;;
  esac
  build "$image" "$name"
  case $name in
    services | tools) bundled=$(npm sbom --sbom-format cyclonedx --omit dev) ;;
    *) bundled= ;;
  esac
  packages "$image" | BUNDLED=$bundled node knative/images/sbom.mjs "$image" >"$out/$name.cdx.json"
  [ -z "$archive" ] || save "$image" "$archive/$name.tar"
  [ -z "$push" ] || send "$image" "$out/$name.digest"
  echo "$image"
done
