"""Cold starts, slowdown inside, own memory and throughput of wardian and its peers, in one interleaved run.

Every contestant runs once a round, in a shuffled order, so that what disturbs the machine disturbs all of them.
A run is posix_spawn to wait4, on one clock; the ratio is that of medians, to bare Python's.
"""
import argparse
import json
import os
import pathlib
import platform
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

PYTHON = "/usr/bin/python3.11" if os.path.exists("/usr/bin/python3.11") else os.path.realpath("/usr/bin/python3")
# What Python and numpy need: the trees that every contestant shows its guest.
TREES = ["/usr", "/etc/alternatives", "/etc/ld.so.cache"]
LINKS = [name for name in ("/bin", "/lib", "/lib64") if os.path.islink(name)]

WORKLOADS = {
    "hello": "print('hello')\n",
    "import-numpy": "import numpy\nprint(numpy.__version__)\n",
    "true": None,
}
CPU_BOUND = """\
import time
start = time.perf_counter()
total = 0
for i in range({loops}):
    total += i * i % 7
print(time.perf_counter() - start)
"""
SYSCALLS = """\
import os, time
start = time.perf_counter()
null = os.open("/dev/null", os.O_RDWR)
for _ in range({loops}):
    os.stat(__file__)
    os.write(null, b"x")
    os.close(os.open(__file__, os.O_RDONLY))
    os.getppid()
print(time.perf_counter() - start)
"""


def wardian(binary, directory, name):
    options = [binary, "run"]
    if name == "true":
        return options + ["--exec", "/bin/true"]
    return options + ["--python", PYTHON, f"{directory}/{name}.py"]


def guest_command(name):
    return ["/bin/true"] if name == "true" else [PYTHON, f"/box/{name}.py"]


def bwrap(directory, name):
    command = ["bwrap", "--unshare-all", "--die-with-parent", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    for tree in TREES:
        command += ["--ro-bind", tree, tree]
    for link in LINKS:
        command += ["--symlink", os.readlink(link), link]
    return command + ["--ro-bind", directory, "/box", "--chdir", "/box", *guest_command(name)]


def oci_runtime(directory, name, runtime):
    """crun or runc, with a bundle for one workload: an empty root, the trees bound into it."""
    bundle = pathlib.Path(directory, f"{runtime}-{name}")
    root = bundle / "root"
    root.mkdir(parents=True)
    for link in LINKS:
        (root / link[1:]).symlink_to(os.readlink(link))
    ro = ["bind", "ro", "nosuid", "nodev"]
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev"]},
        {"destination": "/box", "type": "bind", "source": directory, "options": ro},
    ]
    mounts += [{"destination": tree, "type": "bind", "source": tree, "options": ro} for tree in TREES]
    namespaces = [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]
    config = {
        "ociVersion": "1.0.0",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": guest_command(name),
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/box",
            "capabilities": {},
            "noNewPrivileges": True,
        },
        "root": {"path": "root", "readonly": True},
        "hostname": "guest",
        "mounts": mounts,
        "linux": {"namespaces": namespaces},
    }
    (bundle / "config.json").write_text(json.dumps(config))
    state = str(pathlib.Path(directory, f"{runtime}-state"))
    options = ["--cgroup-manager=disabled"] if runtime == "crun" else []
    return [runtime, *options, "--root", state, "run", "--bundle", str(bundle), f"wardian-bench-{name}"]


def firejail(directory, name):
    command = ["firejail", "--quiet", "--noprofile", "--net=none", "--seccomp", "--caps.drop=all", "--private-dev"]
    return command + (["/bin/true"] if name == "true" else [PYTHON, f"{directory}/{name}.py"])


def contestants(binary, directory, name):
    bare = ["/bin/true"] if name == "true" else [PYTHON, f"{directory}/{name}.py"]
    commands = {"bare": bare, "wardian": wardian(binary, directory, name)}
    if shutil.which("bwrap"):
        commands["bwrap"] = bwrap(directory, name)
    for runtime in ("crun", "runc"):
        if shutil.which(runtime):
            commands[runtime] = oci_runtime(directory, name, runtime)
    if shutil.which("firejail"):
        commands["firejail"] = firejail(directory, name)
    return commands


def spawn(command, output=os.devnull):
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    actions = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, output, flags, 0o600)]
    return os.posix_spawnp(command[0], command, os.environ, file_actions=actions)


def run(command):
    """Seconds from before the spawn until the end is known."""
    start = time.perf_counter()
    _, status, _ = os.wait4(spawn(command), 0)
    elapsed = time.perf_counter() - start
    if status:
        raise RuntimeError(f"{command[0]} ended with wait status {status:#x}")
    return elapsed


def working(commands):
    """Those that run here, each tried and so warmed; the reason for the others."""
    able = {}
    for name, command in commands.items():
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if result.returncode == 0:
            able[name] = command
            run(command)
        else:
            lines = (result.stderr or result.stdout).strip().splitlines() or ["no message"]
            print(f"  {name} cannot run here (exit {result.returncode}): {lines[-1]}", file=sys.stderr)
    return able


def summary(samples, base=None):
    tenths = statistics.quantiles(samples, n=10, method="inclusive")
    median = statistics.median(samples)
    figures = {"median_ms": median * 1e3, "p10_ms": tenths[0] * 1e3, "p90_ms": tenths[-1] * 1e3, "runs": len(samples)}
    if base:
        figures["ratio"] = median / base
    return figures


def compare(commands, rounds, pause):
    samples = {name: [] for name in commands}
    names = list(commands)
    for _ in range(rounds):
        random.shuffle(names)
        for name in names:
            if pause:
                time.sleep(pause)
            samples[name].append(run(commands[name]))
    base = statistics.median(samples["bare"])
    return {name: summary(taken, base) for name, taken in samples.items()}


def print_comparison(title, results):
    print(f"\n{title}\n  {'':10} {'median':>9} {'p10':>8} {'p90':>8} {'ratio':>7}   ({results['bare']['runs']} runs each)")
    for name, of in results.items():
        figures = f"{of['median_ms']:6.2f} ms {of['p10_ms']:8.2f} {of['p90_ms']:8.2f} {of['ratio']:7.3f}"
        extra = of["median_ms"] - results["bare"]["median_ms"]
        print(f"  {name:10} {figures}   {extra:+.2f} ms")


def inside_outside(commands, rounds, directory):
    """Each program's own clock around its loop, bare and in the sandbox."""
    output = f"{directory}/seconds"
    samples = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            _, status, _ = os.wait4(spawn(command, output), 0)
            if status:
                raise RuntimeError(f"{name} ended with wait status {status:#x}")
            samples[name].append(float(pathlib.Path(output).read_text()))
    base = statistics.median(samples["bare"])
    return {name: summary(taken, base) for name, taken in samples.items()}


def field_kib(path, prefix):
    lines = pathlib.Path(path).read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(prefix))


def own_memory(command, count):
    """KiB a sandbox that wardian's own processes take while so many guests sleep: pages (those that several share,
    as the program's file, divided among them) and page tables, per process."""
    supervisors = [spawn(command) for _ in range(count)]
    try:
        time.sleep(1.0)
        # A supervisor's only child; the guest is below that.
        own = {"wardian": supervisors, "wardian-init": children(supervisors)}
        return {
            name: {
                "pages_kib": sum(field_kib(f"/proc/{pid}/smaps_rollup", "Pss:") for pid in pids) / count,
                "private_dirty_kib": sum(field_kib(f"/proc/{pid}/smaps_rollup", "Private_Dirty") for pid in pids) / count,
                "page_tables_kib": sum(field_kib(f"/proc/{pid}/status", "VmPTE") for pid in pids) / count,
            }
            for name, pids in own.items()
        }
    finally:
        for pid in supervisors:
            os.kill(pid, signal.SIGTERM)
        for pid in supervisors:
            os.waitpid(pid, 0)


def children(parents):
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            rest = (entry / "stat").read_text().rsplit(")", 1)[1]
        except OSError:
            continue
        if int(rest.split()[1]) in parents:
            found.append(int(entry.name))
    return found


def throughput(command, workers, each):
    """Runs a second with so many at once."""
    failures = []

    def work():
        try:
            for _ in range(each):
                run(command)
        except RuntimeError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return workers * each / (time.perf_counter() - start)


def machine():
    cpu = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    memory = field_kib("/proc/meminfo", "MemTotal") / (1 << 20)
    groups = "v2" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "v1"
    version = subprocess.run([PYTHON, "-c", "import platform; print(platform.python_version())"], capture_output=True, text=True)
    return {
        "cpu": cpu[0] if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "kernel": platform.release(),
        "cgroup": groups,
        "python": f"{PYTHON} {version.stdout.strip()}",
        "as": "root" if os.geteuid() == 0 else "an ordinary user",
        "busy": round(busy(2.0), 3),
    }


def busy(seconds):
    """The part of the cores' time that others take now: the load average still knows of the build before."""
    def times():
        with open("/proc/stat") as stat:
            fields = [int(field) for field in stat.readline().split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    before = times()
    time.sleep(seconds)
    after = times()
    return 1 - (after[1] - before[1]) / max(after[0] - before[0], 1)


def write_programs(directory, quick):
    loops = 2_000_000 if quick else 10_000_000
    programs = {name: text for name, text in WORKLOADS.items() if text}
    programs["cpu"] = CPU_BOUND.format(loops=loops)
    programs["syscalls"] = SYSCALLS.format(loops=loops // 100)
    programs["sleep"] = "import time\ntime.sleep(30)\n"
    for name, text in programs.items():
        pathlib.Path(directory, f"{name}.py").write_text(text)
    os.chmod(directory, 0o755)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wardian", required=True, help="the release binary")
    parser.add_argument("--quick", action="store_true", help="a tenth of the samples")
    parser.add_argument("--json", metavar="FILE", help="write every figure here")
    options = parser.parse_args()
    rounds, paused, few = (20, 5, 5) if options.quick else (200, 40, 15)
    results = {"machine": machine(), "cold": {}, "inside": {}, "throughput": {}}
    print("machine: " + ", ".join(f"{key} {value}" for key, value in results["machine"].items()))
    if results["machine"]["busy"] > 0.1:
        print(f"WARNING: others take {results['machine']['busy']:.0%} of the cores: these figures are not to be trusted")

    with tempfile.TemporaryDirectory(prefix="wardian-bench-") as directory:
        # As installed: what a linker has written lies in the page cache in other, smaller pieces than what was copied.
        options.wardian = shutil.copy2(options.wardian, directory)
        write_programs(directory, options.quick)
        hello = {}
        for name in WORKLOADS:
            able = working(contestants(options.wardian, directory, name))
            if "bare" not in able:
                print(f"{name}: bare Python cannot run it, left out")
                continue
            hello = able if name == "hello" else hello
            for pause, count in ((0, rounds), (0.5, paused)):
                if pause and name == "import-numpy":
                    continue
                title = f"{name}, " + ("with pauses of 0.5 s" if pause else "back to back")
                results["cold"][title] = compare(able, count, pause)
                print_comparison(title, results["cold"][title])

        print("\ninside / outside (the program's own clock)")
        for name in ("cpu", "syscalls"):
            commands = {"bare": [PYTHON, f"{directory}/{name}.py"], "wardian": wardian(options.wardian, directory, name)}
            if "bwrap" in hello:
                commands["bwrap"] = bwrap(directory, name)
            results["inside"][name] = inside_outside(commands, few, directory)
            ratios = "  ".join(f"{key} {of['ratio']:.3f}" for key, of in results["inside"][name].items())
            print(f"  {name:10} {ratios}   (bare {results['inside'][name]['bare']['median_ms']:.0f} ms)")

        print("\nruns of hello a second")
        for workers in (1, 2, 8):
            each = max(10, 2 * rounds // workers)
            rates = {name: throughput(command, workers, each) for name, command in hello.items() if name in ("bare", "wardian", "bwrap")}
            results["throughput"][workers] = rates
            print(f"  {workers} at once  " + "  ".join(f"{name} {rate:.0f}" for name, rate in rates.items()))

        try:
            count = 8
            memory = own_memory(wardian(options.wardian, directory, "sleep"), count)
            results["own_memory"] = memory
            total = sum(of["pages_kib"] + of["page_tables_kib"] for of in memory.values())
            print(f"\nown memory of each of {count} running sandboxes: {total:.0f} KiB")
            for name, of in memory.items():
                print(f"  {name:13} " + ", ".join(f"{figure} {kib:.0f}" for figure, kib in of.items()))
        except OSError as error:
            print(f"\nown memory cannot be read: {error}")

    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
