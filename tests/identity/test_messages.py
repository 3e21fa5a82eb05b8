"""The messages of certificates, against protobuf's own reading of Istio's definition."""

from __future__ import annotations

from contextlib import suppress

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.envoy.wire import read_fields
from pilotfish.identity.messages import (
    CertificateRequest,
    Roots,
    decode_chain,
    decode_request,
    decode_roots,
    encode_chain,
    encode_request,
    encode_roots,
)

_TYPES = FieldDescriptorProto


def _messages() -> tuple[type, type]:
    """IstioCertificateRequest and IstioCertificateResponse, without the metadata of the first."""
    file = FileDescriptorProto(name="ca.proto", package="istio.v1.auth", syntax="proto3")
    request = file.message_type.add(name="IstioCertificateRequest")
    request.field.add(name="csr", number=1, type=_TYPES.TYPE_STRING, label=_TYPES.LABEL_OPTIONAL)
    request.field.add(name="validity_duration", number=3, type=_TYPES.TYPE_INT64, label=_TYPES.LABEL_OPTIONAL)
    response = file.message_type.add(name="IstioCertificateResponse")
    response.field.add(name="cert_chain", number=1, type=_TYPES.TYPE_STRING, label=_TYPES.LABEL_REPEATED)
    pool = DescriptorPool()
    pool.Add(file)
    names = ("IstioCertificateRequest", "IstioCertificateResponse")
    first, second = (GetMessageClass(pool.FindMessageTypeByName(f"istio.v1.auth.{name}")) for name in names)
    return first, second


REQUEST, RESPONSE = _messages()


@given(st.text(), st.integers(0, 2**62))
def test_a_request(csr: str, seconds: int) -> None:
    request = CertificateRequest(csr.encode(), seconds)
    read = REQUEST.FromString(encode_request(request))  # type: ignore[attr-defined]
    assert (read.csr, read.validity_duration) == (csr, seconds)
    assert decode_request(read.SerializeToString()) == request


def test_a_negative_duration_is_read_as_one() -> None:
    assert decode_request(REQUEST(csr="x", validity_duration=-5).SerializeToString()).seconds == -5


@given(st.lists(st.text(), max_size=4))
def test_a_chain(certificates: list[str]) -> None:
    chain = [each.encode() for each in certificates]
    read = RESPONSE.FromString(encode_chain(chain))  # type: ignore[attr-defined]
    assert list(read.cert_chain) == certificates
    assert list(decode_chain(read.SerializeToString())) == chain


@given(st.binary(), st.text(), st.text())
def test_roots(trusted: bytes, issuer: str, trust_domain: str) -> None:
    roots = Roots(trusted, issuer, trust_domain)
    assert decode_roots(encode_roots(roots)) == roots


@given(st.binary(max_size=100))
def test_any_bytes_are_fields_or_a_value_error(body: bytes) -> None:
    with suppress(ValueError):
        list(read_fields(body))
