"""How commands speak: people get words on stdout, programs get one JSON document."""

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import typer


def tell(text: str, document: Mapping[str, Any], *, as_json: bool) -> None:
    """Print `text`, or `document` as JSON."""
    typer.echo(json.dumps(_plain(document), indent=2) if as_json else text)


def _plain(value: Any) -> Any:
    """`value` in JSON's own terms: an infinite number is text, one that is not a number is null."""
    match value:
        case Mapping():
            return {str(key): _plain(part) for key, part in value.items()}
        case list() | tuple():
            return [_plain(part) for part in value]
        case Decimal():
            return _plain(float(value))
        case float() if math.isnan(value):
            return None
        case float() if math.isinf(value):
            return str(value)
        case Path():
            return str(value)
    return value
