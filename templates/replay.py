#!/usr/bin/env python3
"""Make recorded jobs again on a picasso server: same prompts, models, seeds, sizes and kinds, in new projects.

    python3 replay.py --server https://HOST --key KEY [--dry-run] [index.json]

Paid providers are paid again: --dry-run tells beforehand what it may cost, --budget is what it may cost at most.
Images that the jobs started from and that no job made are looked for in the folder --images, by their SHA-256.

Ends with 0 when every image that is on record came again, 1 when one did not, 2 when the server cannot be used.
Needs Python 3.10 or later and nothing else.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import sys
import time
import uuid
from pathlib import Path
from urllib.parse import quote, urlsplit

CALL_SECONDS = 60
TRIES = 8
ENDED = ("complete", "failed", "cancelled")
WITH_IMAGE = ("complete", "duplicate")


class ServerError(Exception):
    """The server refused, or did not answer; the message is for a person."""


class Missing(Exception):
    """A job needs an image that is not there."""


class Server:
    """One picasso server and the key to it."""

    def __init__(self, url: str, key: str | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ServerError("--server must be http://HOST or https://HOST")
        self._kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._port, self._base = parts.hostname, parts.port, parts.path.rstrip("/")
        self._headers = {"X-Api-Key": key} if key else {}

    def get(self, path: str) -> dict:
        return self._answer("GET", path, None, {}, again=True)

    def post(self, path: str, body: dict, once: str | None = None) -> dict:
        """`once` is an idempotency key: with it, a call whose answer was lost is made again."""
        headers = {"Content-Type": "application/json", **({"Idempotency-Key": once} if once else {})}
        return self._answer("POST", path, json.dumps(body).encode(), headers, again=once is not None)

    def patch(self, path: str, body: dict) -> dict:
        return self._answer("PATCH", path, json.dumps(body).encode(), {"Content-Type": "application/json"}, again=True)

    def upload(self, path: str, data: bytes) -> dict:
        line = uuid.uuid4().hex
        head = f'--{line}\r\nContent-Disposition: form-data; name="file"; filename="image"\r\n\r\n'.encode()
        form = {"Content-Type": f"multipart/form-data; boundary={line}"}
        return self._answer("POST", path, head + data + f"\r\n--{line}--\r\n".encode(), form, again=True)

    def _answer(self, method: str, path: str, body: bytes | None, headers: dict, again: bool) -> dict:
        for wait in (2**n / 4 for n in range(TRIES)):
            try:
                status, asked, data = self._call(method, path, body, headers)
            except (OSError, http.client.HTTPException) as error:
                if not again:
                    raise ServerError(f"the server did not answer: {error}") from error
                problem = f"the server did not answer: {error}"
            else:
                if status < 300:
                    return json.loads(data)
                problem = f"{method} {path} was answered {status}: {said(data)}"
                if status not in (429, 503):
                    raise ServerError(problem)
                wait = max(wait, float(asked or 0))
            time.sleep(min(wait, 60))
        raise ServerError(problem)

    def _call(self, method: str, path: str, body: bytes | None, headers: dict) -> tuple[int, str | None, bytes]:
        connection = self._kind(self._host, self._port, timeout=CALL_SECONDS)
        try:
            connection.request(method, self._base + path, body, {**self._headers, **headers})
            response = connection.getresponse()
            return response.status, response.getheader("Retry-After"), response.read()
        finally:
            connection.close()


def said(data: bytes) -> str:
    """What an error answer says."""
    try:
        return str(json.loads(data)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return "not in the words of picasso"


class Replay:
    """The jobs of one recorded project, made again in a new one."""

    def __init__(self, server: Server, project: dict, wishes: argparse.Namespace) -> None:
        self._server, self._wishes = server, wishes
        made = server.post("/api/projects", {"name": project["name"], "description": project["description"]})
        self.id = made["id"]
        if wishes.budget is not None:
            server.patch(f"/api/projects/{self.id}", {"budgetUsd": wishes.budget})
        self._made: dict[tuple, str] = {}
        self._run = uuid.uuid4().hex

    def submit(self, job: dict) -> dict:
        """The job's body on this server. Fails: Missing."""
        if job["missing"]:
            raise Missing(job["missing"])
        body = {name: job[name] for name in ("prompt", "kind", "providers", "variants", "strict", "fallback")}
        body["sessionId"] = f"replay-{self._run}"
        for name in ("size", "quality", "negativePrompt"):
            if job[name] is not None:
                body[name] = job[name]
        takes_it = all(item["seed"] is not None for item in job["items"])
        if job["seed"] is not None and (takes_it or not (job["drawn"] and job["strict"])):
            body["seed"] = job["seed"]
        for name, source in (("startImageUrl", job["start"]), ("maskImageUrl", job["mask"])):
            if source:
                body[name] = self._image(source)
        body["referenceImageUrls"] = [self._image(source) for source in job["references"]]
        if job["parent"] and not self._wishes.dry_run:
            body["parentProgressionId"] = self._version(job["parent"])
        return body

    def quote(self, job: dict) -> dict:
        """What the job may cost; nothing is bought."""
        return self._server.post(f"/api/projects/{self.id}/jobs", {**self.submit(job), "dryRun": True})["quote"]

    def run(self, job: dict) -> list[dict]:
        """The items as they ended, each with its image version if it has one."""
        path, once = f"/api/projects/{self.id}/jobs", f"{self._run}-{job['number']}"
        ended = self._wait(self._server.post(path, self.submit(job), once)["jobId"])
        by_id = {item["itemId"]: item for item in ended["items"]}
        for item in ended["items"]:
            version = by_id.get(item["duplicateOf"], item)["progressionId"]
            item["version"] = self._server.get(f"/api/progressions/{quote(version)}") if version else None
            if version:
                self._made[job["number"], item["provider"], item["variantIndex"]] = version
        return ended["items"]

    def _wait(self, job_id: str) -> dict:
        end, pause = time.monotonic() + self._wishes.wait, 0.1
        while time.monotonic() < end:
            job = self._server.get(f"/api/jobs/{quote(job_id)}")
            if job["status"] in ENDED:
                return job
            time.sleep(pause)
            pause = min(pause * 1.5, 3)
        raise ServerError(f"job {job_id} did not end within {self._wishes.wait:g} s")

    def _image(self, source: dict) -> str:
        if self._wishes.dry_run:
            return f"upload:{'0' * 64}"
        if source["from"] == "item":
            return f"progression:{self._version(source)}"
        for path in sorted(self._wishes.images.iterdir()) if self._wishes.images else []:
            if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == source["sha256"]:
                return self._server.upload(f"/api/projects/{self.id}/uploads", path.read_bytes())["startImageUrl"]
        raise Missing(f"it started from an image with SHA-256 {source['sha256']}: put the file into --images")

    def _version(self, source: dict) -> str:
        try:
            return self._made[source["job"], source["provider"], source["variantIndex"]]
        except KeyError:
            raise Missing(f"the image of job {source['job']} that it started from did not come") from None


def report(job: dict, items: list[dict]) -> tuple[int, int, int]:
    """Print what came beside what is on record; how many images were due, came, and came with the same bytes."""
    due = came = same = 0
    for before, now in zip(job["items"], items, strict=True):
        version = now["version"]
        equal = bool(version) and before["sha256"] == version["sha256"]
        wanted = before["status"] in WITH_IMAGE
        due, came, same = due + wanted, came + (wanted and bool(version)), same + equal
        words = [f"{now['provider']} {now['model']}", f"variant {now['variantIndex']}"]
        words += [f"seed {now['seed']}"] if now["seed"] is not None else []
        words.append(
            now["status"] if now["status"] == before["status"] else f"{now['status']} (was {before['status']})"
        )
        if version:
            words += [
                version["judgment"] or "not judged",
                *(["same bytes"] if equal else []),
                version["generated_image_url"],
            ]
        elif now["error"]:
            words.append(now["error"]["message"])
        print("   ", " · ".join(words), flush=True)
    return due, came, same


def title(job: dict) -> str:
    prompt = " ".join(job["prompt"].split())
    return f"{job['number']}. {job['kind']}: {prompt[:70]}{'…' if len(prompt) > 70 else ''}"


def replay(server: Server, recording: dict, wishes: argparse.Namespace) -> int:
    due = came = same = 0
    for project in recording["projects"]:
        made = Replay(server, project, wishes)
        print(f"{project['name']} → project {made.id}", flush=True)
        for job in project["jobs"]:
            print(title(job), flush=True)
            try:
                told = report(job, made.run(job))
            except Missing as missing:
                print(f"    left out: {missing}", flush=True)
                told = (sum(item["status"] in WITH_IMAGE for item in job["items"]), 0, 0)
            due, came, same = due + told[0], came + told[1], same + told[2]
    print(f"{came} of {due} images came again, {same} with the same bytes.")
    return 0 if came == due else 1


def estimate(server: Server, recording: dict, wishes: argparse.Namespace) -> int:
    low = high = 0.0
    for project in recording["projects"]:
        made = Replay(server, project, wishes)
        for job in project["jobs"]:
            try:
                quoted = made.quote(job)
            except Missing as missing:
                print(f"{title(job)}: left out, {missing}")
                continue
            low, high = low + quoted["low"], high + quoted["high"]
            print(f"{title(job)}: ${quoted['low']:.4f} to ${quoted['high']:.4f}", flush=True)
    print(f"In all ${low:.4f} to ${high:.4f}; nothing was bought.")
    return 0


def joined(words: list) -> list:
    """`--key KEY` as one word: a key may open with a dash, which would be taken for an option."""
    if "--key" in words[:-1]:
        at = words.index("--key")
        return [*words[:at], f"--key={words[at + 1]}", *words[at + 2 :]]
    return words


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", nargs="?", type=Path, default=Path(__file__).with_name("index.json"))
    parser.add_argument("--server", required=True, help="where picasso runs")
    parser.add_argument("--key", default=os.environ.get("API_KEY"), help="its API key, else the variable API_KEY")
    parser.add_argument("--images", type=Path, help="a folder with the images that jobs started from")
    parser.add_argument("--dry-run", action="store_true", help="tell what it may cost, and buy nothing")
    parser.add_argument("--budget", type=float, help="what each project may cost at most, in dollars")
    parser.add_argument("--wait", type=float, default=3600, help="seconds that one job may take")
    wishes = parser.parse_args(joined(sys.argv[1:]))
    try:
        recording = json.loads(wishes.recording.read_bytes())
        if recording["format"] != "picasso-replay/1":
            raise ValueError("not a recording that this script knows")
        server = Server(wishes.server, wishes.key)
        return (estimate if wishes.dry_run else replay)(server, recording, wishes)
    except (ServerError, OSError, ValueError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
