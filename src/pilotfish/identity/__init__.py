"""Who a workload is, proven: certificates and what leads to them, without sockets, clock or files.

    token ──verify──▶ Claims ──entitle──▶ Identity ┐
    key ──build_request──▶ CSR ──parse_request──▶ public key ──Authority.sign──▶ certificate chain
                              Succession: which Authority signs, and whose certificates are trusted meanwhile
    chain, key, roots ──secrets──▶ what an Envoy is served over SDS, until `renew_at`

`cryptography` does the cryptography. It is imported where it is used: it costs 50 ms and 7 MB, and whoever makes no
certificate does without. docs/design/identity.md has the reasons.
"""
