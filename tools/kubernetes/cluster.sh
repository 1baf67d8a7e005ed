#!/bin/sh
# A real Kubernetes on this machine: two nodes, each with a kubelet and containerd, and a registry of its own. Linux, root.
#   tools/kubernetes/cluster.sh start FOLDER   FOLDER is what build.sh built in; prints what tests want to know of the cluster
#   tools/kubernetes/cluster.sh stop FOLDER    nothing is left of it
# Each node lives in process, mount and network namespaces of its own, so that nothing is changed on the machine and all
# of it ends with one process.
set -eu
here=$(dirname "$(realpath "$0")")
command=${1:-}
folder=$(realpath "${2:?which folder build.sh built in}")
cluster=$folder/cluster
group=backout-kubernetes
link=bo-kube

start() {
  [ ! -e "$cluster" ] || { echo "$cluster is there already: stop it first" >&2; exit 1; }
  [ -x "$folder/bin/pause" ] || { echo "nothing is built in $folder: tools/kubernetes/build.sh $folder" >&2; exit 1; }
  trap 'stop; exit 1' EXIT
  subnet=198.18.$(shuf -i 0-255 -n 1)
  mkdir -p "$cluster/pki" "$cluster/log"
  echo "$subnet" >"$cluster/subnet"
  "$here/certificates.sh" "$cluster" "$subnet"
  for node in 1 2; do
    setsid unshare --pid --mount --net --fork --kill-child --mount-proc \
      "$here/node.sh" "$folder" "$node" "/$group/node-$node" >"$cluster/log/node-$node" 2>&1 </dev/null &
    echo $! >"$cluster/node-$node.pid"
  done
  # The second node is plugged into the first one's bridge, and so is this machine.
  wire 1 "$link" ''
  ip address add "$subnet.254/24" dev $link
  ip link set $link up
  wire 2 eth0 "$(inside 2)"
  touch "$cluster/wired"
  env=$cluster/env
  cat >"$env" <<ENV
export BACKOUT_TEST_KUBECONFIG=$cluster/admin.kubeconfig
export BACKOUT_TEST_REGISTRY=http://$subnet.1:5000
export BACKOUT_TEST_CLUSTER=$cluster
ENV
  . "$env"
  "$here/../../node_modules/.bin/node" --disable-warning=ExperimentalWarning "$here/images.ts" "$folder/bin/pause"
  ready
  trap - EXIT
  cat "$env"
}

# The first process within a node's namespaces.
inside() {
  tries=0
  until pid=$(ps -o pid= --ppid "$(cat "$cluster/node-$1.pid")" | tr -d ' ') && [ -n "$pid" ] && [ -e "$cluster/node-$1.up" ]; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { cat "$cluster/log/node-$1" >&2; exit 1; }
    sleep 0.1
  done
  echo "$pid"
}

# A cable from the first node's bridge to an interface of another namespace, or of this one.
wire() {
  first=$(inside 1)
  ip link add "up$1" netns "$first" type veth peer name "$2" ${3:+netns "$3"}
  nsenter -t "$first" -n ip link set "up$1" master backout up
}

ready() {
  tries=0
  until [ "$(kubectl get nodes -o 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}' 2>/dev/null)" = 'True True' ]; do
    tries=$((tries + 1))
    [ $tries -lt 240 ] || { tail -n 3 "$cluster"/log/kubelet-* >&2; echo 'the nodes do not get ready' >&2; exit 1; }
    sleep 0.5
  done
}

kubectl() {
  brought=$here/../../node_modules/.cache/kubernetes/kubectl
  [ -x "$brought" ] || brought=$(command -v kubectl)
  "$brought" --kubeconfig "$cluster/admin.kubeconfig" "$@"
}

stop() {
  trap - EXIT
  ip link delete $link 2>/dev/null || true
  for node in 2 1; do
    pid=$(cat "$cluster/node-$node.pid" 2>/dev/null || true)
    # Only the very one: after a restart of the machine its number may be another process's.
    if [ -n "$pid" ] && grep -q kubernetes/node.sh "/proc/$pid/cmdline" 2>/dev/null; then kill -9 "$pid"; fi
  done
  # The kernel lets go of the last process a moment after its end.
  tries=0
  until sweep; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { echo "something of $cluster is still in use" >&2; exit 1; }
    sleep 0.1
  done
}

sweep() {
  for root in /sys/fs/cgroup /sys/fs/cgroup/*; do
    [ -d "$root/$group" ] || continue
    find "$root/$group" -depth -type d -exec rmdir {} + 2>/dev/null || return 1
  done
  rm -rf "$cluster" 2>/dev/null
}

case $command in
  start | stop) "$command" ;;
  *) sed -n '2,4s/^# *//p' "$0" >&2; exit 2 ;;
esac
