import contextlib
import fcntl
import functools
import json
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hermes_oscron import files as file_access
from hermes_oscron.files import StateFileError, file_signature
from hermes_oscron.hermes import jobs_file
from hermes_oscron.hermes.home import Home
from hermes_oscron.hermes.jobs_file import JobNotFound
from hermes_oscron.jobs.record import Record

from ..conftest import needs_root, stored, wait_for, write_jobs

WRITER = """
import sys
from hermes_oscron.hermes import jobs_file
from hermes_oscron.hermes.home import hermes_root, home_of
home = home_of(hermes_root(), "default")
for n in range(int(sys.argv[2])):
    jobs_file.add(home, {"id": f"{sys.argv[1]}-{n}", "prompt": "p" * int(sys.argv[3])})
    print(f"{sys.argv[1]}-{n}", flush=True)
"""


def writer(name: str, count: int, size: int = 10) -> "subprocess.Popen[str]":
    """A process that adds `count` jobs of `size` characters and prints the id of each once it is added."""
    return subprocess.Popen([sys.executable, "-c", WRITER, name, str(count), str(size)], stdout=subprocess.PIPE,
                            text=True)


def change(home: Home, job_id: str, update: Callable[[Record], Record]) -> Record:
    """Change the record of `job_id` and return it."""
    jobs_file.change_each(home, [job_id], update)
    return jobs_file.find(home, job_id)


def rename(record: Record) -> Record:
    return {**record, "name": "renamed"}


def files(root: Path) -> set[str]:
    return {path.name for path in (root / "cron").iterdir()}


@contextlib.contextmanager
def small_disk(path: Path) -> Iterator[None]:
    """A file system of 64 KiB at `path`."""
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)


def test_a_home_without_a_file_has_no_jobs(home: Home, root: Path) -> None:
    assert jobs_file.read(home) == []
    assert not (root / "cron").exists()


def test_added_jobs_are_read_and_found_in_order(home: Home) -> None:
    for job_id in ("b", "a", "c"):
        jobs_file.add(home, {"id": job_id, "prompt": "é"})
    assert [record["id"] for record in jobs_file.read(home)] == ["b", "a", "c"]
    assert jobs_file.find(home, "a") == {"id": "a", "prompt": "é"}


def test_a_change_and_a_removal_do_not_affect_other_jobs(home: Home) -> None:
    for job_id in ("a", "b", "c"):
        jobs_file.add(home, {"id": job_id})
    assert change(home, "b", rename) == {"id": "b", "name": "renamed"}
    assert jobs_file.remove(home, "a") == {"id": "a"}
    assert jobs_file.read(home) == [{"id": "b", "name": "renamed"}, {"id": "c"}]


def test_a_missing_job_is_an_error_and_changes_nothing(home: Home, root: Path) -> None:
    jobs_file.add(home, {"id": "a"})
    before = (root / "cron" / "jobs.json").read_bytes()
    for fails in (lambda: jobs_file.find(home, "x"), lambda: change(home, "x", rename),
                  lambda: jobs_file.remove(home, "x")):
        with pytest.raises(JobNotFound, match="'x'"):
            fails()
    assert (root / "cron" / "jobs.json").read_bytes() == before


def test_a_change_that_fails_or_changes_nothing_does_not_write(home: Home, root: Path) -> None:
    jobs_file.add(home, {"id": "a", "list": [1]})
    before = (root / "cron" / "jobs.json").stat()

    def fail(record: Record) -> Record:
        raise KeyError("no")

    with pytest.raises(KeyError):
        change(home, "a", fail)
    change(home, "a", lambda record: dict(record))
    assert jobs_file.find(home, "a") == {"id": "a", "list": [1]}
    assert (root / "cron" / "jobs.json").stat().st_ino == before.st_ino


def test_a_change_of_several_jobs_reads_the_file_once(home: Home, root: Path) -> None:
    path = write_jobs(root, {"id": "a"})

    def edit(record: Record) -> Record:
        write_jobs(root, {"id": "a"}, {"id": "b"})  # an editor does not take the lock
        return rename(record)

    with pytest.raises(JobNotFound, match="'b'"):
        jobs_file.change_each(home, ["a", "b"], edit)
    assert json.loads(path.read_text())["jobs"] == [{"id": "a"}, {"id": "b"}]


def test_the_file_has_the_agent_s_format_and_only_its_owner_can_read_it(home: Home, root: Path) -> None:
    jobs_file.add(home, {"id": "a"})
    path = root / "cron" / "jobs.json"
    content = json.loads(path.read_text())
    assert (content["jobs"], set(content)) == ([{"id": "a"}], {"jobs", "updated_at"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)
    change(home, "a", rename)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_unknown_keys_are_preserved(home: Home, root: Path) -> None:
    path = write_jobs(root, {"id": "a", "new": {"x": [None, 1.5, "é"]}}, "odd", {"id": "../x"},  # type: ignore[arg-type]
                      version=7, nested={"k": []})
    change(home, "a", rename)
    jobs_file.add(home, {"id": "b"})
    content = json.loads(path.read_text())
    assert content["jobs"] == [{"id": "a", "new": {"x": [None, 1.5, "é"]}, "name": "renamed"}, "odd",
                               {"id": "../x"}, {"id": "b"}]
    assert (content["version"], content["nested"]) == (7, {"k": []})


def test_an_entry_that_is_not_a_job_is_not_read(home: Home, root: Path) -> None:
    write_jobs(root, {"id": "a"}, "odd", {"id": "../x"})  # type: ignore[arg-type]
    assert jobs_file.read(home) == [{"id": "a"}]


def test_a_bare_list_and_a_byte_order_mark_are_read_as_the_agent_reads_them(home: Home, root: Path) -> None:
    path = root / "cron" / "jobs.json"
    path.parent.mkdir()
    for content in (b'[{"id": "a"}]', b'\xef\xbb\xbf{"jobs": [{"id": "a"}]}', b'\xef\xbb\xbf[{"id": "a"}]',
                    b'{"jobs": [{"id": "a"}]}\n\n', b'{"jobs":\t[{"id": "a"}], "note": "a\tb"}'):
        path.write_bytes(content)
        assert jobs_file.read(home) == [{"id": "a"}], content
        jobs_file.add(home, {"id": "b"})
        assert json.loads(path.read_text())["jobs"] == [{"id": "a"}, {"id": "b"}]


def test_a_change_by_another_program_is_seen_at_once(home: Home, root: Path) -> None:
    jobs_file.add(home, {"id": "a"})
    write_jobs(root, {"id": "a", "by": "agent"}, {"id": "b"})
    assert jobs_file.read(home) == [{"id": "a", "by": "agent"}, {"id": "b"}]
    assert change(home, "a", rename) == {"id": "a", "by": "agent", "name": "renamed"}
    (root / "cron" / "jobs.json").unlink()
    assert jobs_file.read(home) == []


@pytest.mark.parametrize("content", [b"", b"{", b"5", b"\xff\xfe\x00",
                                     b"[" * 100_000])
def test_an_unreadable_file_is_always_refused_and_not_changed(home: Home, root: Path, content: bytes) -> None:
    path = root / "cron" / "jobs.json"
    path.parent.mkdir()
    path.write_bytes(content)
    for verb in (lambda: jobs_file.read(home), lambda: jobs_file.find(home, "a"),
                 lambda: jobs_file.add(home, {"id": "a"}), lambda: change(home, "a", rename),
                 lambda: jobs_file.remove(home, "a")):
        with pytest.raises(StateFileError) as error:
            verb()
        assert str(path) in str(error.value)
    assert path.read_bytes() == content


def test_a_file_behind_a_link_is_replaced_and_the_link_stays(home: Home, root: Path, tmp_path: Path) -> None:
    (root / "cron").mkdir()
    (tmp_path / "real.json").write_text('{"jobs": []}')
    (root / "cron" / "jobs.json").symlink_to(tmp_path / "real.json")
    jobs_file.add(home, {"id": "a"})
    assert (root / "cron" / "jobs.json").is_symlink()
    assert json.loads((tmp_path / "real.json").read_text())["jobs"] == [{"id": "a"}]


def test_eight_concurrent_writers_lose_no_change(home: Home, root: Path) -> None:
    processes = [writer(str(n), 25) for n in range(8)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert {record["id"] for record in stored(root)} == {f"{n}-{i}" for n in range(8) for i in range(25)}
    assert len(jobs_file.read(home)) == 200
    assert files(root) == {"jobs.json", ".jobs.lock"}


def test_a_writer_killed_at_any_instant_leaves_a_complete_file(home: Home, root: Path) -> None:
    added: set[str] = set()
    for n in range(10):
        process = writer(str(n), 100_000, size=20_000)
        assert process.stdout
        added.add(process.stdout.readline().strip())
        time.sleep(random.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        added |= set(process.communicate()[0].split())
        found = {record["id"] for record in stored(root)}
        assert found >= added
        assert len(found - added) <= n + 1
    jobs_file.add(home, {"id": "last"})
    assert jobs_file.find(home, "last")


def test_a_writer_waits_for_hermes_s_own_lock(home: Home, root: Path) -> None:
    (root / "cron").mkdir()
    with (root / "cron" / ".jobs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = writer("a", 1)
        time.sleep(0.4)
        assert process.poll() is None and not (root / "cron" / "jobs.json").exists()
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert process.communicate(timeout=10)[0] == "a-0\n"
    assert stored(root)[0]["id"] == "a-0"


def test_a_writer_holds_hermes_s_own_lock(home: Home, root: Path) -> None:
    jobs_file.add(home, {"id": "a"})
    taken = []

    def look(record: Record) -> Record:
        with (root / "cron" / ".jobs.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                taken.append(record["id"])
        return record

    change(home, "a", look)
    assert taken == ["a"]


def test_a_lock_that_is_never_released_is_named(home: Home, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_file, "locked", functools.partial(file_access.locked, timeout_s=0.1))
    (root / "cron").mkdir()
    with (root / "cron" / ".jobs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StateFileError, match=r"\.jobs\.lock has been locked"):
            jobs_file.add(home, {"id": "a"})
    assert jobs_file.read(home) == []


def test_readers_need_no_lock_and_never_see_half_a_file(home: Home, root: Path) -> None:
    jobs_file.add(home, {"id": "a"})
    process = writer("w", 60, size=50_000)
    seen = 0
    while process.poll() is None:
        records = jobs_file.read(home)
        assert records[0] == {"id": "a"} and len(records) >= seen
        seen = len(records)
    process.communicate()
    assert len(jobs_file.read(home)) == 61


@needs_root
def test_a_full_disk_leaves_the_old_file_intact(home: Home, root: Path) -> None:
    with small_disk(root / "cron"):
        jobs_file.add(home, {"id": "a"})
        before = (root / "cron" / "jobs.json").read_bytes()
        with pytest.raises(StateFileError, match=r"jobs\.json cannot be written: No space left"):
            jobs_file.add(home, {"id": "b", "prompt": "p" * 100_000})
        with pytest.raises(StateFileError, match="No space left"):
            change(home, "a", lambda record: {**record, "prompt": "p" * 100_000})
        assert (root / "cron" / "jobs.json").read_bytes() == before
        assert files(root) == {"jobs.json", ".jobs.lock"}
        assert jobs_file.read(home) == [{"id": "a"}]
        jobs_file.add(home, {"id": "c"})
        assert jobs_file.read(home) == [{"id": "a"}, {"id": "c"}]


def test_concurrent_threads_of_one_process_lose_no_change(home: Home) -> None:
    jobs_file.add(home, {"id": "a", "count": 0})

    def count() -> None:
        for _ in range(10):
            change(home, "a", lambda record: {**record, "count": record["count"] + 1})

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: not any(thread.is_alive() for thread in threads), 30)
    assert jobs_file.find(home, "a")["count"] == 40


def test_the_signature_changes_with_every_write(home: Home) -> None:
    assert file_signature(home.jobs_file) is None
    seen = set()
    for n in range(5):
        jobs_file.add(home, {"id": str(n)})
        seen.add(file_signature(home.jobs_file))
    assert len(seen) == 5


def warm(home: Home) -> object:
    """Return what this process reads, which knows the content before the last change, or the error."""
    try:
        return jobs_file.read(home)
    except StateFileError as error:
        return str(error)


def cold(home: Home) -> object:
    """Return what a process that knows no earlier content reads, or the error."""
    jobs_file.forget(home)
    return warm(home)


def test_a_change_of_some_lines_is_read_as_the_whole_file_is(home: Home, root: Path) -> None:
    dice = random.Random(7)
    path = write_jobs(root)
    for n in range(6):
        jobs_file.add(home, {"id": f"j{n}", "prompt": 'a "quoted"\n],\n{"id": "x"},\nü', "big": 10**30, "n": n})
    known = path.read_bytes()
    splices = [b"", b"\n", b",\n", b"\n],\n", b"{}", b"}", b'"', b"[", b"]", b"1", b'{"jobs": [\n', b'"jobs": [],',
               b"\xff", b'{"id": "j1", "prompt": "other"}', b'{"id": "new"},\n', b'{"prompt": "no id"},\n', b"null,\n"]
    for _ in range(3000):
        at = dice.randrange(len(known) + 1)
        content = known[:at] + dice.choice(splices) + known[at + dice.choice([0, 0, 1, 2, 40, 300]):]
        path.write_bytes(known)
        cold(home)
        path.write_bytes(content)
        assert warm(home) == cold(home), content


def test_unchanged_lines_are_the_same_records_after_a_change_by_others(home: Home, root: Path) -> None:
    path = write_jobs(root)
    for n in range(3):
        jobs_file.add(home, {"id": f"j{n}", "n": n})
    before = jobs_file.read(home)
    path.write_bytes(path.read_bytes().replace(b'"n": 1', b'"n": 7'))
    after = jobs_file.read(home)
    assert [a is b for a, b in zip(before, after, strict=True)] == [True, False, True] and after[1]["n"] == 7
