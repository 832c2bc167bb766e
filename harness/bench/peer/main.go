// Peer is a Go operator that does the job of Replica Count Manager: what a platform team would write instead.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap/zapcore"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"replicacount.dev/bench/peer/internal/controller"
	"replicacount.dev/bench/peer/internal/service"
	"replicacount.dev/bench/peer/internal/settings"
)

// How many changes of settings can wait for the controller.
const pendingChanges = 1024

// How long a readiness probe waits for the cache.
const readinessTimeout = time.Second

// How long a client of the HTTP port may take to send its headers.
const readTimeout = 5 * time.Second

type options struct {
	grpcAddress, httpAddress, filePath, logFormat, namespace string
	files                                                    service.Files
	tuned                                                    bool
}

func main() {
	var o options
	flag.StringVar(&o.grpcAddress, "grpc-address", "0.0.0.0:8080", "The address of gRPC, with mutual TLS.")
	flag.StringVar(&o.httpAddress, "http-address", "0.0.0.0:8081", "The address of probes and metrics.")
	flag.StringVar(&o.filePath, "file-path", "/mnt/replicas.json", "The file of the settings.")
	flag.StringVar(&o.files.Certificate, "cert-file", "/certificates/server.crt", "The certificate of the server.")
	flag.StringVar(&o.files.Key, "key-file", "/certificates/server.key", "Its key.")
	flag.StringVar(&o.files.Authority, "ca-cert-file", "/certificates/ca.crt", "Who signs the certificates of clients.")
	flag.StringVar(&o.logFormat, "log-format", "text", "The format of the log: text or json.")
	flag.StringVar(&o.namespace, "namespace", "", "Manage this namespace only; needs no rights in others.")
	flag.BoolVar(&o.tuned, "tuned", false, "Many workers, and a cache of only what is needed.")
	flag.Parse()
	if err := run(ctrl.SetupSignalHandler(), o); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	encoder := zap.ConsoleEncoder
	if o.logFormat == "json" {
		encoder = zap.JSONEncoder
	}
	ctrl.SetLogger(zap.New(encoder(func(c *zapcore.EncoderConfig) { c.MessageKey = "message" })))

	store, err := settings.Open(o.filePath)
	if err != nil {
		return err
	}
	mgr, err := newManager(o)
	if err != nil {
		return err
	}
	// Registers the informer before the cache starts; otherwise an empty cache would count as synced.
	if _, err := mgr.GetCache().GetInformer(ctx, &appsv1.Deployment{}, cache.BlockUntilSynced(false)); err != nil {
		return err
	}
	changed := make(chan event.GenericEvent, pendingChanges)
	reconciler := &controller.Deployments{Client: mgr.GetClient(), Settings: store, Changed: changed}
	if err := reconciler.SetupWithManager(mgr, o.tuned); err != nil {
		return err
	}
	answers := &service.Deployments{Settings: store, Cluster: mgr.GetCache(), Changed: changed}
	if err := serve(mgr, o, answers); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

func newManager(o options) (ctrl.Manager, error) {
	config, err := ctrl.GetConfig()
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	options := ctrl.Options{
		Scheme: scheme,
		// The server below serves both.
		HealthProbeBindAddress: "0",
		Metrics:                metricsserver.Options{BindAddress: "0"},
	}
	if o.tuned {
		options.Cache = controller.SlimCache()
	}
	if o.namespace != "" {
		options.Cache.DefaultNamespaces = map[string]cache.Config{o.namespace: {}}
	}
	return ctrl.NewManager(config, options)
}

// serve adds gRPC, and probes and metrics, to what the manager runs.
func serve(mgr ctrl.Manager, o options, answers *service.Deployments) error {
	credentials, err := o.files.Credentials()
	if err != nil {
		return err
	}
	grpcListener, err := net.Listen("tcp", o.grpcAddress)
	if err != nil {
		return err
	}
	httpListener, err := net.Listen("tcp", o.httpAddress)
	if err != nil {
		return err
	}
	ctrl.Log.Info("listening", "grpc", grpcListener.Addr().String(), "http", httpListener.Addr().String())
	grpcServer := &service.Server{Listener: grpcListener, Credentials: credentials, Deployments: answers}
	httpServer := &manager.Server{
		Name:     "probes and metrics",
		Server:   &http.Server{Handler: probes(mgr.GetCache()), ReadHeaderTimeout: readTimeout},
		Listener: httpListener,
	}
	return errors.Join(mgr.Add(grpcServer), mgr.Add(httpServer))
}

func probes(cluster cache.Cache) http.Handler {
	synced := func(request *http.Request) error {
		ctx, cancel := context.WithTimeout(request.Context(), readinessTimeout)
		defer cancel()
		if !cluster.WaitForCacheSync(ctx) {
			return errors.New("the cluster has not been read")
		}
		return nil
	}
	mux := http.NewServeMux()
	mux.Handle("/healthz", healthz.CheckHandler{Checker: healthz.Ping})
	mux.Handle("/readyz", healthz.CheckHandler{Checker: synced})
	mux.Handle("/metrics", promhttp.HandlerFor(metrics.Registry, promhttp.HandlerOpts{}))
	return mux
}
