"""A user's mistake, as people read it."""

from pilotfish.model import Problem, Source
from pilotfish.model.kinds import SERVICE


def test_a_problem_names_place_object_field_and_reason() -> None:
    problem = Problem(
        SERVICE.ref("vm", "web"),
        "spec.ports[0].port",
        "InvalidValue",
        "70000 is no port, so the Service is not used; give a number from 1 to 65535",
        source=Source("mesh.yaml", 12),
    )
    assert str(problem) == (
        "mesh.yaml:12: error: Service vm/web spec.ports[0].port: 70000 is no port, so the Service is not used; "
        "give a number from 1 to 65535 [InvalidValue]"
    )
    assert Source.parse("a:b.yaml:12") == Source("a:b.yaml", 12)
