"""What a schema can't say about one object, kind by kind.

    struct ─by_kind.check─▶ Problems in a Report

Only what a single object shows; what takes several is the mesh's to see.
"""
