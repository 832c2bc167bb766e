// Package service serves the settings over gRPC.
package service

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"replicacount.dev/bench/peer/internal/proto"
	"replicacount.dev/bench/peer/internal/settings"
)

const maxReplicas = 1000

// Deployments answers from the settings and the cache, without calls to Kubernetes.
type Deployments struct {
	proto.UnimplementedDeploymentsServiceServer
	Settings *settings.Store
	Cluster  client.Reader
	// Changed receives Deployments whose settings have changed.
	Changed chan<- event.GenericEvent
}

// ListDeployments returns the managed Deployments, sorted by namespace and name.
func (s *Deployments) ListDeployments(
	ctx context.Context, request *proto.ListDeploymentsRequest,
) (*proto.DeploymentsReplicaConfigs, error) {
	if request.GetIncludeUnmanaged() || request.GetPageSize() != 0 || request.GetPageToken() != "" {
		return nil, status.Error(codes.Unimplemented, "neither unmanaged deployments nor pages are implemented")
	}
	all := s.Settings.All()
	response := &proto.DeploymentsReplicaConfigs{
		DeploymentsReplicaConfig: make([]*proto.DeploymentsReplicaConfig, 0, len(all)),
	}
	for _, setting := range all {
		if namespace := request.GetNamespace(); namespace != "" && namespace != setting.Namespace {
			continue
		}
		if name := request.GetName(); name != "" && name != setting.Name {
			continue
		}
		observed, err := s.observe(ctx, setting.Target())
		if err != nil {
			return nil, err
		}
		response.DeploymentsReplicaConfig = append(response.DeploymentsReplicaConfig, &proto.DeploymentsReplicaConfig{
			Name:            setting.Name,
			Namespace:       setting.Namespace,
			Replicas:        &setting.Replicas,
			CurrentReplicas: observed.current,
			ReadyReplicas:   observed.ready,
			State:           observed.state(&setting),
		})
	}
	return response, nil
}

// GetDeployment returns the desired and the observed state of a Deployment.
func (s *Deployments) GetDeployment(
	ctx context.Context, request *proto.GetDeploymentRequest,
) (*proto.GetDeploymentResponse, error) {
	target, err := parseTarget(request)
	if err != nil {
		return nil, err
	}
	observed, err := s.observe(ctx, target)
	if err != nil {
		return nil, err
	}
	response := &proto.GetDeploymentResponse{
		Name:            target.Name,
		Namespace:       target.Namespace,
		CurrentReplicas: observed.current,
		ReadyReplicas:   observed.ready,
	}
	setting, managed := s.Settings.Get(target)
	switch {
	case managed:
		response.State = observed.state(&setting)
		response.DesiredReplicas = &setting.Replicas
		response.Generation = setting.Generation
		response.SetBy = setting.SetBy
		response.Reason = setting.Reason
		response.Enforcement = proto.EnforcementMode_ENFORCE
		if setting.SetAt != nil {
			response.SetAt = timestamppb.New(*setting.SetAt)
		}
	case observed.current != nil:
		response.State = proto.DeploymentState_UNMANAGED
	default:
		return nil, status.Errorf(codes.NotFound, "there is no deployment %s and no setting for it", target)
	}
	return response, nil
}

// SetDeployment stores the desired count of a Deployment durably, then answers.
func (s *Deployments) SetDeployment(
	ctx context.Context, request *proto.SetDeploymentRequest,
) (*proto.SetDeploymentResponse, error) {
	if request.GetDryRun() {
		return nil, status.Error(codes.Unimplemented, "DryRun is not implemented")
	}
	target, err := parseTarget(request)
	if err != nil {
		return nil, err
	}
	replicas := request.GetReplicas()
	if request.Replicas == nil || replicas < 0 || replicas > maxReplicas {
		return nil, status.Errorf(codes.InvalidArgument, "Replicas must be a number from 0 to %d", maxReplicas)
	}
	observed, err := s.observe(ctx, target)
	if err != nil {
		return nil, err
	}
	if observed.current == nil && !request.GetAllowMissing() {
		return nil, status.Errorf(codes.NotFound, "there is no deployment %s", target)
	}
	setting, err := s.Settings.Change(target, func(present settings.Setting) (settings.Setting, error) {
		if expected := request.ExpectedGeneration; expected != nil && *expected != present.Generation {
			return present, status.Errorf(codes.Aborted, "the setting has generation %d", present.Generation)
		}
		present.Replicas = replicas
		present.SetBy = commonName(ctx)
		present.SetAt = new(time.Now().UTC())
		present.Reason = request.GetReason()
		return present, nil
	})
	if err != nil {
		if _, isStatus := status.FromError(err); isStatus {
			return nil, err
		}
		return nil, status.Errorf(codes.Internal, "the setting could not be stored: %v", err)
	}
	changed := event.GenericEvent{Object: &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: target.Name, Namespace: target.Namespace},
	}}
	select {
	case s.Changed <- changed:
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	return &proto.SetDeploymentResponse{
		Name:        target.Name,
		Namespace:   target.Namespace,
		OldReplicas: observed.current,
		NewReplicas: &setting.Replicas,
		Generation:  setting.Generation,
	}, nil
}

// observation is the cached state of a Deployment; empty if there is none.
type observation struct {
	current, ready *int32
}

func (s *Deployments) observe(ctx context.Context, target types.NamespacedName) (observation, error) {
	var deployment appsv1.Deployment
	err := s.Cluster.Get(ctx, target, &deployment)
	switch {
	case apierrors.IsNotFound(err):
		return observation{}, nil
	case err != nil:
		return observation{}, status.Errorf(codes.Unavailable, "the cluster has not been read: %v", err)
	case !deployment.DeletionTimestamp.IsZero():
		return observation{}, nil
	}
	return observation{
		current: new(ptr.Deref(deployment.Spec.Replicas, 1)),
		ready:   new(deployment.Status.ReadyReplicas),
	}, nil
}

func (o observation) state(setting *settings.Setting) proto.DeploymentState {
	switch {
	case o.current == nil:
		return proto.DeploymentState_MISSING
	case *o.current == setting.Replicas:
		return proto.DeploymentState_IN_SYNC
	default:
		return proto.DeploymentState_DRIFTED
	}
}

func parseTarget(request interface {
	GetName() string
	GetNamespace() string
}) (types.NamespacedName, error) {
	target := types.NamespacedName{Namespace: request.GetNamespace(), Name: request.GetName()}
	problems := validation.IsDNS1123Subdomain(target.Name)
	for _, problem := range validation.IsDNS1123Label(target.Namespace) {
		problems = append(problems, fmt.Sprintf("of Namespace: %s", problem))
	}
	if len(problems) > 0 {
		return target, status.Errorf(codes.InvalidArgument, "%q is no deployment: %s", target, strings.Join(problems, "; "))
	}
	return target, nil
}

// commonName returns the identity of the client.
func commonName(ctx context.Context) string {
	client, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	tls, ok := client.AuthInfo.(credentials.TLSInfo)
	if !ok || len(tls.State.PeerCertificates) == 0 {
		return ""
	}
	return tls.State.PeerCertificates[0].Subject.CommonName
}
