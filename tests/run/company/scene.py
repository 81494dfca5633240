"""scene.py: what the tests with several processes share: a scene is one scenario's run with one seed, with a
directory of its own, its processes, and a time limit after which all of them are killed.

    @scenario("group/name", seconds=20)      registers a function; `short=True`: part of the short form
    def name(scene): …                       raises Wrong when something is not as it must be

A test is right if it passes with no process under Faultline, and with all; `scene.under = False` runs all
natively (`run --native`), which proves the test.
"""

import fnmatch
import glob
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

PYTHON = "/usr/bin/python3"  # Debian's, with its lmdb
HERE = os.path.dirname(os.path.abspath(__file__))
SCENARIOS = []
# Held while a process is started, and while a test's file is open for writing: between fork and exec a child
# has the descriptors of all scenes, and would count as one more writer of the file.
FORKING = threading.Lock()


class Wrong(Exception):
    """A check of the scenario failed."""


class Skip(Exception):
    """The scenario cannot be run here; the message is the reason."""


class Scenario:
    def __init__(self, name, function, args, seconds, short):
        self.name, self.function, self.args = name, function, args
        self.seconds, self.short = seconds, short


def scenario(name, args=(), seconds=20, short=True):
    """The function is a scenario: it is called with the scene and `args`."""

    def register(function):
        SCENARIOS.append(Scenario(name, function, args, seconds, short))
        return function

    return register


def chosen(pattern, short):
    """The scenarios whose name contains the pattern, or matches it."""
    found = [each for each in SCENARIOS if pattern in each.name or fnmatch.fnmatch(each.name, pattern)]
    return [each for each in found if each.short or not short]


class Process:
    """A process of the scene: under Faultline or not; its standard error is a file."""

    def __init__(self, scene, argv, faultline, before=(), **more):
        self.scene, self.faultline = scene, faultline
        number = len(scene.processes)
        self.errors = os.path.join(scene.directory, f"stderr.{number}")
        self.stats_path = os.path.join(scene.directory, f"stats.{number}")
        if faultline is not None:
            argv = [*scene.command(self.stats_path, **faultline), *argv]
        self.argv = argv = [*before, *argv]
        with FORKING, open(self.errors, "wb") as errors:
            self.popen = subprocess.Popen(argv, stderr=errors, cwd=scene.directory, **more)
        scene.processes.append(self)

    def kill(self, number=signal.SIGKILL):
        """Kills the whole group: sudo or a shell has children."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)

    def wait(self):
        """The exit status; the scene's deadline kills what takes too long."""
        status = self.popen.wait()
        self.scene.in_time()
        return status

    def stderr(self):
        with open(self.errors, encoding="utf-8", errors="replace") as file:
            return file.read()

    def messages(self):
        """The shim's own lines."""
        return [line for line in self.stderr().splitlines() if line.startswith("faultline: ")]

    def stats(self):
        """What --stats wrote at the exit."""
        if not os.path.exists(self.stats_path):
            raise Wrong(f"no stats of {self.argv[-3:]}: {self.stderr()[-300:]}")
        with open(self.stats_path, encoding="ascii") as file:
            return json.load(file)


class Scene:
    def __init__(self, scenario, seed, options):
        self.scenario, self.seed, self.options = scenario, seed, options
        self.rng = random.Random(f"{scenario.name}/{seed}")
        self.directory = tempfile.mkdtemp(prefix="company-", dir=os.getcwd())
        self.processes, self.drawn, self.late, self.where, self.skipped = [], [], False, "", None
        self.timer = threading.Timer(scenario.seconds * options.patience, self._too_late)
        self.timer.daemon = True
        self.thread = threading.get_ident()

    # ---- processes

    def command(self, stats, memory="4M", min_size=None, engine=None):
        argv = [self.options.faultline, "run", "--memory", memory, "--stats", stats]
        argv += ["--min-size", str(min_size)] if min_size is not None else []
        argv += ["--fault", engine] if engine is not None and self.options.engines else []
        return [*argv, "--"]

    def start(self, argv, under, before=(), **more):
        """under: None natively, else the options of faultline run: memory, min_size, engine."""
        return Process(self, argv, None if self.options.native else under, before, **more)

    def path(self, name):
        return os.path.join(self.directory, name)

    def say(self, what):
        """Adds a value that the seed drew to the report of a failure."""
        self.drawn.append(what)

    def pause(self, seconds):
        time.sleep(seconds)
        self.in_time()

    # ---- time

    def _too_late(self):
        frame = sys._current_frames().get(self.thread)
        stack = traceback.extract_stack(frame) if frame is not None else []
        self.where = " < ".join(f"{each.name}:{each.lineno}" for each in reversed(stack[-6:]))
        self.late = True
        for process in list(self.processes):
            self.drawn += waiting(process)
            process.kill(signal.SIGKILL)

    def in_time(self):
        if self.late:
            raise Wrong(f"it takes more than {self.timer.interval:.0f} s; at {self.where}")

    def run(self):
        """None if the scenario passed, else what was wrong, with the last output of the processes."""
        self.timer.start()
        try:
            self.scenario.function(self, *self.scenario.args)
            self.in_time()
            return None
        except Skip as skip:
            self.skipped = str(skip)
            return None
        except Wrong as wrong:
            return self._report(str(wrong))
        except (OSError, ValueError, EOFError):
            if self.late:
                return self._report(f"it takes more than {self.timer.interval:.0f} s; at {self.where}")
            return self._report(traceback.format_exc())
        finally:
            self.timer.cancel()
            for process in self.processes:
                process.kill(signal.SIGKILL)
                process.popen.wait()
                for stream in (process.popen.stdin, process.popen.stdout):
                    if stream is not None:
                        stream.close()
            if not self.options.keep:
                shutil.rmtree(self.directory, True)

    def _report(self, wrong):
        lines = [wrong, *("  drawn: " + what for what in self.drawn)]
        for number, process in enumerate(self.processes):
            said = process.stderr().strip().splitlines()
            status = process.popen.poll()
            who = (
                "under Faultline" if process.faultline is not None and not self.options.native else "natively"
            )
            lines.append(f"  process {number}, {who}, status {status}: " + " | ".join(said[-6:])[-900:])
        return "\n".join(lines)


def waiting(process):
    """The kernel stacks of the threads of a live process."""
    found = []
    for task in sorted(glob.glob(f"/proc/{process.popen.pid}/task/*")):
        try:
            with open(task + "/wchan", encoding="ascii") as wchan, open(
                task + "/syscall", encoding="ascii"
            ) as call:
                found.append(f"thread {os.path.basename(task)}: {wchan.read()}, {call.read().strip()}")
        except OSError:
            continue  # it has ended meanwhile
    return found


def wait_until(scene, condition, pause=0.002):
    while not condition():
        scene.in_time()
        time.sleep(pause)
