// Package controller repairs the counts of Deployments.
package controller

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"replicacount.dev/bench/peer/internal/settings"
)

const fieldOwner = client.FieldOwner("replica-count-peer")

// Deployments reconciles Deployments with their settings.
type Deployments struct {
	client.Client
	Settings *settings.Store
	// Changed delivers Deployments whose settings have changed.
	Changed <-chan event.GenericEvent
}

// +kubebuilder:rbac:groups=apps,resources=deployments,verbs=get;list;watch
// +kubebuilder:rbac:groups=apps,resources=deployments/scale,verbs=patch

// Reconcile patches the scale of a Deployment whose count differs from the desired one.
func (r *Deployments) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	setting, managed := r.Settings.Get(request.NamespacedName)
	if !managed {
		return ctrl.Result{}, nil
	}
	var deployment appsv1.Deployment
	if err := r.Get(ctx, request.NamespacedName, &deployment); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	observed := ptr.Deref(deployment.Spec.Replicas, 1)
	if !deployment.DeletionTimestamp.IsZero() || observed == setting.Replicas {
		return ctrl.Result{}, nil
	}
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, setting.Replicas))
	body := client.WithSubResourceBody(&autoscalingv1.Scale{})
	if err := r.SubResource("scale").Patch(ctx, &deployment, patch, body, fieldOwner); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	log.FromContext(ctx).Info("repaired", "from", observed, "to", setting.Replicas)
	return ctrl.Result{}, nil
}

// SetupWithManager starts it with the manager. With tuned, only events of managed Deployments are queued, and many
// workers process them.
func (r *Deployments) SetupWithManager(mgr ctrl.Manager, tuned bool) error {
	var options controller.Options
	var events []builder.ForOption
	if tuned {
		options.MaxConcurrentReconciles = 64
		events = append(events, builder.WithPredicates(predicate.NewPredicateFuncs(r.isManaged)))
	}
	return ctrl.NewControllerManagedBy(mgr).
		For(&appsv1.Deployment{}, events...).
		WatchesRawSource(source.Channel(r.Changed, &handler.EnqueueRequestForObject{})).
		WithOptions(options).
		Complete(r)
}

func (r *Deployments) isManaged(deployment client.Object) bool {
	_, managed := r.Settings.Get(client.ObjectKeyFromObject(deployment))
	return managed
}
