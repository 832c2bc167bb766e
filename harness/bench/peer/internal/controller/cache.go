package controller

import (
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// SlimCache keeps only the needed fields of each Deployment, and returns them without a copy: nobody changes them.
func SlimCache() cache.Options {
	return cache.Options{ByObject: map[client.Object]cache.ByObject{
		&appsv1.Deployment{}: {Transform: slim, UnsafeDisableDeepCopy: new(true)},
	}}
}

func slim(object any) (any, error) {
	deployment, ok := object.(*appsv1.Deployment)
	if !ok {
		// A deletion that the watch has missed comes in a wrapper.
		return object, nil
	}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{
			Name:              deployment.Name,
			Namespace:         deployment.Namespace,
			UID:               deployment.UID,
			ResourceVersion:   deployment.ResourceVersion,
			DeletionTimestamp: deployment.DeletionTimestamp,
		},
		Spec:   appsv1.DeploymentSpec{Replicas: deployment.Spec.Replicas},
		Status: appsv1.DeploymentStatus{ReadyReplicas: deployment.Status.ReadyReplicas},
	}, nil
}
