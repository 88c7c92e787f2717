"""The supervisor with real child processes: small Python programs that live, die, disobey and leave children of their own."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import psutil
import pytest

from tracker import supervisor
from tracker.supervisor import Child, Supervisor

SLEEPS = "import time; time.sleep(60)"
IGNORES_SIGTERM = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
HAS_A_CHILD = f"""
import subprocess, sys, time
print(subprocess.Popen([sys.executable, '-c', {SLEEPS!r}]).pid, flush=True)
time.sleep(60)
"""


def python(name: str, program: str, **options: object) -> Child:
    return Child(name, (sys.executable, "-c", program), **options)  # type: ignore[arg-type]


def wait_until(holds: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def pid_in(path: Path) -> int:
    wait_until(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def kept(said: list[str]) -> Iterator[Supervisor]:
    made = Supervisor(report=said.append)
    yield made
    made.stop(0)


def test_a_dead_child_is_started_again_and_its_death_is_told(kept: Supervisor, said: list[str]) -> None:
    kept.add(python("worker", SLEEPS)).start()
    first = kept.pid("worker")

    kept.kill("worker")

    wait_until(lambda: kept.pid("worker") not in {None, first})
    assert kept.starts("worker") == 2
    assert said == ["worker was killed by SIGKILL: restarting in 0.2 s"]


def test_the_wait_before_a_restart_grows(kept: Supervisor, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_DELAY_S", 0.01)
    kept.add(python("worker", "raise SystemExit(3)")).start()

    wait_until(lambda: len(said) >= 4)

    assert said[:4] == [f"worker exited with 3: restarting in {delay:g} s" for delay in (0.01, 0.02, 0.04, 0.08)]


def test_the_wait_starts_afresh_after_a_steady_life(kept: Supervisor, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "STEADY_S", 0.0)
    monkeypatch.setattr(supervisor, "FIRST_DELAY_S", 0.01)
    kept.add(python("worker", "raise SystemExit(3)")).start()

    wait_until(lambda: len(said) >= 3)

    assert set(said) == {"worker exited with 3: restarting in 0.01 s"}


def test_a_child_that_never_stays_up_is_given_up(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_DELAY_S", 0.01)
    kept = Supervisor(report=said.append, give_up_after=3).add(python("worker", "raise SystemExit(3)"), python("other", SLEEPS))

    assert kept.run_until_signalled() == 1

    assert said[-1] == "worker exited with 3 3 times in a row: given up"
    assert kept.pid("other") is None


def test_a_child_not_to_be_restarted_may_end_well(kept: Supervisor) -> None:
    kept.add(python("once", "", restart=False)).start()
    wait_until(lambda: kept.exit_code("once") == 0)
    assert not kept.failures()
    assert kept.starts("once") == 1


def test_a_child_not_to_be_restarted_fails_with_its_exit_code(kept: Supervisor) -> None:
    kept.add(python("once", "raise SystemExit(4)", restart=False)).start()
    wait_until(kept.failures)
    assert kept.failures() == {"once": "exited with 4"}


def test_a_stop_ends_every_child_and_is_clean(kept: Supervisor) -> None:
    kept.add(python("one", SLEEPS), python("two", SLEEPS)).start()
    pids = [kept.pid("one"), kept.pid("two")]

    assert kept.stop(5)

    assert [pid for pid in pids if pid and lives(pid)] == []
    assert kept.exit_code("one") == -signal.SIGTERM


def test_each_child_is_asked_with_its_own_signal(kept: Supervisor, tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = "import signal, time; signal.signal(signal.SIGQUIT, lambda *_: exit(0)); print('up', flush=True); time.sleep(60)"
    kept.add(python("worker", program, stop_signal=signal.SIGQUIT, output=log)).start()
    wait_until(lambda: log.exists() and log.read_text())

    assert kept.stop(5)

    assert kept.exit_code("worker") == 0


def test_a_child_that_ignores_its_signal_is_killed_and_the_stop_is_not_clean(kept: Supervisor, tmp_path: Path) -> None:
    log = tmp_path / "log"
    kept.add(python("deaf", IGNORES_SIGTERM, output=log)).start()
    wait_until(lambda: log.exists() and log.read_text())

    assert not kept.stop(0.2)

    assert kept.exit_code("deaf") == -signal.SIGKILL


def test_a_child_that_answers_its_signal_with_a_failure_is_not_clean(kept: Supervisor, tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: exit(1)); print('up', flush=True); time.sleep(60)"
    kept.add(python("worker", program, output=log), python("celery", program, clean_exits=frozenset({0, 1}))).start()
    wait_until(lambda: log.exists() and log.read_text())

    assert not kept.end("worker")
    assert kept.end("celery")


def test_a_stopped_child_hears_its_signal(kept: Supervisor) -> None:
    kept.add(python("worker", SLEEPS)).start()
    kept.kill("worker", signal.SIGSTOP)
    assert kept.stop(5)


def test_a_grandchild_does_not_survive_a_stop(kept: Supervisor, tmp_path: Path) -> None:
    kept.add(python("parent", HAS_A_CHILD, output=tmp_path / "log")).start()
    grandchild = pid_in(tmp_path / "log")

    assert kept.stop(5)

    wait_until(lambda: not lives(grandchild))


def test_a_grandchild_does_not_survive_its_parents_crash(kept: Supervisor, tmp_path: Path) -> None:
    """A Celery worker that is killed leaves pool processes that would go on working beside its successor's."""
    kept.add(python("parent", HAS_A_CHILD, output=tmp_path / "log")).start()
    grandchild = pid_in(tmp_path / "log")

    kept.kill("parent")

    wait_until(lambda: kept.starts("parent") == 2)
    wait_until(lambda: not lives(grandchild))


def test_a_whole_group_can_be_paused(kept: Supervisor, tmp_path: Path) -> None:
    kept.add(python("parent", HAS_A_CHILD, output=tmp_path / "log")).start()
    grandchild = pid_in(tmp_path / "log")

    kept.kill("parent", signal.SIGSTOP, group=True)

    wait_until(lambda: psutil.Process(grandchild).status() == psutil.STATUS_STOPPED)


def test_one_child_can_be_ended_and_started_again(kept: Supervisor) -> None:
    kept.add(python("one", SLEEPS), python("two", SLEEPS)).start()
    other = kept.pid("two")

    assert kept.end("one")
    time.sleep(0.4)
    assert kept.pid("one") is None

    kept.start("one")
    assert kept.pid("one") is not None
    assert kept.pid("two") == other


def test_a_child_whose_settings_or_arguments_are_wrong_is_not_started_again(kept: Supervisor, said: list[str]) -> None:
    kept.add(python("worker", "raise SystemExit(2)", ready=lambda: False)).start()
    with pytest.raises(TimeoutError, match=r"worker is not ready: exited with 2, as it would again"):
        kept.wait_ready("worker", 10)
    assert kept.starts("worker") == 1
    assert said[-1] == "worker exited with 2, as it would again: given up"


def test_a_child_that_has_run_well_is_started_again_whatever_it_exits_with(kept: Supervisor, tmp_path: Path) -> None:
    """A file may be away for a moment, or nothing more can be opened: Celery exits with 2 of any error while it loads."""
    count = tmp_path / "count"
    program = f"""
import pathlib, time
count = pathlib.Path({str(count)!r})
starts = len(count.read_text()) if count.exists() else 0
count.write_text("x" * (starts + 1))
if starts == 1:
    raise SystemExit(2)
time.sleep(60)
"""
    kept.add(python("worker", program)).start()
    wait_until(lambda: count.exists() and len(count.read_text()) == 1)
    kept.kill("worker")
    wait_until(lambda: len(count.read_text()) == 3)
    assert kept.failures() == {}


def test_ready_is_what_the_child_says(kept: Supervisor, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    kept.add(
        python("worker", f"import pathlib, time; time.sleep(0.2); pathlib.Path({str(flag)!r}).touch(); time.sleep(60)", ready=flag.exists)
    ).start()
    kept.wait_ready("worker", 10)
    assert flag.exists()


def test_waiting_for_a_child_that_is_never_ready_says_how_it_is(kept: Supervisor) -> None:
    kept.add(python("worker", SLEEPS, ready=lambda: False)).start()
    with pytest.raises(TimeoutError, match=r"worker is not ready after 0\.2 s: it runs"):
        kept.wait_ready("worker", 0.2)


def test_it_can_be_used_from_another_thread(kept: Supervisor) -> None:
    """A child must outlive the thread that started it."""
    thread = threading.Thread(target=lambda: kept.add(python("worker", SLEEPS)).start())
    thread.start()
    thread.join()
    time.sleep(0.3)
    assert kept.starts("worker") == 1
    assert kept.pid("worker") is not None


def test_outside_the_main_thread_a_stop_is_asked_for(kept: Supervisor) -> None:
    codes: list[int] = []
    kept.add(python("worker", SLEEPS))
    thread = threading.Thread(target=lambda: codes.append(kept.run_until_signalled(5)))
    thread.start()
    wait_until(lambda: kept.starts("worker"))

    kept.request_stop()

    thread.join(10)
    assert codes == [0]


def test_two_children_cannot_share_a_name(kept: Supervisor) -> None:
    kept.add(python("worker", SLEEPS))
    with pytest.raises(ValueError, match="worker"):
        kept.add(python("worker", SLEEPS))


def test_a_missing_program_is_named(kept: Supervisor) -> None:
    kept.add(Child("worker", ("no-such-program-here",)))
    with pytest.raises(FileNotFoundError, match="no-such-program-here"):
        kept.start()


class Script:
    """A supervisor as a program of its own, to be signalled like one."""

    def __init__(self, folder: Path, child: str, **options: object) -> None:
        self.log = folder / "child.log"
        output = "None" if options.get("prefix") else f"Path({str(self.log)!r})"
        program = (
            "import sys\n"
            "from pathlib import Path\n"
            "from tracker.supervisor import Child, Supervisor\n"
            f"child = Child('worker', (sys.executable, '-c', {child!r}), output={output})\n"
            f"supervisor = Supervisor(prefix={options.get('prefix', False)}).add(child)\n"
            f"sys.exit(supervisor.run_until_signalled({options.get('timeout_s', 5)}))\n"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=Path(__file__).parents[2]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_children_and_the_exit_code_is_zero(tmp_path: Path, number: signal.Signals) -> None:
    with Script(tmp_path, HAS_A_CHILD) as script:
        grandchild = pid_in(script.log)
        script.process.send_signal(number)
        assert script.process.wait(10) == 0
        wait_until(lambda: not lives(grandchild))


def test_a_stop_cut_short_exits_with_one(tmp_path: Path) -> None:
    with Script(tmp_path, IGNORES_SIGTERM, timeout_s=0.3) as script:
        wait_until(lambda: script.log.exists() and script.log.read_text())
        script.process.terminate()
        assert script.process.wait(10) == 1


def test_a_second_signal_kills_at_once(tmp_path: Path) -> None:
    with Script(tmp_path, IGNORES_SIGTERM, timeout_s=60) as script:
        wait_until(lambda: script.log.exists() and script.log.read_text())
        script.process.terminate()
        time.sleep(0.5)
        script.process.terminate()
        assert script.process.wait(10) == 1


def test_children_and_grandchildren_do_not_survive_the_supervisors_own_death(tmp_path: Path) -> None:
    with Script(tmp_path, HAS_A_CHILD) as script:
        grandchild = pid_in(script.log)
        child = psutil.Process(grandchild).ppid()

        os.kill(script.process.pid, signal.SIGKILL)

        wait_until(lambda: not lives(child) and not lives(grandchild))


def test_a_deaf_child_does_not_survive_the_supervisors_own_death_either(tmp_path: Path) -> None:
    with Script(
        tmp_path, f"import os; print(os.getpid(), flush=True); {IGNORES_SIGTERM.replace('print', 'str').replace(', flush=True', '')}"
    ) as script:
        child = pid_in(script.log)
        os.kill(script.process.pid, signal.SIGKILL)
        wait_until(lambda: not lives(child))


def test_output_lines_carry_the_childs_name(tmp_path: Path) -> None:
    with Script(tmp_path, "print('hello', flush=True); import time; time.sleep(60)", prefix=True) as script:
        assert script.process.stdout is not None
        assert script.process.stdout.readline() == "worker     | hello\n"
        script.process.terminate()
        assert script.process.wait(10) == 0
