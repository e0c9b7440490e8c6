"""Schemas inside our WSDLs, ready to validate with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lxml import etree

from payouts.mpesa.wsdl import schema

XSD = "http://www.w3.org/2001/XMLSchema"


@pytest.fixture
def wsdl_schema() -> Callable[[str], etree.XMLSchema]:
    """Gives the schemas of a WSDL as one."""

    def load(name: str) -> etree.XMLSchema:
        root = etree.fromstring(schema(name))
        wrapper = etree.Element(f"{{{XSD}}}schema")
        parts = {}
        for number, part in enumerate(root.iter(f"{{{XSD}}}schema")):
            namespace = part.get("targetNamespace") or ""
            parts[f"part:{number}"] = part
            etree.SubElement(
                wrapper, f"{{{XSD}}}import", namespace=namespace, schemaLocation=f"part:{number}"
            )

        class Resolver(etree.Resolver):
            def resolve(self, url: str, _public: str, context: Any) -> Any:  # type: ignore[override]
                if url in parts:
                    return self.resolve_string(etree.tostring(parts[url]), context, base_url=url)
                return self.resolve_string(schema(url.rpartition("/")[2]), context, base_url=url)

        parser = etree.XMLParser()
        parser.resolvers.add(Resolver())
        return etree.XMLSchema(etree.fromstring(etree.tostring(wrapper), parser))

    return load
