"""The table of xDS types holds together, and agrees with Envoy's own descriptors."""

from __future__ import annotations

import pytest
from envoy.admin.v3 import config_dump_pb2, config_dump_shared_pb2

from pilotfish.envoy.types import CLUSTER, TYPES, XdsType, rank, short, xds_type

by_name = pytest.mark.parametrize("row", TYPES, ids=lambda row: row.short)


@by_name
def test_the_message_is_the_one_that_the_url_names(row: XdsType) -> None:
    assert row.url == f"type.googleapis.com/{row.message().DESCRIPTOR.full_name}"


@by_name
def test_envoys_dump_has_the_section(row: XdsType) -> None:
    if row.dump is None:
        return
    home = next(m for m in (config_dump_shared_pb2, config_dump_pb2) if hasattr(m, row.dump.message))
    entry = getattr(home, row.dump.message).DESCRIPTOR.fields_by_name[row.dump.field].message_type
    state = entry.fields_by_name[row.dump.state].message_type if row.dump.state else entry
    assert {"version_info", row.dump.resource} <= set(state.fields_by_name)


@by_name
def test_what_a_type_waits_for_goes_before_it_and_no_two_wait_for_each_other(row: XdsType) -> None:
    assert all(rank(other) < rank(row.url) for other in row.waits_for)
    assert not any(row.url in xds_type(other).removed_after for other in row.removed_after)


def test_a_type_that_is_not_in_the_table_goes_last_and_is_called_by_its_message() -> None:
    url = "type.googleapis.com/envoy.service.runtime.v3.Runtime"
    assert (short(url), rank(url)) == ("runtime", len(TYPES))
    assert short(CLUSTER) == "cds"
