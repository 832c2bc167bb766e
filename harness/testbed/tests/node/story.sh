#!/bin/sh
# Runs on a node, in its namespaces: story.sh WORKLOAD. Prints its observations and exits with status 7.
set -eu

echo "kubeconfig: ${KUBECONFIG:?}"
kubectl apply --filename "$1" >/dev/null
kubectl rollout status deployment/web --timeout 60s >/dev/null
kubectl wait --for jsonpath='{.status.phase}'=Succeeded pod/client --timeout 60s >/dev/null
kubectl logs client
echo "address: $(busybox wget -q -O- "http://$(kubectl get service web -o jsonpath='{.spec.clusterIP}')")"
echo "name: $(busybox wget -q -O- http://web.default.svc.cluster.local)"
echo "exec: $(kubectl exec deployment/web -- cat /tmp/index.html)"
echo "claim: $(kubectl get persistentvolumeclaim data -o jsonpath='{.status.phase} {.spec.storageClassName}')"
kubectl delete pod/client persistentvolumeclaim/data >/dev/null
kubectl wait --for delete persistentvolume --all --timeout 60s >/dev/null
echo 'volume: gone'
exit 7
