"""Fields that the APIs have and pilotfish does not use: what follows from leaving them out.

Which fields there are, `schema` knows. By hand stands here, struct by struct, what is to be said of one other than what
holds for its API, and a few fields that older versions of the APIs had. Sources:
https://kubernetes.io/docs/reference/kubernetes-api/ and https://istio.io/latest/docs/reference/config/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pilotfish.config import istio, kubernetes, mesh, workloads
from pilotfish.config.kubernetes import Resource
from pilotfish.config.schema import api_fields
from pilotfish.model import Severity


@dataclass(frozen=True, slots=True)
class Unused:
    """What leaving a field out means."""

    severity: Severity | None
    """None: nothing that anybody would notice."""
    consequence: str = ""
    harmless: tuple[object, ...] = ()
    """Values that say what happens anyway; nothing is said about them."""
    instead: str = ""
    """A field that stands in for it: with the same value if it is an alias, else as an empty mapping."""
    alias: bool = False


Table = dict[str, Unused]
_REST = "*"
"""Any other field that the API has in the struct's place."""


def _silent(names: str) -> Table:
    return dict.fromkeys(names.split(), Unused(None))


def _info(names: str, consequence: str, *harmless: object) -> Table:
    return dict.fromkeys(names.split(), Unused(Severity.INFO, consequence, harmless))


def _warning(names: str, consequence: str, *harmless: object) -> Table:
    return dict.fromkeys(names.split(), Unused(Severity.WARNING, consequence, harmless))


def _absent(names: str, consequence: str) -> Table:
    """A value that is no more than the absent one is harmless."""
    return dict.fromkeys(names.split(), Unused(Severity.WARNING, consequence, ("", [], {}, False)))


_PROCESS = "it has no effect: a container is a process of this machine"
_ONE_MACHINE = "it has no effect: there is one machine, and every pod runs on it"
_WHOLE = "it is not supported yet, and the object is refused whole, as the rest would mean something else"
_LATER = "it is not supported yet, so it has no effect"
_MUTABLE = "it is not enforced: who changes the object changes it"
_STATUS = Unused(None)
_CONFINEMENT = (
    _info(_REST, "it has no effect: a container is confined by its namespaces, its user and its capabilities")
    | _info("seccompProfile", "no system call is filtered, as with Unconfined", {"type": "Unconfined"})
    | _info("appArmorProfile", "the container keeps the profile that `up` runs with", {"type": "Unconfined"})
    | _warning("seLinuxOptions", "no label is set: the container keeps the one that `up` runs with", {})
    | _silent("windowsOptions")
)
"""Of a pod's and a container's security context."""

_KUBERNETES: dict[type, Table] = {
    kubernetes.Metadata: (
        _silent("managedFields selfLink clusterName deletionGracePeriodSeconds")
        | _info("finalizers", "it has no effect: the object goes at once when it is deleted")
    ),
    kubernetes.Namespace: _silent("spec"),
    kubernetes.ServiceAccount: _silent(_REST),
    kubernetes.ServiceSpec: (
        _silent("ipFamilies allocateLoadBalancerNodePorts healthCheckNodePort")
        | _silent("loadBalancerIP loadBalancerSourceRanges loadBalancerClass externalTrafficPolicy")
        | _info("internalTrafficPolicy", _ONE_MACHINE, "Cluster")
    ),
    kubernetes.ConfigMap: _info("immutable", _MUTABLE, False),
    kubernetes.Secret: _info("immutable", _MUTABLE, False),
    kubernetes.SliceEndpoint: _silent("hints deprecatedTopology topology"),
    kubernetes.TargetRef: _silent("apiVersion fieldPath resourceVersion"),
    kubernetes.FieldSelector: _silent("apiVersion"),
    kubernetes.DownwardFile: _warning("resourceFieldRef", "the file is empty; no limit holds that it could tell"),
    kubernetes.Projection: _warning("clusterTrustBundle podCertificate", "the volume is without its files"),
    kubernetes.EnvVarSource: _warning(
        "resourceFieldRef fileKeyRef", "the variable is set to the empty text; write a value"
    ),
    kubernetes.ContainerPort: (
        _warning("hostPort", "the host's port is not opened; use `up --publish`", 0) | _silent("hostIP")
    ),
    kubernetes.LifecycleHandler: _warning("tcpSocket", "it does nothing, as in Kubernetes; use httpGet"),
    kubernetes.Lifecycle: _warning("stopSignal", "the container is sent SIGTERM"),
    kubernetes.SecurityContext: (
        _CONFINEMENT
        | _warning("procMount", "/proc is masked as with Default, unless the container is privileged", "Default")
    ),
    kubernetes.PodSecurityContext: (
        _CONFINEMENT
        | _silent("fsGroupChangePolicy seLinuxChangePolicy")
        | _info("supplementalGroupsPolicy", "no groups of /etc/group are added, as with Strict", "Strict")
        | _warning("sysctls", "no kernel parameter is set in the pod's network namespace", [])
    ),
    kubernetes.VolumeMount: (
        _silent("recursiveReadOnly")
        | _info("mountPropagation", "mounts made later on either side are not passed on", "None")
        | _warning("subPathExpr", "the volume's root is mounted; use subPath", "")
    ),
    kubernetes.Container: (
        _silent("terminationMessagePath terminationMessagePolicy resizePolicy stdinOnce")
        | _warning("stdin tty", "no terminal is attached; use `exec`", False)
        | _warning("volumeDevices", "no block device is given to the container", [])
        | _warning("restartPolicyRules", "the restart policy holds for every exit code", [])
    ),
    kubernetes.Resources: (
        _silent("requests")  # a scheduler's; one machine has all that there is
        | _warning("claims", "no device is given to the container", [])
    ),
    kubernetes.EmptyDirVolume: (
        _info("sizeLimit", "it is not enforced: the directory may grow as the disk allows")
        | _info("medium", "the directory is on disk, and its size is the disk's", "")
    ),
    kubernetes.Volume: {
        _REST: Unused(
            Severity.WARNING,
            "an empty directory, gone with the pod, is mounted instead; use a persistentVolumeClaim to keep data",
            instead="emptyDir",
        )
    },
    kubernetes.PodSpec: (
        _silent("schedulerName enableServiceLinks priority priorityClassName preemptionPolicy runtimeClassName")
        | _silent("overhead automountServiceAccountToken os hostUsers tolerations")
        | {"serviceAccount": Unused(None, instead="serviceAccountName", alias=True)}
        | _info("nodeSelector affinity topologySpreadConstraints", _ONE_MACHINE, {}, [])
        | _info("resources", "it is not enforced: write limits for each container", {})
        | _silent("hostIPC shareProcessNamespace")  # what they ask for is how it is
        | _warning("hostPID", "the pod still has process ids of its own, and sees no others", False)
        | _warning("hostAliases", "the names are not written to /etc/hosts; use a ServiceEntry", [])
        | _warning("dnsPolicy", "names are resolved as under ClusterFirst", "ClusterFirst", "Default")
        | _warning("dnsConfig", "names are resolved by the mesh's own resolver", {})
        | _warning("readinessGates", "the pod is ready when its containers are", [])
        | _warning("schedulingGates", "the pod runs at once", [])
        | _warning("setHostnameAsFQDN", "the host name stays the pod's short name", False)
        | _warning("ephemeralContainers", "they do not run; use `exec`", [])
        | _warning("resourceClaims hostnameOverride", _PROCESS, [])
    ),
    kubernetes.PodStatus: _silent(_REST),
    kubernetes.PodCondition: _silent(_REST),
    kubernetes.LabelSelector: _warning(
        "matchExpressions", "it is left out; whoever made pods owns them in any case", []
    ),
    workloads.StatefulSetSpec: _silent("revisionHistoryLimit"),
    workloads.DaemonSetSpec: _silent("revisionHistoryLimit"),
    workloads.JobSpec: (
        _silent("selector manualSelector podReplacementPolicy")
        | _info("managedBy", "this mesh runs the Job", "kubernetes.io/job-controller")
        | _warning("successPolicy", "the Job is complete when all of its completions are")
        | _warning("backoffLimitPerIndex maxFailedIndexes", "failures of all indexes count together, to backoffLimit")
    ),
    workloads.PersistentVolumeClaimSpec: (
        _silent("resources selector volumeAttributesClassName")
        | _warning("dataSource dataSourceRef", "nothing is copied: the volume is empty at first", {})
    ),
    workloads.PersistentVolumeSpec: (
        _silent("capacity accessModes nodeAffinity persistentVolumeReclaimPolicy volumeMode volumeAttributesClassName")
        | _warning("mountOptions", "the directory is mounted as it is", [])
        | {_REST: Unused(Severity.WARNING, "it is bound to no claim: only hostPath and local are directories here")}
    ),
    workloads.ClaimReference: _silent(_REST),
    workloads.ClaimTemplate: _silent("apiVersion kind status"),
    workloads.LocalSource: _silent(_REST),
}

_NO_RESET = (
    "Envoy makes no HTTP/2 errors as faults, and Istio leaves such a fault out; the object is refused whole: write "
    "httpStatus or grpcStatus"
)
_NO_DISTRIBUTION = (
    "Envoy delays all requests by the same time, and Istio leaves such a fault out; the object is refused whole: write "
    "fixedDelay"
)
_NO_SOURCE = (
    "Istio takes no notice of it, so that the rule would take connections from anywhere; the object is refused whole: "
    "write sourceLabels or sourceNamespace"
)
_NO_AT_SIDECARS = (
    "a sidecar has none of it, in Istio either; the object is refused whole: write files, as serverCertificate and "
    "privateKey"
)
_KEPT = "the rest of the object is used"
_NO_IMAGE = "no image is pulled: every proxy is this machine's Envoy"
_OF_OLD = "it is of old, and Istio has no use for it either"
_NO_SPANS = "no spans are sent"
_TO_A_FILE = "access logs go to accessLogFile alone"
_NO_METRICS = "there are Envoy's statistics alone: Istio's metrics come of a filter that upstream Envoy has not"
_OWN_ROOTS = "proxies trust the roots of the mesh's own authority alone; `up --ca` takes several"

# By one rule (docs/design/left-out.md): what is lacking is left out with a warning where the rest means what its author
# meant; the object is refused where the rest would send requests elsewhere, or protect less than was asked for.
_ISTIO: dict[type, Table] = {
    istio.HTTPRoute: {"mirror_percent": Unused(None, instead="mirrorPercent", alias=True)},
    istio.Abort: {"http2Error": Unused(Severity.ERROR, _NO_RESET, ("",))},
    istio.Delay: {"exponentialDelay": Unused(Severity.ERROR, _NO_DISTRIBUTION)},
    istio.L4MatchAttributes: {"sourceSubnet": Unused(Severity.ERROR, _NO_SOURCE, ("",))},
    istio.Server: _info("defaultEndpoint", "routes alone say where a gateway sends what it takes, as in Istio"),
    istio.GatewayPort: _info("targetPort", "a Service says which port of the pods stands for this one, as in Istio", 0),
    istio.IngressTLSSettings: dict.fromkeys(
        (
            "credentialName",
            "credentialNames",
            "caCertCredentialName",
            "tlsCertificates",
            "subjectAltNames",
            "httpsRedirect",
        ),
        Unused(Severity.ERROR, _NO_AT_SIDECARS, ("", [], False)),
    ),
    istio.TLSCertificate: _warning(
        "caCertificates", "Istio has no use for it either; write caCertificates beside the list"
    ),
    istio.SidecarPort: _warning("targetPort", f"{_OF_OLD}; {_KEPT}"),
    istio.ProxyConfigSpec: _info("image", _NO_IMAGE),
    # What a mesh in a cluster says of any object.
    istio.ServiceEntryStatus: _silent("conditions observedGeneration validationMessages"),
    istio.WorkloadEntryStatus: _silent("observedGeneration validationMessages"),
    istio.WorkloadEntryCondition: _silent("lastProbeTime lastTransitionTime message observedGeneration reason"),
    istio.RetryBudget: _warning(
        "budgetInterval", f"Envoy 1.40 counts the requests that are under way, and no others; {_KEPT}", "0s", "0ms"
    ),
    istio.JWTRule: {"jwks_uri": Unused(None, instead="jwksUri", alias=True)},
    istio.OutlierDetection: _warning("consecutiveErrors", f"{_OF_OLD}; {_KEPT}; write consecutive5xxErrors"),
}

_MESH: dict[type, Table] = {
    mesh.MeshConfig: (
        _silent("ingressService configSources")
        | _silent("serviceSettings serviceScopeConfigs hboneIdleTimeout")  # of several clusters, and of ambient mode
        | _silent("disableEnvoyListenerLog disableMixerHttpReports")
        | _absent("enableEnvoyAccessLogService", _TO_A_FILE)
        | _absent("enableTracing", _NO_SPANS)
        | _absent("defaultProviders", f"{_TO_A_FILE}; {_NO_SPANS}; {_NO_METRICS}")
        | _absent("ca", "the mesh signs its proxies' certificates itself; give it your authority with `up --ca`")
        | _absent("caCertificates", _OWN_ROOTS)
        | _absent("certificates", "discovery's certificate is of the mesh's own authority")
        | _warning("proxyListenPort", "what leaves a pod is captured at port 15001", 15001, 0)
        | _warning("proxyInboundListenPort", "what comes to a pod is captured at port 15006", 15006, 0)
        | _warning("thriftConfig configSourcesWatch", _OF_OLD)
    ),
    mesh.ProxyConfig: (
        _silent("configPath binaryPath serviceCluster statNameLength controlPlaneAuthPolicy availabilityZone")
        | _warning("customConfigFile proxyBootstrapTemplatePath", "Envoy starts with the mesh's own bootstrap", "")
        | _absent("parentShutdownDuration discoveryRefreshDelay sds", _OF_OLD)
        | _silent("meshId")
        | _absent("tracing tracingServiceName zipkinAddress", _NO_SPANS)
        | _absent("envoyAccessLogService", _TO_A_FILE)
        | _absent("fileFlushInterval fileFlushMinSizeKb", "access logs are written out every 100 ms")
        | _absent(
            "envoyMetricsService envoyMetricsServiceAddress statsdUdpAddress statsCompression",
            "what proxies count is sent nowhere: whoever wants it asks for it, at port 15020",
        )
        | _absent("extraStatTags", _NO_METRICS)
        | _absent("caCertificatesPem", _OWN_ROOTS)
        | _absent("privateKeyProvider", "keys are in Envoy's memory: upstream Envoy has no provider of them")
        | _absent("readinessProbe", "the probes of a pod's containers say whether it is ready")
        | _info("image", _NO_IMAGE, {})
    ),
    mesh.ExtensionProvider: (
        _absent("datadog lightstep opencensus opentelemetry skywalking zipkin", _NO_SPANS)
        | _absent("envoyFileAccessLog envoyHttpAls envoyOtelAls envoyTcpAls", _TO_A_FILE)
        | _absent("prometheus stackdriver", _NO_METRICS)
        | _absent("sds", "proxies are given secrets of Kubernetes, and of files")
    ),
    # Who speaks to whom is told by no header: Istio's own filter would, and upstream Envoy has none of it.
    mesh.ProxyHeaders: _silent("metadataExchangeHeaders"),
    mesh.ConnectionSettings: _warning(
        "listenerConnectionLimit",
        "Envoy counts the connections of a listener by a flag that is set before it has any; write "
        "globalDownstreamConnectionLimit",
    ),
}

BY_HAND: Mapping[type, Table] = {**_KUBERNETES, **_ISTIO, **_MESH}

_NO_EFFECT = Unused(Severity.WARNING, "it is not supported, so it has no effect", ("", [], {}, False))
_BY_API: Mapping[str, Unused] = {
    kubernetes.__name__: _NO_EFFECT,
    workloads.__name__: _NO_EFFECT,
    mesh.__name__: Unused(Severity.WARNING, _LATER, ("", [], {}, False)),
    istio.__name__: Unused(Severity.ERROR, _WHOLE, ("", [])),
}
"""By the module of the struct, or its package: any other field of its API. A value that is no more than the absent one
is harmless."""


def find_unused(struct: type, name: str) -> Unused | None:
    """What leaving the field out means; None for a field that the API does not have: a slip of the pen."""
    table = BY_HAND.get(struct, {})
    if name in table or name not in api_fields(struct):
        return table.get(name)
    return table.get(_REST) or (_STATUS if name == "status" and issubclass(struct, Resource) else _of_api(struct))


def _of_api(struct: type) -> Unused:
    return next(unused for api, unused in _BY_API.items() if f"{struct.__module__}.".startswith(f"{api}."))
