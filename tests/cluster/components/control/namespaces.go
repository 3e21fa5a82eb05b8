package main

import (
	"context"
	"errors"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/certificates/rootcacertpublisher"
	"k8s.io/kubernetes/pkg/controller/namespace"
	"k8s.io/kubernetes/pkg/controller/serviceaccount"
)

const (
	resync  = 5 * time.Minute
	workers = 4
)

// runNamespaces does for an API server that stands alone what its Namespaces need of the controller manager, which
// takes a quarter more to compile: each gets its default account and the cluster's root, and a deleted one goes, with
// all that is in it. Arguments: a kubeconfig, the root's file.
func runNamespaces(arguments []string) error {
	if len(arguments) != 2 {
		return errors.New("usage: control namespaces KUBECONFIG ROOT")
	}
	config, err := clientcmd.BuildConfigFromFlags("", arguments[0])
	if err != nil {
		return err
	}
	config.QPS, config.Burst = -1, -1
	root, err := os.ReadFile(arguments[1])
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	metadataClient, err := metadata.NewForConfig(config)
	if err != nil {
		return err
	}

	ctx := klog.NewContext(context.Background(), klog.Background())
	shared := informers.NewSharedInformerFactory(client, 0)
	core := shared.Core().V1()
	discover := client.Discovery().ServerPreferredNamespacedResources
	endings := namespace.NewNamespaceController(
		ctx, client, metadataClient, discover, core.Namespaces(), resync, corev1.FinalizerKubernetes)
	accounts, err := serviceaccount.NewServiceAccountsController(
		core.ServiceAccounts(), core.Namespaces(), client, serviceaccount.DefaultServiceAccountsControllerOptions())
	if err != nil {
		return err
	}
	roots, err := rootcacertpublisher.NewPublisher(core.ConfigMaps(), core.Namespaces(), client, root)
	if err != nil {
		return err
	}
	shared.Start(ctx.Done())
	go endings.Run(ctx, workers)
	go accounts.Run(ctx, workers)
	roots.Run(ctx, workers)
	return nil
}
