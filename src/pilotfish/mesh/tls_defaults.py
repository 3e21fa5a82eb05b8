"""What meshConfig.tlsDefaults says of TLS, where the object that asks for TLS does not; nothing of the mesh's own TLS.

Source: https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-tls_defaults, and Istio's
applyDownstreamTLSDefaults and applyTLSDefaults
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from pilotfish.config.cipher_suites import usable
from pilotfish.config.mesh import MeshConfig
from pilotfish.derive import Reads, query
from pilotfish.mesh.inputs import mesh_config
from pilotfish.model.gateway import ServerTLS
from pilotfish.model.traffic_policy import ClientTLS


@dataclass(frozen=True, slots=True)
class TLSDefaults:
    lowest_version: str = ""
    """`TLSv1_3`; "" is none."""
    cipher_suites: tuple[str, ...] = ()
    curves: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: MeshConfig) -> TLSDefaults:
        stated = config.tls_defaults
        lowest = "" if stated.min_protocol_version == "TLS_AUTO" else stated.min_protocol_version.replace("V", "v")
        return cls(lowest, usable(stated.cipher_suites), stated.ecdh_curves)


NO_DEFAULTS: Final = TLSDefaults()


@query
def tls_defaults(db: Reads) -> TLSDefaults:
    return TLSDefaults.of(mesh_config(db))


def with_server_defaults(tls: ServerTLS, states_lowest: bool, defaults: TLSDefaults) -> ServerTLS:
    """`states_lowest`: the object names the lowest version. One that is above its highest has no effect."""
    lowest = defaults.lowest_version or tls.lowest_version
    return replace(
        tls,
        lowest_version=tls.lowest_version if states_lowest else min(lowest, tls.highest_version or lowest),
        cipher_suites=tls.cipher_suites or defaults.cipher_suites,
        curves=tls.curves or defaults.curves,
    )


def with_client_defaults(tls: ClientTLS, defaults: TLSDefaults) -> ClientTLS:
    return replace(tls, cipher_suites=defaults.cipher_suites, curves=defaults.curves)
