"""The folder of kernels: whom it trusts, what it takes for a kernel, what a kernel depends on, how much is kept."""

import os
import pickle
import random
import shutil
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import llvmlite.binding as llvm
import pytest
from conftest import python, thorough_but

import sdefast as sf
from sdefast.jit import cache, compile, machine, objects
from sdefast.sde.chain import Chain, Extras
from sdefast.sde.schemes import SCHEMES
from sdefast.sde.sde import sde_of

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no owners and modes")

PROGRAM = Chain(sde_of(sf.OrnsteinUhlenbeck()), SCHEMES["euler-maruyama"], Extras()).program("float32", "float32")


@pytest.fixture(scope="module")
def compiled():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDEFAST_CACHE_DIR", "")
        source = compile.instructions(PROGRAM.source, PROGRAM.signature, PROGRAM.dtype)
        return compile.NAME, machine.object_code(source)


@pytest.fixture
def kept(compiled, tmp_path, monkeypatch):
    """The file of a kernel that is kept."""
    monkeypatch.setenv("SDEFAST_CACHE_DIR", str(tmp_path / "kernels"))
    cache._warn.cache_clear()
    cache.store(PROGRAM, *compiled)
    (file,) = (tmp_path / "kernels").iterdir()
    assert cache.load(PROGRAM)
    return file


@pytest.fixture
def parts(kept):
    """Name and code of a kernel that is kept."""
    name, code = cache._opened(kept.read_bytes(), cache._key(PROGRAM))
    return name.encode(), code


# Whom to trust --------------------------------------------------------------------------------------------------------


@posix
def test_what_is_made_is_the_users_alone(compiled, tmp_path, monkeypatch):
    monkeypatch.setenv("SDEFAST_CACHE_DIR", str(tmp_path / "a" / "b"))
    before = os.umask(0)
    try:
        cache.store(PROGRAM, *compiled)
    finally:
        os.umask(before)
    folder = tmp_path / "a" / "b"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()] == [0o600]


def nothing_is_taken_or_kept(file, compiled, match="run as native code"):
    """With one warning, however often it is tried."""
    before = file.read_bytes(), file.stat().st_ino
    with pytest.warns(RuntimeWarning, match=match):
        assert cache.load(PROGRAM) is None
    assert cache.load(PROGRAM) is None
    cache.store(PROGRAM, *compiled)
    assert (file.read_bytes(), file.stat().st_ino) == before
    assert list(file.parent.iterdir()) == [file]


@posix
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o720, 0o702])
def test_a_folder_that_others_may_write_to(mode, kept, compiled):
    kept.parent.chmod(mode)
    nothing_is_taken_or_kept(kept, compiled, f"owner {os.geteuid()}, mode {mode:o}")
    kept.parent.chmod(0o755)
    assert cache.load(PROGRAM)


@posix
@pytest.mark.parametrize("mode", [0o666, 0o660, 0o620, 0o602])
def test_a_kernel_that_others_may_write_to(mode, kept, compiled):
    kept.chmod(mode)
    assert cache.load(PROGRAM) is None
    cache.store(PROGRAM, *compiled)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert cache.load(PROGRAM)


@posix
def test_a_folder_of_somebody_else(kept, compiled, monkeypatch):
    if os.geteuid() == 0:
        os.chown(kept.parent, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    nothing_is_taken_or_kept(kept, compiled)


root = pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can give files away")


@root
def test_a_kernel_of_somebody_else(kept):
    os.chown(kept, 12345, -1)
    assert cache.load(PROGRAM) is None


@root
def test_a_link_of_somebody_else(kept, compiled, tmp_path, monkeypatch):
    monkeypatch.setenv("SDEFAST_CACHE_DIR", str(tmp_path / "link"))
    (tmp_path / "link").symlink_to(kept.parent)
    assert cache.load(PROGRAM)
    os.chown(tmp_path / "link", 12345, -1, follow_symlinks=False)
    nothing_is_taken_or_kept(kept, compiled)


@root
def test_what_root_keeps_is_taken_by_others(kept, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert cache.load(PROGRAM)


@posix
def test_a_kernel_that_is_a_link(kept, tmp_path):
    kept.rename(tmp_path / "elsewhere")
    kept.symlink_to(tmp_path / "elsewhere")
    assert cache.load(PROGRAM) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_the_place_of_a_kernel(kept):
    kept.unlink()
    os.mkfifo(kept)
    assert cache.load(PROGRAM) is None


# What is a kernel -----------------------------------------------------------------------------------------------------

LOAD = """
import pickle, sys
from sdefast.jit import cache
program, name, codes = pickle.load(open(sys.argv[1], "rb"))
key = cache._key(program)
file = cache.folder() / (key.decode() + ".kernel")
loaded = []
for code in codes:
    file.write_bytes(cache._closed(name, code, key))
    loaded.append(cache.load(program) is not None)
print(*map(int, loaded))
"""


def load_under_right_digests(tmp_path, name, codes):
    """Which of some objects another process takes as that kernel; it fails if one ends the process."""
    (tmp_path / "codes").write_bytes(pickle.dumps((PROGRAM, name, codes)))
    return [bool(int(word)) for word in python(LOAD, str(tmp_path / "codes")).split()]


def test_part_of_an_object(parts, tmp_path):
    name, code = parts
    assert objects.is_whole(code, name)
    assert [n for n in range(len(code)) if objects.is_whole(code[:n], name)] == []
    lengths = range(0, len(code), len(code) // 23)
    assert not any(load_under_right_digests(tmp_path, name, [code[:n] for n in lengths]))
    assert load_under_right_digests(tmp_path, name, [code]) == [True]


@pytest.mark.skipif(sys.platform != "linux", reason="the objects are those of Linux")
def test_foreign_objects(parts, tmp_path):
    name, code = parts
    machine = code[:18] + b"\xb7\x00" + code[20:] if code[18:20] != b"\xb7\x00" else code[:18] + b"\x3e\x00" + code[20:]
    foreign = [machine, b"", b"\x7fELF", os.urandom(4096), Path(sys.executable).read_bytes(), code + code, code[::-1]]
    if compiler := shutil.which("cc") or shutil.which("gcc"):
        text = f'__thread int a; int f(void) __asm__("{name.decode()}"); int f(void) {{ return a++; }}'
        missing = f'int g(void); int f(void) __asm__("{name.decode()}"); int f(void) {{ return g(); }}'
        for source in (text, missing, "int h(void) { return 1; }"):
            (tmp_path / "f.c").write_text(source)
            subprocess.run([compiler, "-c", "f.c", "-o", "f.o"], cwd=tmp_path, check=True)
            foreign.append((tmp_path / "f.o").read_bytes())
    loaded = load_under_right_digests(tmp_path, name, foreign)
    assert loaded == [code is foreign[5] for code in foreign]  # what follows a whole object is of no use and no harm


@pytest.mark.skipif(sys.platform != "linux", reason="the objects are those of Linux")
def test_damaged_tables(parts, tmp_path):
    """Single bytes of the tables are changed; what is loaded for all that does not end the process."""
    name, code = parts
    draw = random.Random(1)
    ends = (64, len(code)), (0, 64), (len(code) - 1200, len(code))  # anywhere, the header, symbols and sections
    codes = []
    for _ in range(300):
        at = draw.randrange(*draw.choice(ends))
        codes.append(code[:at] + bytes([draw.randrange(256)]) + code[at + 1 :])
    loaded = load_under_right_digests(tmp_path, name, codes)
    assert any(loaded)
    assert loaded.count(False) > 30


@pytest.mark.parametrize(("triple", "system"), [("x86_64-apple-darwin", "darwin"), ("x86_64-pc-windows-msvc", "win32")])
def test_parts_of_objects_of_other_systems(triple, system):
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    try:
        target = llvm.Target.from_triple(triple)
    except RuntimeError:
        pytest.skip("this LLVM knows its own machine only")
    source = f"""target triple = "{triple}"
        @c = private constant [40 x double] zeroinitializer
        define double @f(i64 %i) {{
            %p = getelementptr [40 x double], ptr @c, i64 0, i64 %i
            %x = load double, ptr %p
            ret double %x
        }}"""
    code = target.create_target_machine().emit_object(llvm.parse_assembly(source))
    assert objects.is_whole(code, b"f", system, "x86_64")
    assert not objects.is_whole(code, b"f", system, "arm64")
    assert not objects.is_whole(code, b"g", system, "x86_64")
    assert not objects.is_whole(code, b"f", "linux", "x86_64")
    assert [n for n in range(len(code)) if objects.is_whole(code[:n], b"f", system, "x86_64")] == []


def test_a_kernel_in_the_place_of_another(kept):
    other = Chain(sde_of(sf.OrnsteinUhlenbeck()), SCHEMES["heun"], Extras()).program("float64", "float64")
    shutil.copy(kept, kept.with_name(cache._key(other).decode() + ".kernel"))
    assert cache.load(PROGRAM)
    assert cache.load(other) is None


def test_an_object_without_the_function(parts):
    name, code = parts
    assert not objects.is_whole(code, b"f")
    assert not objects.is_whole(code, name[1:])
    assert objects.Loaded("f", code).address == 0


def test_address_0_is_no_kernel(kept, monkeypatch):
    monkeypatch.setattr(cache, "Loaded", lambda name, code: SimpleNamespace(address=0))
    assert cache.load(PROGRAM) is None


# Writing --------------------------------------------------------------------------------------------------------------

FULL = """
import resource
import sdefast as sf
ou = sf.SDE(lambda t, x, p: -x[0] + 0.375, lambda t, x, p: 1.0)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
print(sf.simulate(ou, x0=1.0, t1=1.0, n_steps=10, n_paths=100, seed=1).mean)
"""


@posix
def test_nothing_is_left_when_the_disk_is_full(tmp_path):
    ou = sf.SDE(lambda t, x, p: -x[0] + 0.375, lambda t, x, p: 1.0)
    want = sf.simulate(ou, x0=1.0, t1=1.0, n_steps=10, n_paths=100, seed=1).mean
    assert python(FULL, SDEFAST_CACHE_DIR=str(tmp_path)).strip() == str(want)
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_when_storing_is_interrupted(compiled, tmp_path, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setenv("SDEFAST_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache.store(PROGRAM, *compiled)
    assert not list(tmp_path.iterdir())


def test_what_was_not_used_for_the_longest_time_goes(kept, compiled, monkeypatch):
    folder, now = kept.parent, time.time()
    monkeypatch.setenv("SDEFAST_CACHE_SIZE", str(100 / 256))  # a hundred pages of 4096 bytes
    for i in range(120):
        name = f"{i:064x}.kernel" if i else "left.unfinished"
        (folder / name).write_bytes(bytes(3000))
        os.utime(folder / name, (now - 1000 + i, now - 1000 + i))
    (folder / "notes").write_bytes(bytes(10_000))
    os.utime(folder / "notes", (0, 0))
    key = cache._key(PROGRAM)
    monkeypatch.setattr(cache, "_key", lambda program: b"1" + key[1:])
    cache.store(PROGRAM, *compiled)
    assert len(list(folder.iterdir())) == 123 - (key[:1] == b"1")  # the folder is not read each time
    monkeypatch.setattr(cache, "_key", lambda program: b"0" + key[1:])
    kept.unlink(missing_ok=True)
    (folder / f"1{key[1:].decode()}.kernel").unlink(missing_ok=True)
    cache.store(PROGRAM, *compiled)
    kept = folder / f"0{key[1:].decode()}.kernel"
    left = {file.name for file in folder.iterdir()}
    pages = -(-kept.stat().st_size // 4096)
    assert left == {kept.name, "notes"} | {f"{i:064x}.kernel" for i in range(120 - (75 - pages), 120)}


def test_a_kernel_that_is_used_stays(kept):
    long_ago = time.time() - 10_000
    os.utime(kept, (long_ago, long_ago))
    assert cache.load(PROGRAM)
    assert time.time() - kept.stat().st_mtime < 1000


def test_size_0_keeps_nothing(compiled, tmp_path, monkeypatch):
    monkeypatch.setenv("SDEFAST_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("SDEFAST_CACHE_SIZE", "0")
    cache.store(PROGRAM, *compiled)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", ["-1", "nan", "10 MB"])
def test_a_size_that_is_none(size, monkeypatch):
    monkeypatch.setenv("SDEFAST_CACHE_SIZE", size)
    with pytest.raises(ValueError, match=f"SDEFAST_CACHE_SIZE is '{size}'; allowed are MiB, 0 or more"):
        cache.load(PROGRAM)


# What a kernel depends on ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "matters"),
    [
        ("LLVMLITE_ENABLE_IR_LAYER_TYPED_POINTERS", True),
        ("NUMBA_OPT", False),
    ],
)
def test_settings_of_the_compiler(name, matters, monkeypatch):
    monkeypatch.delenv(name, raising=False)
    keys = {cache._key(PROGRAM)}
    for value in ("1", "2", os.fsdecode(b"\xff")):
        monkeypatch.setenv(name, value)
        keys.add(cache._key(PROGRAM))
    assert len(keys) == (4 if matters else 1)


def changed_code(name):
    """A change of a module that kernels are made with."""

    def change(monkeypatch, tmp_path):
        copy = shutil.copytree(Path(cache.__file__).parent, tmp_path / "jit")
        code = (copy / name).read_bytes()
        (copy / name).write_bytes(code.replace(b"return", b"return ", 1))  # of all places, in the middle
        assert (copy / name).read_bytes() != code
        monkeypatch.setattr(cache, "__file__", str(copy / "cache.py"))

    return change


def without_a_feature(monkeypatch, tmp_path):
    features = llvm.get_host_cpu_features()
    name = next(iter(features))
    features[name] = not features[name]
    monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: features)


@pytest.mark.parametrize(
    "change",
    [
        *map(changed_code, ("arithmetic.py", "assembly.py", "cache.py", "compile.py", "emit.py")),
        without_a_feature,
        lambda patch, _: patch.setattr(llvm, "get_host_cpu_name", lambda: "z80"),
        lambda patch, _: patch.setattr(llvm, "llvm_version_info", (1, 2, 3)),
        lambda patch, _: patch.setattr("importlib.metadata.version", lambda name: "1.2.3"),
        lambda patch, _: patch.setattr(sys, "version", "4.0"),
    ],
)
def test_surroundings(change, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_surroundings", cache._surroundings.__wrapped__)
    monkeypatch.setattr(machine, "processor", machine.processor.__wrapped__)
    key = cache._key(PROGRAM)
    assert cache._key(PROGRAM) == key
    change(monkeypatch, tmp_path)
    assert cache._key(PROGRAM) != key


@pytest.mark.parametrize("what", ["kind", "dtype", "noise", "source"])
def test_every_part_of_a_program(what):
    """Of two parts that are put together otherwise, too."""
    program = compile.Program("stepper", "a", "float32", "float32")
    others = [replace(program, **{what: value}) for value in ("observer", "float64", "b", "")]
    assert len({cache._key(p) for p in (program, *others)}) == 5


# Homes and names ------------------------------------------------------------------------------------------------------

HERE = """
import os, sys
os.chdir(sys.argv[1])
for name in ("SDEFAST_CACHE_DIR", "XDG_CACHE_HOME"):
    os.environ.pop(name, None)
if sys.argv[2] == "unset":
    os.environ.pop("HOME")
    import pwd
    pwd.getpwuid = lambda uid: {}[uid]
else:
    os.environ["HOME"] = sys.argv[2]
import sdefast as sf
from sdefast.config import config
print(config()["kernel cache"])
ou = sf.SDE(lambda t, x, p: -x[0] + 0.625, lambda t, x, p: 1.0)
print(sf.simulate(ou, x0=1.0, t1=1.0, n_steps=10, n_paths=100, seed=1).n_nonfinite)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the folders are those of Linux")
@pytest.mark.parametrize("home", thorough_but(["unset"], ["here", ".", "", "unset"]))
def test_without_a_home_nothing_is_kept(home, tmp_path):
    assert python(HERE, str(tmp_path), home).split()[0] == "off"
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other names")
def test_names_that_are_no_text(tmp_path):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe")
    script = "import sdefast as sf; sf.show_config(); " + FULL.replace("(1000, 1000)", "(1 << 30, 1 << 30)")
    out = python(script, SDEFAST_CACHE_DIR=folder, PYTHONIOENCODING="ascii", LLVMLITE_LIKED=os.fsdecode(b"\xff"))
    assert str(tmp_path) + "/\\xff\\xfe" in out
    (file,) = Path(folder).iterdir()
    assert cache.printable(file.parent) == str(tmp_path) + "/\\xff\\xfe"
