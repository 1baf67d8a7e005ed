#!/bin/sh
# One node, within namespaces of its own: FOLDER, NUMBER, CONTROL GROUP. The first one has the control plane and the registry too.
set -eu
folder=$1
number=$2
group=$3
cluster=$folder/cluster
subnet=$(cat "$cluster/subnet")
name=node-$number
address=$subnet.$number
own=$cluster/$name
pki=$cluster/pki
mkdir -p "$own/lib/kubelet" "$own/lib/cni" "$own/log" "$own/cni" "$own/containerd"

isolate() {
  mount --make-rshared /
  mount -t tmpfs run /run
  # The kubelet and what it calls write below these, whatever they are told.
  mount --bind "$own/lib" /var/lib
  mount --bind "$own/log" /var/log
  # It would set these for the whole machine: it reads here that they are as it wants them.
  for pair in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    fake=$own/$(basename "${pair%=*}")
    echo "${pair#*=}" >"$fake"
    mount --bind "$fake" "/proc/sys/${pair%=*}"
  done
}

network() {
  ip link set lo up
  # An address of its own: it would change with each pod that is plugged in, and others would look for it in vain.
  ip link add backout address "02:00:00:00:00:0$number" type bridge
  ip address add "$address/24" dev backout
  ip link set backout up
  : >"$cluster/$name.up"
  until [ -e "$cluster/wired" ]; do sleep 0.05; done
  [ "$number" = 1 ] || ip link set eth0 master backout up
}

# A share of the machine for its pods, in each hierarchy that there is.
groups() {
  for root in /sys/fs/cgroup /sys/fs/cgroup/*; do
    [ -e "$root/cgroup.procs" ] || continue
    mkdir -p "$root$group"
    case $root in
      */cpuset)
        for at in "$root$(dirname "$group")" "$root$group"; do
          for file in cpuset.cpus cpuset.mems; do cat "$root/$file" >"$at/$file"; done
        done
        ;;
    esac
  done
}

runtime() {
  mkdir -p "$own/certs.d/_default"
  # Whatever registry an image names, it is asked of the cluster's own.
  cat >"$own/certs.d/_default/hosts.toml" <<TOML
server = "http://$subnet.1:5000"
[host."http://$subnet.1:5000"]
  capabilities = ["pull", "resolve"]
TOML
  cat >"$own/containerd.toml" <<TOML
version = 2
root = "$own/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.9"
  disable_apparmor = true
  # Where a container's root may not lower it: without CAP_SYS_RESOURCE runc would fail.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$own/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$own/certs.d"
TOML
  # Pods are at the bridge too, each node with addresses of its own.
  cat >"$own/cni/10-backout.conflist" <<JSON
{
  "cniVersion": "0.4.0",
  "name": "backout",
  "plugins": [
    {
      "type": "bridge",
      "bridge": "backout",
      "ipam": {
        "type": "host-local",
        "ranges": [[{
          "subnet": "$subnet.0/24", "gateway": "$address",
          "rangeStart": "$subnet.$((number * 120 - 110))", "rangeEnd": "$subnet.$((number * 120))"
        }]],
        "routes": [{ "dst": "0.0.0.0/0" }]
      }
    },
    { "type": "loopback" }
  ]
}
JSON
  containerd --config "$own/containerd.toml" >"$cluster/log/containerd-$number" 2>&1 &
}

kubelet() {
  : >"$own/resolv.conf"
  cat >"$own/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $address
authentication: { anonymous: { enabled: false }, webhook: { enabled: true }, x509: { clientCAFile: $pki/ca.crt } }
authorization: { mode: Webhook }
tlsCertFile: $pki/$name.crt
tlsPrivateKeyFile: $pki/$name.key
cgroupDriver: cgroupfs
cgroupRoot: $group
failSwapOn: false
makeIPTablesUtilChains: false
resolvConf: $own/resolv.conf
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
serializeImagePulls: false
# Not the disk's and the memory's of this machine, which others use too.
evictionHard: { memory.available: 0%, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%, pid.available: 0% }
imageGCHighThresholdPercent: 100
YAML
  until [ -S /run/containerd/containerd.sock ]; do sleep 0.1; done
  "$folder/bin/kubelet" --config "$own/kubelet.yaml" --kubeconfig "$cluster/$name.kubeconfig" \
    --hostname-override "$name" --node-ip "$address" \
    --container-runtime remote --container-runtime-endpoint unix:///run/containerd/containerd.sock \
    >"$cluster/log/kubelet-$number" 2>&1 &
}

registry() {
  mkdir -p "$own/registry"
  cat >"$own/registry.yml" <<YAML
version: 0.1
log: { level: error }
storage: { filesystem: { rootdirectory: $own/registry }, delete: { enabled: true } }
http: { addr: '$address:5000' }
YAML
  docker-registry serve "$own/registry.yml" >"$cluster/log/registry" 2>&1 &
}

# Ends while there is a file `away`, and comes back when it is gone: tests take it away like that.
apiserver() {
  while :; do
    until [ ! -e "$cluster/away" ]; do sleep 0.1; done
    "$folder/bin/kube-apiserver" --etcd-servers http://127.0.0.1:2379 --bind-address "$address" --advertise-address "$address" \
      --secure-port 6443 --service-cluster-ip-range 10.96.0.0/16 --allow-privileged \
      --tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" --client-ca-file "$pki/ca.crt" \
      --service-account-issuer https://kubernetes.default.svc --service-account-key-file "$pki/accounts.key" \
      --service-account-signing-key-file "$pki/accounts.key" --authorization-mode Node,RBAC \
      --enable-admission-plugins NodeRestriction --profiling=false \
      --kubelet-client-certificate "$pki/admin.crt" --kubelet-client-key "$pki/admin.key" \
      --kubelet-certificate-authority "$pki/ca.crt" --kubelet-preferred-address-types InternalIP \
      >>"$cluster/log/apiserver" 2>&1 &
    server=$!
    (
      until [ -e "$cluster/away" ]; do sleep 0.1; done
      kill -9 $server
    ) &
    watcher=$!
    wait $server || true
    kill $watcher 2>/dev/null || true
  done
}

control() {
  # In memory: nothing of it is to outlive the cluster.
  etcd --data-dir /run/etcd --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 >"$cluster/log/etcd" 2>&1 &
  apiserver &
  again controllers "$folder/bin/kube-controller-manager" --kubeconfig "$cluster/controllers.kubeconfig" \
    --root-ca-file "$pki/ca.crt" --service-account-private-key-file "$pki/accounts.key" \
    --use-service-account-credentials --leader-elect=false &
  again scheduler "$folder/bin/kube-scheduler" --kubeconfig "$cluster/scheduler.kubeconfig" --leader-elect=false &
}

# They give up where the API server is away for long, and whoever runs them starts them anew.
again() {
  log=$cluster/log/$1
  shift
  while :; do
    "$@" >>"$log" 2>&1 || true
    sleep 0.5
  done
}

isolate
network
groups
[ "$number" != 1 ] || { registry; control; }
runtime
kubelet
wait
