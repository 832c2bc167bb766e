package service

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"replicacount.dev/bench/peer/internal/proto"
)

// Files are the server's certificate, its key, and the authority that it trusts.
type Files struct {
	Certificate, Key, Authority string
}

// Credentials require a certificate from each client.
func (f Files) Credentials() (credentials.TransportCredentials, error) {
	certificate, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		return nil, err
	}
	authority, err := os.ReadFile(f.Authority)
	if err != nil {
		return nil, err
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("%s: no certificate", f.Authority)
	}
	return credentials.NewTLS(&tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{certificate},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    clients,
	}), nil
}

// Server is a part of the manager that serves gRPC.
type Server struct {
	Listener    net.Listener
	Credentials credentials.TransportCredentials
	Deployments *Deployments
}

// Start serves until the context ends.
func (s *Server) Start(ctx context.Context) error {
	server := grpc.NewServer(grpc.Creds(s.Credentials))
	proto.RegisterDeploymentsServiceServer(server, s.Deployments)
	healthpb.RegisterHealthServer(server, health.NewServer())
	reflection.Register(server)
	stop := context.AfterFunc(ctx, server.GracefulStop)
	defer stop()
	if err := server.Serve(s.Listener); !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

// NeedLeaderElection returns false, because every replica serves.
func (s *Server) NeedLeaderElection() bool {
	return false
}
