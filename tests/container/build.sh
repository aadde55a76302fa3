#!/usr/bin/env bash
# Builds the Dockerfile and tries what it gives, without Docker: as root on Debian, with 30 GB free in $TMPDIR or /var/tmp.
#
#   tests/container/build.sh [OPTION ...]    OPTIONs are handed to `buildah build`: --volume HERE:THERE:ro, --build-arg ...
#
# debootstrap makes the base, buildah builds in a chroot. Then JupyterLab is started as the image starts it and asked for
# /api/status at the address that it prints, the classroom's desk for its page, and the quickstart runs without a browser.
# pip is set up in the build as it is on this machine (pip_settings.py); none of that is in the image. How it went goes to
# data/results/container.json; nothing else stays.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/../.."
((EUID == 0)) || { echo "this needs root: debootstrap makes a system, buildah changes into it" >&2; exit 1; }

wanted=()
for program in buildah curl debootstrap python3; do
  command -v "$program" >/dev/null || wanted+=("$program")
done
if ((${#wanted[@]})); then
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${wanted[@]}"
fi

work=$(mktemp -d -p "${TMPDIR:-/var/tmp}" fpgmlab-container.XXXXXX)
export TMPDIR=$work
store=(buildah --root "$work/images" --runroot "$work/run" --storage-driver vfs)
server=
clean() {
  [ -z "$server" ] || kill -- "-$server" 2>/dev/null || true
  "${store[@]}" rm --all >/dev/null || true
  "${store[@]}" rmi --all --force >/dev/null || true
  # What may still be mounted in there is a folder of this machine.
  if grep -qF " $work/" /proc/mounts; then
    echo "still mounted, so not removed: $work" >&2
  else
    rm -rf "$work"
  fi
}
trap clean EXIT

step() {  # NAME COMMAND ...: run it, and note how many seconds it took
  local from=$SECONDS
  echo "--- $1"
  "${@:2}"
  printf '%s\t%d\n' "$1" $((SECONDS - from)) >>"$work/seconds.tsv"
}

base() {
  local container root
  container=$("${store[@]}" from scratch)
  root=$("${store[@]}" mount "$container")
  debootstrap --variant=minbase "$release" "$root" >"$work/debootstrap.log"
  rm -f "$root"/var/cache/apt/archives/*.deb
  "${store[@]}" umount "$container" >/dev/null
  "${store[@]}" commit --rm --quiet "$container" "localhost/base:$release" >/dev/null
}

image() {
  local folder volumes=()
  mkdir "$work/pip"
  python3 tests/container/pip_settings.py "$work/pip" >"$work/folders"
  while read -r folder; do volumes+=(--volume "$folder:$folder:ro"); done <"$work/folders"
  "${store[@]}" build --isolation chroot --build-arg "BASE=localhost/base:$release" --tag localhost/fpgmlab \
    --volume "$work/pip:/etc/xdg/pip:ro" "${volumes[@]}" "$@" .
}

run() { "${store[@]}" run --isolation chroot "$container" -- "$@"; }

serve() {  # LOG COMMAND ...: run it beside, until stop
  setsid "${store[@]}" run --isolation chroot "$container" -- "${@:2}" >"$1" 2>&1 &
  server=$!
}

stop() {
  kill -- "-$server" 2>/dev/null || true
  wait "$server" || true
  server=
}

await() {  # LOG PATTERN: print what the log has of the pattern as soon as it has
  for _ in {1..180}; do
    grep -oEm1 "$2" "$1" && return
    kill -0 "$server" 2>/dev/null || break
    sleep 1
  done
  cat "$1" >&2
  return 1
}

ask() { curl --fail --silent --show-error --noproxy '*' --max-time 300 "$@"; }

lab() {  # as the image starts it
  local command address
  mapfile -t command < <("${store[@]}" inspect --format '{{range .OCIv1.Config.Cmd}}{{println .}}{{end}}' "$container" | sed '/^$/d')
  serve "$work/lab.log" "${command[@]}"
  address=$(await "$work/lab.log" 'http://127\.0\.0\.1:[0-9]+/lab/tree/[^ ]+\?token=[0-9a-f]+')
  ask --output "$work/lab.html" "$address"
  ask --output "$work/status.json" "${address%%/lab/*}/api/status?${address#*\?}"
  stop
}

desk() {  # as the Dockerfile says
  local command address
  read -ra command < <(sed -n 's/^# .* -p 8866:8866 fpgmlab \(voila .*\)/\1/p' Dockerfile)
  serve "$work/desk.log" "${command[@]}"
  address=$(await "$work/desk.log" 'http://[^ ]+:[0-9]+/')
  ask --output "$work/desk.html" "http://127.0.0.1:$(grep -oE '[0-9]+/$' <<<"$address")"
  grep -q 'application/vnd.jupyter.widget-view' "$work/desk.html"
  stop
}

quickstart() {
  run python - <<'PYTHON'
import resource, subprocess, sys
subprocess.run([sys.executable, "notebooks/run.py", "00_quickstart"], check=True)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
open("outputs/quickstart/peak", "w").write(str(peak // 1024))
PYTHON
  run cat outputs/quickstart/report.json >"$work/report.json"
  run cat outputs/quickstart/peak >"$work/peak"
}

release=$(sed -n 's/^ARG BASE=debian:\(.*\)-slim$/\1/p' Dockerfile)
step base base
step image image "$@"
container=$("${store[@]}" from localhost/fpgmlab)
step lab lab
step desk desk
step quickstart quickstart
run python - <tests/container/contents.py >"$work/contents.json"
"${store[@]}" images --format '{{.Name}} {{.Size}}' >"$work/sizes"
{ buildah --version && debootstrap --version; } >"$work/tools"
python3 tests/container/report.py "$work"
