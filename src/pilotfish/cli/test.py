"""`pilotfish test`: the ways of requests are those that a file expects. For CI: no mesh, no root, no Envoy needed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import click

from pilotfish.cli.failure import Failure
from pilotfish.cli.manifests import read_manifests, read_text
from pilotfish.cli.meant import Meant
from pilotfish.cli.options import FILE, mesh_option
from pilotfish.cli.session import Reader, open_reader
from pilotfish.cli.sources import read_sources
from pilotfish.explain.ask import OUTSIDE

if TYPE_CHECKING:
    from pilotfish.cli.on_envoy import TrialMesh
    from pilotfish.explain.cases import Case, CaseFile
    from pilotfish.explain.scene import Scene
    from pilotfish.offline.world import World


@dataclass(frozen=True, slots=True)
class _Result:
    file: str
    title: str
    differences: tuple[str, ...]
    seconds: float


@click.command("test")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=FILE)
@click.option("--junit", metavar="FILE", type=click.Path(dir_okay=False), help="Write a report in JUnit's form.")
@click.option(
    "--on-envoy",
    is_flag=True,
    help="Send the requests for real, through a mesh of the manifests whose apps are stood in for. This needs root.",
)
@click.option("-v", "--verbose", is_flag=True, help="Name the cases that pass as well.")
@mesh_option
def command(files: tuple[str, ...], junit: str | None, on_envoy: bool, verbose: bool, mesh: Meant) -> None:
    """Check that requests go the ways that files expect, from manifests alone. Exit code 1 if one does not.

    A file that names no manifests is about the objects of a mesh, as they are; with --name or --context the manifests
    of the others are laid over it.

    \b
      manifests: [mesh.yaml]
      cases:
      - name: jason gets v2
        from: deploy/webapp.vm
        to: http://calculator:8888/add
        headers: {end-user: jason}
        expect: {pod: calculator-v2-*}
    """
    reader = cache(lambda: open_reader(mesh))
    results = [result for file in files for result in _run(file, on_envoy, mesh.is_said, reader)]
    for result in results:
        if result.differences or verbose:
            mark = click.style("FAIL", fg="red") if result.differences else click.style("ok", fg="green")
            click.echo(f"{mark}  {result.file}: {result.title}")
        for line in result.differences:
            click.echo(f"      {line}")
    failed = sum(1 for result in results if result.differences)
    click.echo(f"{len(results) - failed} passed, {failed} failed")
    if junit is not None:
        Path(junit).write_bytes(_junit(results))
    sys.exit(1 if failed else 0)


def _run(file: str, on_envoy: bool, is_said: bool, reader: Callable[[], Reader]) -> Iterator[_Result]:
    from pilotfish.offline.scene import build_scene

    cases = read_case_file(file)
    named = None if cases.manifests is None else tuple(str(Path(file).parent / each) for each in cases.manifests)
    if on_envoy and (is_said or named is None):
        raise click.UsageError("--on-envoy sends requests through a mesh of manifests alone: name them in the file")
    world = (
        _read_mesh(reader(), named, cases.namespace) if is_said or named is None else _read_files(file, named, cases)
    )
    scene = build_scene(world)
    with _mesh(world, cases.namespace) if on_envoy else nullcontext() as mesh:
        for case in cases.cases:
            started = time.perf_counter()
            differences = tuple(_check(world, scene, cases.namespace, case, mesh))
            yield _Result(file, case.title, differences, time.perf_counter() - started)


def _read_files(file: str, named: tuple[str, ...], cases: CaseFile) -> World:
    from pilotfish.offline.world import build

    found = read_manifests(named, False, cases.namespace, None)
    broken = [problem for problem in found.desired.problems if problem.severity == "error"]
    if broken:
        raise Failure(f"{file}: its manifests can't be used as they are: {broken[0]}")
    return build(found.desired)


def _read_mesh(reader: Reader, named: tuple[str, ...] | None, namespace: str) -> World:
    from pilotfish.cli.live_world import foresee, read_world

    return foresee(reader.mesh, namespace, read_sources(named))[1] if named else read_world(reader.mesh)


def _mesh(world: World, namespace: str) -> AbstractContextManager[TrialMesh]:
    from pilotfish.cli.on_envoy import trial_mesh

    return trial_mesh(world, namespace)


def _check(world: World, scene: Scene, namespace: str, case: Case, mesh: TrialMesh | None) -> Iterator[str]:
    from pilotfish.explain.cases import differences
    from pilotfish.explain.walk import explain

    pods = world.find_pods(case.source, namespace)
    if not pods and case.source != OUTSIDE:
        yield f'there is no pod "{case.source}"'
        return
    try:
        ask = case.ask()
    except ValueError as error:
        yield str(error)
        return
    client = scene.stations[pods[0]] if pods else None
    foreseen = explain(scene, client, ask)
    if mesh is not None:
        yield from mesh.differences(case.source, namespace, ask, foreseen, case.expected)
    else:
        yield from differences(foreseen, case.expected)


def read_case_file(file: str) -> CaseFile:
    """Raises Failure."""
    import yaml

    from pilotfish.explain.cases import parse_cases

    try:
        return parse_cases(yaml.safe_load(read_text(file)))
    except (yaml.YAMLError, ValueError) as error:
        raise Failure(f"{file}: {error}; 'pilotfish test --help' shows the form") from error


def _junit(results: list[_Result]) -> bytes:
    suites = ElementTree.Element("testsuites")
    for file in dict.fromkeys(result.file for result in results):
        own = [result for result in results if result.file == file]
        failures = sum(1 for result in own if result.differences)
        suite = ElementTree.SubElement(suites, "testsuite", name=file, tests=str(len(own)), failures=str(failures))
        for result in own:
            case = ElementTree.SubElement(
                suite, "testcase", name=result.title, classname=file, time=f"{result.seconds:.4f}"
            )
            if result.differences:
                failure = ElementTree.SubElement(case, "failure", message=result.differences[0])
                failure.text = "\n".join(result.differences)
    text: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return text
