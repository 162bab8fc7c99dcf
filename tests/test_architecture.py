"""The house's rules that a reader could break without noticing, read from the source itself."""

import ast
import functools
import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from app.settings import Settings
from tests.support.deadlines import LONG

ROOT = Path(__file__).parents[1]
ROOMS = ("app", "graphs", "tools", "adapters", "generators")
TOP = {*ROOMS, "migrations", "seed", "templates", "tests", "pyproject.toml", "README.md", "AGENTS.md"}

OURS = {
    "tools": set[str](),
    "adapters": {"tools"},
    "generators": {"tools"},
    "graphs": {"tools", "adapters", "generators"},
    "app": {"tools", "adapters", "generators", "graphs"},
}
"""Which rooms a room may look into, besides itself."""

THIRD_PARTY = {
    "tools": {"msgspec", "PIL", "imagehash", "httpx", "httpcore", "anyio", "langchain_core", "tinycss2"},
    "adapters": {"msgspec", "PIL", "numpy", "httpx", "openai", "google", "langchain_openai", "langchain_google_genai"},
    "generators": {"msgspec", "jinja2", "markupsafe", "nh3", "PIL", "av", "typst"},
    "graphs": {"msgspec", "langgraph", "langchain_core", "pydantic"},
}
"""What a room may touch of others' code; `app` may touch all that pyproject.toml names."""

TASK_OWNERS = {
    "app/bindings/ai/listings.py": "read_listings, which cancels and waits",
    "app/ops/studio.py": "studio_env, for as long as its event loop runs",
    "app/lifecycle.py": "Lifecycle.begin, whose task Lifecycle.close waits for",
    "app/worker.py": "run and Runner._run_renders, which end what they started",
    "app/bindings/actor.py": "open_actor and SessionBuffer.close, which cancel and wait",
    "app/bindings/queue.py": "RedisQueue.close, which waits for it and then cancels",
    "app/bindings/redis/provider_limiter.py": "ProviderLimiter.close, which cancels and gathers",
    "app/bindings/redis/scripts.py": "BatchScript.run, which cancels and gathers",
    "app/routes/stream.py": "_until_first, which cancels and gathers",
    "app/bindings/redis/connection.py": "_tended, which cancels and gathers",
    "graphs/heartbeat.py": "heartbeat, which cancels and gathers",
}
"""Files that may start a task outside a TaskGroup, and who awaits it."""

READ_LATER = set[str]()
"""Settings of the contract that are parsed already, so that a deployment's file need not change, and read by what is
not built yet. A name that gets its reader must leave this list."""

SOURCES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def each_source(rule: Callable[[Path], None]) -> Callable[[], None]:
    """The rule as one test over all source files; a failure names the file."""

    def over_all_sources() -> None:
        for path in SOURCES:
            try:
                rule(path)
            except AssertionError as broken:
                broken.add_note(f"in {path.relative_to(ROOT)}")
                raise

    over_all_sources.__name__, over_all_sources.__doc__ = rule.__name__, rule.__doc__
    return over_all_sources


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """The full names of all modules a file imports, inside functions too."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import hides where it leads"
            yield node.module or ""


def imported_names(path: Path, module: str) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.module == module:
            yield from (alias.name for alias in node.names)


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def names(path: Path) -> Iterator[tuple[int, str]]:
    """Every name and attribute a file reads, with its line."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.alias):
            yield node.lineno, node.name


@each_source
def test_nobody_looks_back(path: Path) -> None:
    """app → graphs → adapters, generators → tools: an arrow, not a web."""
    room = room_of(path)
    seen = {name.partition(".")[0] for name in imports(path)} & {*ROOMS, "tests"}
    assert seen <= OURS[room] | {room}


@each_source
def test_each_room_touches_only_its_libraries(path: Path) -> None:
    """Third-party imports stand in the room that owns them."""
    room = room_of(path)
    if room == "app":
        return
    foreign = {name.partition(".")[0] for name in imports(path)} - {*ROOMS} - set(sys.stdlib_module_names)
    assert foreign <= THIRD_PARTY[room]


def test_the_top_level_is_exactly_as_given() -> None:
    """A newcomer finds these names and no others; dot-entries aside."""
    present = {entry.name for entry in ROOT.iterdir() if not entry.name.startswith(".")}
    assert present - {"__pycache__", "dist"} - {e.name for e in ROOT.glob("*.egg-info")} == TOP


def test_settings_are_the_only_readers_of_the_environment() -> None:
    """One place reads os.environ, so a test or a second deployment can hand in another mapping."""
    doors = {"os.environ", "os.environb", "os.getenv", "os.getenvb"}
    readers = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if doors & {ast.unparse(node) for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute)}
        or any(name in ("environ", "getenv") for name in imported_names(path, "os"))
    }
    assert readers == {"app/settings.py"}


def test_every_setting_is_read_somewhere() -> None:
    """No dead option: each field of Settings is used outside the file that parses it."""
    fields = set(Settings.__struct_fields__)
    read = {
        node.attr
        for path in SOURCES
        if path.name != "settings.py"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).split(".")[-1].lstrip("_") == "settings"
    }
    assert fields - read == READ_LATER


@each_source
def test_no_work_hides_in_the_process(path: Path) -> None:
    """Tasks belong to a TaskGroup or to an owner named above; nothing runs after an answer."""
    hidden = {"BackgroundTask", "BackgroundTasks", "run_coroutine_threadsafe"}
    assert not hidden & {name for _, name in names(path)}
    assert not list(loose_tasks(path)) or str(path.relative_to(ROOT)) in TASK_OWNERS


def loose_tasks(path: Path) -> Iterator[int]:
    """Lines that start a task which no TaskGroup owns."""
    yield from (call.lineno for call in calls(path, "create_task") if not is_group(call))
    yield from (call.lineno for call in calls(path, "ensure_future"))


def calls(path: Path, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            if called == name:
                yield node


def is_group(call: ast.Call) -> bool:
    """`group.create_task(…)` on something other than asyncio or a loop."""
    return isinstance(call.func, ast.Attribute) and not ast.unparse(call.func.value).split("(")[0].endswith(
        ("asyncio", "loop", "get_running_loop")
    )


def test_the_owners_of_tasks_are_real() -> None:
    """The list above names no file that has no task of its own."""
    for name in TASK_OWNERS:
        assert list(loose_tasks(ROOT / name))


@each_source
def test_every_queue_has_a_bound(path: Path) -> None:
    """A queue without `maxsize` is memory somebody else decides about."""
    for call in itertools.chain(calls(path, "Queue"), calls(path, "LifoQueue"), calls(path, "PriorityQueue")):
        assert call.args or any(keyword.arg == "maxsize" for keyword in call.keywords), call.lineno


@each_source
def test_images_and_vendors_are_opened_through_their_doors(path: Path) -> None:
    """Only tools/fetch.py and the listed clients make an HTTP client, so there is no second way out.

    The client in adapters/gemini/images.py is the SDK's, which sends through `env.AI.http`.
    """
    makers = {str(path.relative_to(ROOT)) for _ in (*calls(path, "AsyncClient"), *calls(path, "Client"))}
    doors = {
        "tools/fetch.py",
        "app/cli/client.py",
        "app/bindings/ai/registry.py",
        "app/bindings/images/cloudflare.py",
        "adapters/gemini/images.py",
    }
    assert makers <= doors


@each_source
def test_names_are_nouns_of_the_domain(path: Path) -> None:
    """Manager, Service, Helper, Util: words for a noun that was not found."""
    vague = ("Manager", "Service", "Helper", "Util", "Utils", "Factory", "Processor", "Wrapper")
    assert not [n.name for n in ast.walk(tree(path)) if isinstance(n, ast.ClassDef) and n.name.endswith(vague)]
    assert path.stem not in {"utils", "util", "helpers", "common", "misc", "core", "base"}


IMPORT_ALL = """
import importlib, pathlib, sys
def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system"):
        raise SystemExit(f"{event} at import: {args}")
sys.addaudithook(refuse)
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    importlib.import_module(name)
"""


def test_modules_import_with_nothing_set_and_nobody_there() -> None:
    """No setting is needed, no socket opened and no program started by an import."""
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in SOURCES]
    command = [sys.executable, "-W", "error", "-c", IMPORT_ALL, str(ROOT), *modules]
    ended = subprocess.run(command, env={}, cwd="/", capture_output=True, text=True, timeout=LONG)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_command_line_is_light() -> None:
    """Children that work on images import the main file: it must not load the application."""
    code = "import sys, runpy; runpy.run_path(sys.argv[1], run_name='__mp_main__'); print(*sys.modules)"
    main = str(ROOT / "app" / "__main__.py")
    ended = subprocess.run([sys.executable, "-I", "-c", code, main], capture_output=True, text=True, timeout=LONG)
    assert ended.returncode == 0, ended.stderr
    heavy = {"app", "asyncio", "msgspec", "httpx", "rich", "litestar", "langgraph", "PIL", "redis"}
    assert not heavy & {name.partition(".")[0] for name in ended.stdout.split()}
