#!/usr/bin/env bash
# grpcurl 1.9.3, `-proto FILE`.
#
# A server may add the standard details of google.rpc (error_details.proto: ErrorInfo, BadRequest, …) to an error.
# With reflection, grpcurl asks the server for their types and prints JSON. With -proto, the same call prints "@value" in
# base64. A service's own files need not import error_details.proto, so whoever calls it with the .proto file that it
# publishes cannot read its errors.
#
# Expected here: the same call prints the reason as text with reflection and only in base64 with -proto. Fails if that
# changes.
#
# Needs go and python3 with venv, and access to the Go module proxy and PyPI.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill "${server:-0}" 2>/dev/null || true; chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
cd "$folder"
GOBIN=$folder GOFLAGS=-modcacherw go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3
python3 -m venv venv
venv/bin/pip --quiet install grpcio==1.76.0 grpcio-tools==1.76.0 grpcio-status==1.76.0 grpcio-reflection==1.76.0
cat >echo.proto <<'PROTO'
syntax = "proto3";
package echo;
service Echo { rpc Say(Words) returns (Words); }
message Words { string text = 1; }
PROTO
venv/bin/python -m grpc_tools.protoc -I . --python_out=. --grpc_python_out=. echo.proto
cat >server.py <<'PY'
from concurrent import futures

import echo_pb2
import echo_pb2_grpc
import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status


class Echo(echo_pb2_grpc.EchoServicer):
    def Say(self, request, context):
        detail = any_pb2.Any()
        detail.Pack(error_details_pb2.ErrorInfo(reason="TOO_LOUD", domain="echo.example"))
        status = status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message="too loud", details=[detail])
        context.abort_with_status(rpc_status.to_status(status))


server = grpc.server(futures.ThreadPoolExecutor())
echo_pb2_grpc.add_EchoServicer_to_server(Echo(), server)
reflection.enable_server_reflection((echo_pb2.DESCRIPTOR.services_by_name["Echo"].full_name, reflection.SERVICE_NAME), server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
PY
venv/bin/python server.py >port &
server=$!
until [[ -s port ]]; do sleep 0.1; done
call() { ./grpcurl -plaintext "$@" -d '{"text": "hello"}' "127.0.0.1:$(cat port)" echo.Echo/Say 2>&1 || true; }
reflected=$(call)
named=$(call -proto echo.proto)
printf -- '--- with reflection\n%s\n--- with -proto\n%s\n' "$reflected" "$named"
grep -q TOO_LOUD <<<"$reflected" || { echo 'changed: reflection no longer shows the reason'; exit 1; }
! grep -q TOO_LOUD <<<"$named" || { echo 'changed: -proto shows the reason'; exit 1; }
grep -q '@value' <<<"$named" || { echo 'changed: -proto shows no @value'; exit 1; }
echo 'as described'
