"""The forms in which a vendor, or a server that speaks its API, may answer with an image: shape × encoding × declared
type × framing, each as the bytes of a body."""

import base64
import gzip
import io
import itertools
import json
import random
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tests.support.files.images import encoded, textured

JUNK = b"these bytes were paid for, and are no image that anybody knows"
PREVIEW = encoded(textured(16, 16), "PNG")
Shape = Callable[[Any], Any]


@dataclass(frozen=True)
class Form:
    """One answer; `image` is what it holds."""

    vendor: str
    name: str
    mime: str
    body: bytes
    image: bytes


def plain(data: bytes) -> str:
    return base64.b64encode(data).decode()


def in_lines(data: bytes, end: str) -> str:
    return end.join(textwrap.wrap(plain(data), 76)) + end


ENCODINGS: dict[str, Callable[[bytes], Any]] = {
    "base64": plain,
    "no padding": lambda data: plain(data).rstrip("="),
    "URL alphabet": lambda data: base64.urlsafe_b64encode(data).decode(),
    "URL alphabet, no padding": lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="),
    "lines": lambda data: in_lines(data, "\n"),
    "CRLF lines": lambda data: in_lines(data, "\r\n"),
    "blanks around": lambda data: f" {plain(data)}\n ",
    "data URL": lambda data: f"data:image/png;base64,{plain(data)}",
    "data URL, more in its head": lambda data: f"data:image/png;charset=utf-8;BASE64,{in_lines(data, chr(10))}",
    "data URL of another type": lambda data: f"DATA:application/octet-stream;base64,{plain(data).rstrip('=')}",
    "base64 twice": lambda data: plain(plain(data).encode()),
    "percent signs": lambda data: quote(plain(data), safe=""),
    "without the scheme": lambda data: f"base64,{plain(data)}",
    "pieces": lambda data: textwrap.wrap(plain(data), 100),
    "small pieces": lambda data: textwrap.wrap(plain(data), 7),
    "pieces by number": lambda data: dict(enumerate(textwrap.wrap(plain(data), 100))),
    "pieces encoded each": lambda data: [plain(data[at : at + 50]) for at in range(0, len(data), 50)],
    "pieces encoded each, in one": lambda data: "".join(plain(data[at : at + 50]) for at in range(0, len(data), 50)),
    "pieces in objects": lambda data: [
        {"index": n, "part": part} for n, part in enumerate(textwrap.wrap(plain(data), 100))
    ],
    "gzip": lambda data: plain(gzip.compress(data)),
    "ZIP": lambda data: plain(zipped(data)),
    "hexadecimal": lambda data: data.hex(),
    "hexadecimal with marks": lambda data: data.hex(":").upper(),
    "hexadecimal of a program": lambda data: ", ".join(f"0x{byte:02x}" for byte in data),
    "characters": lambda data: data.decode("latin-1"),
    "bytes of a program": str,
    "numbers in a text": lambda data: ", ".join(map(str, data)),
    "base32": lambda data: base64.b32encode(data).decode(),
    "base64 of a program": lambda data: str(base64.b64encode(data)),
    "numbers": list,
    "signed numbers": lambda data: [byte - 256 if byte > 127 else byte for byte in data],
    "floats": lambda data: [float(byte) for byte in data],
    "numbers as texts": lambda data: [str(byte) for byte in data],
    "lists of numbers": lambda data: [list(data[at : at + 50]) for at in range(0, len(data), 50)],
    "numeric keys": lambda data: dict(enumerate(data)),
    "buffer": lambda data: {"type": "Buffer", "data": list(data)},
    "words around": lambda data: f"Here it is: ![a fox](data:image/png;base64,{plain(data)}) Do you like it?",
    "HTML around": lambda data: f"<p><img alt='a fox' src='data:image/png;base64,{plain(data)}'></p>",
    "base64 in a fence": lambda data: f"Here it is:\n```\n{plain(data)}\n```\n",
    "JSON as text": lambda data: json.dumps({"made": plain(data)}),
    "JSON in base64": lambda data: plain(json.dumps({"made": plain(data)}).encode()),
}
WITH_ESCAPES = frozenset({"characters", "bytes of a program", "JSON as text", "base64 in a fence", "a text with JSON"})
"""These have marks of their own that a rewritten document no longer has."""
SHAPES: dict[str, dict[str, Shape]] = {
    "openai": {
        "b64_json": lambda v: {"created": 1, "data": [{"b64_json": v}], "usage": {"output_tokens": 7}},
        "url": lambda v: {"data": [{"url": v, "revised_prompt": "a fox"}]},
        "second entry": lambda v: {"data": [{"b64_json": None, "url": None}, {"b64_json": v}]},
        "no list": lambda v: {"data": {"b64_json": v}},
        "no data": lambda v: {"b64_json": v},
        "list": lambda v: [{"b64_json": v}],
        "images": lambda v: {"images": [{"image": v}], "seed": 3},
        "texts": lambda v: {"images": [v], "parameters": {}},
        "output item": lambda v: {"output": [{"type": "image_generation_call", "result": v}]},
        "message": lambda v: {"choices": [{"message": {"content": None, "images": [{"image_url": {"url": v}}]}}]},
        "strange neighbours": lambda v: {"data": [{"b64_json": v}], "usage": "much", "size": [1], "quality": 7},
    },
    "gemini": {
        "inlineData": lambda v: candidate({"inlineData": {"mimeType": "image/png", "data": v}}),
        "snake case": lambda v: candidate({"inline_data": {"mime_type": "image/png", "data": v}}),
        "words first": lambda v: candidate({"text": "Here it is."}, {"inlineData": {"data": v}}),
        "a draft first": lambda v: candidate(
            {"inlineData": {"data": plain(PREVIEW)}, "thought": True}, {"inlineData": {"data": v}}
        ),
        "second candidate": lambda v: {"candidates": [{"finishReason": "STOP"}, *candidate(blob(v))["candidates"]]},
        "list": lambda v: [{"candidates": []}, candidate(blob(v)), {"usageMetadata": {"promptTokenCount": 1}}],
        "prediction": lambda v: {"predictions": [{"bytesBase64Encoded": v, "mimeType": "image/png"}]},
        "output": lambda v: {"id": "x", "outputs": [{"type": "image", "data": v}]},
        "strange neighbours": lambda v: {**candidate(blob(v)), "usageMetadata": "much", "modelVersion": 7},
    },
    "workers": {
        "image": lambda v: {"result": {"image": v}, "success": True, "errors": [], "messages": []},
        "result": lambda v: {"result": v, "success": True},
        "no envelope": lambda v: {"image": v},
        "images": lambda v: {"result": {"images": [v]}, "success": True, "errors": None},
        "b64_json": lambda v: {"result": {"data": [{"b64_json": v}]}},
        "response": lambda v: {"result": {"response": {"image": v}}, "messages": [{"message": "slow"}]},
        "strange neighbours": lambda v: {"result": {"image": v}, "errors": "none", "messages": 7},
    },
}


ANY_VENDOR: dict[str, Shape] = {
    "a name of its own": lambda v: {"ergebnis": {"bild": v, "breite": 24}},
    "deep": lambda v: nested({"picture": v}, 60),
    "other images beside": lambda v: {
        "input_image": plain(PREVIEW),
        "thumbnail": plain(PREVIEW),
        "output": [{"type": "input_image", "data": plain(PREVIEW)}, {"type": "output_image", "data": v}],
    },
    "a text with JSON": lambda v: {"statusCode": 200, "body": json.dumps({"made": v})},
    "a key of its own": lambda v: {"fox.png": v},
}
SHAPES = {vendor: shapes | ANY_VENDOR for vendor, shapes in SHAPES.items()}


def nested(value: Any, depth: int) -> Any:
    return value if depth == 0 else {f"level{depth}": [nested(value, depth - 1)]}


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("readme.txt", "an image")
        archive.writestr("image_0.png", data)
    return out.getvalue()


def in_parts(mime: str, body: bytes, *heads: str) -> bytes:
    """A multipart body whose second part is this."""
    head = "".join(f"{line}\r\n" for line in (f"Content-Type: {mime}", *heads)).encode()
    return (
        b'--frontier\r\nContent-Type: application/json\r\n\r\n{"status": "done"}\r\n--frontier\r\n'
        + head
        + b"\r\n"
        + body
        + b"\r\n--frontier--\r\n"
    )


def blob(value: Any) -> dict[str, Any]:
    return {"inlineData": {"data": value}}


def candidate(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": list(parts), "role": "model"}, "finishReason": "STOP"}]}


def events(*data: str, end: str = "\n") -> bytes:
    return "".join(f"data: {line}{end}{end}" for line in data).encode()


def completed(document: Any) -> str:
    """The document as OpenAI's last event, where it can be one."""
    return json.dumps({"type": "image_generation.completed", **document} if isinstance(document, dict) else document)


FRAMINGS: dict[str, Callable[[Any], bytes]] = {
    "JSON": lambda d: json.dumps(d).encode(),
    "indented": lambda d: json.dumps(d, indent=2).encode(),
    "byte order mark": lambda d: b"\xef\xbb\xbf" + json.dumps(d).encode(),
    "white space around": lambda d: b"\r\n \n" + json.dumps(d).encode() + b"\n\n",
    "UTF-16": lambda d: json.dumps(d).encode("utf-16"),
    "Latin-1": lambda d: b'{"said": "d\xe9j\xe0 vu", "answer": ' + json.dumps(d).encode() + b"}",
    "raw line breaks": lambda d: json.dumps(d).replace("\\n", "\n").replace("\\r", "\r").encode(),
    "lines of JSON": lambda d: b'{"status": "working"}\n' + json.dumps(d).encode() + b"\n",
    "event": lambda d: events(json.dumps(d)),
    "events": lambda d: events(json.dumps({"status": "working"}), completed(d), "[DONE]"),
    "CRLF events": lambda d: events(completed(d), end="\r\n"),
    "CR events": lambda d: events(completed(d), end="\r"),
    "pings": lambda d: (
        b": welcome\n\nretry: 3000\n\nevent: ping\ndata:\n\nevent: ping\ndata: {}\n\ndata\n\n"
        + f"id: 7\nevent: image_generation.completed\ndata:{json.dumps(d)}\n\n: bye\n\n".encode()
    ),
    "preview first": lambda d: events(
        json.dumps({"type": "image_generation.partial_image", "b64_json": plain(PREVIEW), "partial_image_index": 0}),
        completed(d),
    ),
    "data in lines": lambda d: "".join(f"data: {line}\n" for line in json.dumps(d, indent=1).splitlines()).encode(),
    "no end": lambda d: json.dumps(d).rstrip("]} ").encode(),
    "event with no end": lambda d: f"data: {completed(d)}".rstrip("]} ").encode(),
    "values of a program": lambda d: str(d).encode(),
    "call of a function": lambda d: b"/**/show(" + json.dumps(d).encode() + b");",
    "guarded": lambda d: b")]}'\n" + json.dumps(d).encode(),
    "words around": lambda d: f"Your image is ready.\n\n```json\n{json.dumps(d)}\n```\nDo you like it?".encode(),
    "JSON sequence": lambda d: b'\x1e{"status": "done"}\n\x1e' + json.dumps(d).encode() + b"\n",
    "gzip": lambda d: gzip.compress(json.dumps(d).encode()),
    "gzip twice": lambda d: gzip.compress(gzip.compress(json.dumps(d).encode())),
    "part of several": lambda d: in_parts("application/json", json.dumps(d).encode()),
    "event without its end": lambda d: f"event: image_generation.completed\ndata: {completed(d)}".encode(),
}
TYPES = (
    "application/json",
    "application/json; charset=utf-8",
    "text/plain",
    "application/octet-stream",
    "text/event-stream",
    "image/png",
    "text/html; charset=iso-8859-1",
    "",
)
BARE: dict[str, Callable[[bytes], bytes]] = {
    "bytes": bytes,
    "base64 as text": lambda data: plain(data).encode(),
    "base64 in lines as text": lambda data: in_lines(data, "\r\n").encode(),
    "data URL as text": lambda data: f"data:image/png;base64,{plain(data)}".encode(),
    "gzip": gzip.compress,
    "ZIP": zipped,
    "part of several": lambda data: in_parts("image/png", data),
    "part in base64": lambda data: in_parts(
        "image/png", in_lines(data, "\r\n").encode(), "Content-Transfer-Encoding: base64"
    ),
    "form": lambda data: in_parts("image/png", data, 'Content-Disposition: form-data; name="image"; filename="a.png"'),
    "hexadecimal as text": lambda data: data.hex().encode(),
    "page": lambda data: f'<html><body><img src="data:image/png;base64,{plain(data)}"></body></html>'.encode(),
    "XML": lambda data: f"<?xml version='1.0'?><made><image>{plain(data)}</image></made>".encode(),
    "events of pieces": lambda data: events(
        *(json.dumps({"type": "image.chunk", "b64_chunk": part}) for part in textwrap.wrap(plain(data), 100))
    ),
    "events of text": lambda data: events(*textwrap.wrap(plain(data), 100), "[DONE]"),
    "base64 as a JSON string": lambda data: json.dumps(plain(data)).encode(),
}


def images() -> list[bytes]:
    """Small images of every format that can be decoded here."""
    return [
        *(
            encoded(textured(24, 16), kind)
            for kind in ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "JPEG2000")
        ),
        *(encoded(textured(32, 32), kind) for kind in ("ICO", "PPM", "TGA")),
        b"\r\n" + encoded(textured(17, 11), "PNG"),
        encoded(textured(16, 24), "JPEG")[:-2],
    ]


def forms(seed: int = 1) -> Iterator[Form]:
    """All forms, in an order of chance; each with an image of some format."""
    chance, pictures = random.Random(seed), images()
    wanted = [
        *itertools.chain.from_iterable(
            itertools.product([vendor], shapes, ENCODINGS, FRAMINGS) for vendor, shapes in SHAPES.items()
        ),
        *itertools.product(SHAPES, [""], BARE, [""]),
    ]
    chance.shuffle(wanted)
    for vendor, shape, encoding, framing in wanted:
        if WITH_ESCAPES & {shape, encoding} and framing in ("raw line breaks", "values of a program"):
            continue
        image, mime = chance.choice(pictures), chance.choice(TYPES)
        if not shape:
            body = BARE[encoding](image)
        else:
            body = FRAMINGS[framing](SHAPES[vendor][shape](ENCODINGS[encoding](image)))
        yield Form(vendor, f"{vendor}: {shape}, {encoding}, {framing}, {mime}", mime, body, image)
