#!/bin/sh
# Builds the servers of a real Kubernetes out of Debian's source package, for a machine that reaches Debian and nothing else.
# Debian 12 (bookworm), root. Takes 10 to 20 minutes of two cores, 3 GB below the folder.
#   tools/kubernetes/build.sh FOLDER
set -eu
folder=$(realpath -m "${1:?which folder to build in}")
version=1.20.2
tree=$folder/gopath/src/k8s.io/kubernetes
mkdir -p "$folder/bin" "$folder/lists/partial" "$(dirname "$tree")"

packages='golang-go etcd-server containerd runc containernetworking-plugins iptables iproute2 docker-registry busybox-static openssl dpkg-dev golang-github-modern-go-reflect2-dev'
# shellcheck disable=SC2086
if ! dpkg-query -W $packages >/dev/null 2>&1; then
  # A service that Debian would start by itself is not wanted.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
  fi
  apt-get -q update
  DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $packages
fi

if [ ! -d "$tree" ]; then
  # The machine's own list of sources stays as it is.
  mkdir -p "$folder/sources"
  if [ -e /etc/apt/sources.list.d/debian.sources ]; then
    sed 's/^Types:.*/Types: deb-src/' /etc/apt/sources.list.d/debian.sources >"$folder/sources/debian.sources"
  else
    sed -n 's/^deb \(.* bookworm main\b.*\)/deb-src \1/p' /etc/apt/sources.list >"$folder/sources/debian.list"
  fi
  own="-o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=$folder/sources -o Dir::State::Lists=$folder/lists"
  cd "$folder"
  # shellcheck disable=SC2086
  apt-get -q $own update
  # shellcheck disable=SC2086
  apt-get -q $own source --download-only kubernetes
  # Debian's patches are about its own build; this one is the plain release.
  tar -xf kubernetes_*.orig.tar.gz
  mv "kubernetes-$version" "$tree"
fi

# The one that it brings reads maps by what Go 1.18 changed: the API server would die of the first custom resource.
reads=$tree/vendor/github.com/modern-go/reflect2
rm -f "$reads"/*.go "$reads"/*.s
cp /usr/share/gocode/src/github.com/modern-go/reflect2/*.go /usr/share/gocode/src/github.com/modern-go/reflect2/*.s "$reads/"

# By GOPATH, as this release was built: it brings all that it needs in vendor/.
export GOPATH="$folder/gopath" GO111MODULE=off GOFLAGS='' CGO_ENABLED=0 GOCACHE="$folder/gocache" GOTMPDIR="$folder"
cd "$tree"
# The one file that its own Makefile generates before it builds: the description of the API.
if [ ! -e pkg/generated/openapi/zz_generated.openapi.go ]; then
  go build -o "$folder/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
  described=$(grep -rl --include='*.go' '+k8s:openapi-gen=' pkg cmd plugin vendor/k8s.io/*/ |
    grep -v -e /code-generator/ -e /sample-apiserver/ -e /kube-openapi/ -e /gengo/ -e _test.go |
    xargs -n 1 dirname | LC_ALL=C sort -u | sed 's#^#k8s.io/kubernetes/#' | paste -sd ,)
  "$folder/openapi-gen" --logtostderr -i "$described" -p k8s.io/kubernetes/pkg/generated/openapi \
    -O zz_generated.openapi -h hack/boilerplate/boilerplate.generatego.txt -r "$folder/openapi.report" >"$folder/openapi.log"
fi
# As its own build does: the API server tells its version from one of these, kubelets theirs from the other.
flags='-s -w'
for at in component-base/version client-go/pkg/version; do
  for pair in "gitVersion=v$version" gitMajor=1 gitMinor=20 gitTreeState=clean; do
    flags="$flags -X k8s.io/kubernetes/vendor/k8s.io/$at.$pair"
  done
done
nice go build -trimpath -o "$folder/bin/" -ldflags "$flags" \
  ./cmd/kube-apiserver ./cmd/kube-controller-manager ./cmd/kube-scheduler ./cmd/kubelet
# What the release's own build/pause does, without C.
cat >"$folder/pause.go" <<'GO'
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGINT, syscall.SIGTERM)
	<-told
}
GO
go build -trimpath -ldflags '-s -w' -o "$folder/bin/pause" "$folder/pause.go"
"$folder/bin/kube-apiserver" --version
