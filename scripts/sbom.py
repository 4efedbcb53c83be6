"""Write each distribution's bill of materials (CycloneDX), which its wheel carries.

python -m scripts.sbom

It lists the wheel's content and its run-time dependencies, in the tested versions of
requirements.lock.
"""

import hashlib
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from .dependencies import OWN, needs, project, runtime, version
from .pages import ROOT

FILES = {
    "classwire": ROOT / "client" / "classwire.cdx.json",
    "classwire-server": ROOT / "server" / "classwire-server.cdx.json",
}
MODEL = ROOT / "server/classwire_server/models/stars-en"
"""The checkpoint in the server's wheel."""


def sbom(distribution: str) -> str:
    """Return a distribution's bill as JSON. Equal contents give equal bills: no timestamp."""
    itself, needed = _ours(distribution), runtime(distribution)
    asked = {each.name: each.needs for each in needed}
    asked |= {name: tuple(needs(name)) for name in OWN}
    components = {each.name: _component(each.name, each.version, each.licence) for each in needed}
    components |= {name: _ours(name) for name in OWN.keys() & set(asked[distribution])}
    held = [_model(MODEL)] if distribution == "classwire-server" else []
    bom = Bom(metadata=BomMetaData(component=itself), components=[*components.values(), *held])
    bom.register_dependency(itself, [*(components[n] for n in asked[distribution]), *held])
    for name, component in components.items():
        bom.register_dependency(component, [components[each] for each in asked[name]])
    return _written(bom)


def stale() -> Iterator[tuple[Path, str]]:
    """Yield each outdated file and its correct text."""
    for distribution, path in FILES.items():
        wanted = sbom(distribution)
        if not path.exists() or path.read_text(encoding="utf-8") != wanted:
            yield path, wanted


def _ours(name: str) -> Component:
    return _component(name, version(), project(name)["license"])


def _component(name: str, number: str, licence: str) -> Component:
    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=number,
        bom_ref=name,
        purl=PackageURL("pypi", name=name, version=number),
        licenses=[LicenseExpression(licence)],
        scope=ComponentScope.REQUIRED,
    )


def _model(folder: Path) -> Component:
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=folder.name,
        version=version(),
        bom_ref=folder.name,
        licenses=[LicenseExpression("Apache-2.0")],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
    )


def _written(bom: Bom) -> str:
    """Return the bill as JSON without a timestamp; the serial number is a hash of the content."""
    said: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    del said["metadata"]["timestamp"], said["serialNumber"]
    text = json.dumps(said, sort_keys=True)
    said["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, text)}"
    return json.dumps(said, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    for file, text in stale():
        file.write_text(text, encoding="utf-8")
