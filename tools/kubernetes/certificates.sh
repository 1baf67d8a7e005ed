#!/bin/sh
# Certificates and kubeconfigs of one cluster: FOLDER, SUBNET. Good for a week.
set -eu
cluster=$1
subnet=$2
cd "$cluster/pki"

openssl req -x509 -newkey rsa:2048 -nodes -days 7 -subj /CN=backout-test-ca -keyout ca.key -out ca.crt 2>/dev/null
openssl genrsa -out accounts.key 2048 2>/dev/null

# NAME SUBJECT MORE
signed() {
  openssl req -newkey rsa:2048 -nodes -subj "$2" -keyout "$1.key" -out "$1.csr" 2>/dev/null
  printf 'extendedKeyUsage=serverAuth,clientAuth\n%s\n' "${3:-}" >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 7 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
}

kubeconfig() {
  cat >"$cluster/$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters:
  - name: real
    cluster: { server: 'https://$subnet.1:6443', certificate-authority-data: $(base64 -w0 ca.crt) }
users:
  - name: $1
    user: { client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key") }
contexts:
  - name: real
    context: { cluster: real, user: $1, namespace: default }
current-context: real
YAML
  chmod 600 "$cluster/$1.kubeconfig"
}

names="IP:$subnet.1,IP:127.0.0.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
signed apiserver /CN=kube-apiserver "subjectAltName=$names"
signed admin /O=system:masters/CN=admin
signed scheduler /CN=system:kube-scheduler
signed controllers /CN=system:kube-controller-manager
for node in 1 2; do
  signed "node-$node" "/O=system:nodes/CN=system:node:node-$node" "subjectAltName=DNS:node-$node,IP:$subnet.$node"
  kubeconfig "node-$node"
done
for who in admin scheduler controllers; do kubeconfig $who; done
