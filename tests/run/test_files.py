"""Files: whole or not at all, of the format that they say, and nothing else is taken for one."""

import io
import json
import math
import os
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import thorough_but

import sdefast as sf
from sdefast.run import archive, files

VALUE = {
    "columns": np.arange(12.0).reshape(3, 4).T,
    "strided": np.arange(64, dtype=np.float32).reshape(4, 16)[:, :5],
    "empty": np.empty((0, 3), np.int64),
    "none": np.array(7.0),
    "text": "Ä",
    "numbers": (math.inf, -0.0, 2**70, (0.1,)),
}


@pytest.fixture
def path(tmp_path):
    """A file that holds `VALUE`."""
    files.write(tmp_path / "file.npz", "value", VALUE)
    return tmp_path / "file.npz"


def assert_value(value):
    assert value.keys() == VALUE.keys()
    for name, expected in VALUE.items():
        if isinstance(expected, np.ndarray):
            assert value[name].dtype == expected.dtype
            assert value[name].shape == expected.shape
            assert value[name].tobytes() == expected.tobytes()
            assert value[name].flags.c_contiguous
            assert value[name].flags.writeable
        else:
            assert repr(value[name]) == repr(expected)


def test_comes_back(path):
    assert_value(files.read(path, "value"))
    assert_value(files.read(str(path), "value"))
    assert os.listdir(path.parent) == ["file.npz"]


def test_numpy_and_json_read_it(path):
    with np.load(path, allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["columns"], VALUE["columns"])
        header = json.loads(arrays["header.json"], parse_constant=pytest.fail)
    assert header["format"] == files.FORMAT
    assert header["sdefast"] == sf.__version__
    assert header["stream_version"] == sf.noise.STREAM_VERSION
    assert header["value"]["dict"]["text"] == "Ä"


def test_is_written_for_whom_the_user_says(tmp_path):
    for mask in (0o022, 0o077):
        old = os.umask(mask)
        try:
            files.write(tmp_path / str(mask), "value", VALUE)
        finally:
            os.umask(old)
        assert stat.S_IMODE((tmp_path / str(mask)).stat().st_mode) == 0o666 & ~mask


def test_replaces_a_file_and_what_a_link_leads_to(path):
    link = path.with_name("link")
    link.symlink_to(path)
    files.write(link, "value", {"other": 1})
    assert link.is_symlink()
    assert files.read(path, "value") == {"other": 1}


class DiskFullError(OSError):
    """Stands for any failure while a file is written."""


@pytest.mark.parametrize("error", [DiskFullError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file(path, error, monkeypatch):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(archive, "_write_array", fail)
    with pytest.raises(error):
        files.write(path, "value", {"other": np.zeros(3)})
    monkeypatch.undo()
    assert_value(files.read(path, "value"))
    assert os.listdir(path.parent) == ["file.npz"]


def test_a_value_that_cannot_be_written_leaves_the_old_file(path):
    for other in (object(), np.array([object()])):
        with pytest.raises((TypeError, ValueError), match="cannot be written"):
            files.write(path, "value", {"other": other})
    assert_value(files.read(path, "value"))
    assert os.listdir(path.parent) == ["file.npz"]


@pytest.mark.parametrize("name", [None, 3, b"file", "", "fi\0le", io.BytesIO()])
def test_paths_are_paths(name):
    for call in (lambda: files.write(name, "value", VALUE), lambda: sf.load(name)):
        with pytest.raises(TypeError, match="path must be the name of a file, got"):
            call()


def test_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"path must lie in a folder that is there, and {tmp_path}/no is none"):
        files.write(tmp_path / "no" / "file", "value", VALUE)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotFoundError, match="path must lie in a folder that is there"):
        files.write(tmp_path / "file" / "file", "value", VALUE)
    for call in (lambda: files.write(tmp_path, "value", VALUE), lambda: files.read(tmp_path, "value")):
        with pytest.raises(ValueError, match=f"path must be that of a file, and {tmp_path} is a folder"):
            call()


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "missing")):
        sf.load(tmp_path / "missing")


def test_another_kind(path):
    with pytest.raises(ValueError, match=f"{path} holds a value, not a result"):
        sf.load(path)


def changed(path, **changes):
    """The file with another header."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    header = json.loads(members["header.json"])
    members["header.json"] = json.dumps({**header, **changes})
    with zipfile.ZipFile(path, "w") as new:
        for name, content in members.items():
            new.writestr(name, content)


def test_a_later_format(path):
    changed(path, format=files.FORMAT + 1, sdefast="9.8", value=None)
    message = f"has format 2, which sdefast 9.8 wrote; sdefast {sf.__version__} reads up to 1: a later"
    with pytest.raises(ValueError, match=message):
        files.read(path, "value")


def test_another_headers_content(path):
    changed(path, sdefast="0.9", value={"class": "sde.Neverland", "fields": {}})
    with pytest.raises(ValueError, match=r"cannot be read, 'sde.Neverland' is not known .* of sdefast, 0.9, than"):
        files.read(path, "value")


def _text(path):
    path.write_text("x0,x1\n1,2\n")


def _nothing(path):
    path.write_bytes(b"")


def _array(path):
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))


def _arrays(path):
    with open(path, "wb") as file:
        np.savez(file, a=np.zeros(3))


def _numbers(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("header.json", "[1, 2]")


def _others_header(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("header.json", '{"format": "mine"}')


@pytest.mark.parametrize("make", [_text, _nothing, _array, _arrays, _numbers, _others_header])
def test_other_files(path, make):
    make(path)
    with pytest.raises(ValueError, match=f"{path} is damaged, or no file that save of a result wrote: "):
        files.read(path, "value")


STEP = 97


@pytest.mark.parametrize("first", thorough_but([0], range(0, STEP, 8)))
def test_damaged_files_are_told(path, first):
    """Of a bit turned over everywhere: either the file says so, or nothing that is read depends on it."""
    whole, told = path.read_bytes(), 0
    for i in range(first, len(whole), STEP):
        damaged = bytearray(whole)
        damaged[i] ^= 1 << (i % 8)
        path.write_bytes(damaged)
        try:
            assert_value(files.read(path, "value"))
        except ValueError:
            told += 1
    assert told > 0.6 * len(range(first, len(whole), STEP))


def test_files_that_end_too_early_are_told(path):
    whole = path.read_bytes()
    for n in range(0, len(whole), STEP):
        path.write_bytes(whole[:n])
        with pytest.raises(ValueError, match=f"{path} is damaged"):
            files.read(path, "value")


def _bomb(path):
    """An array that says it is as large as nothing could be."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**50,)})
    return header.getvalue()


def _pickled(path):
    out = io.BytesIO()
    np.save(out, np.array([Path("x")], object), allow_pickle=True)
    return out.getvalue()


@pytest.mark.parametrize("content", [_bomb, _pickled, lambda path: b"no array", lambda path: b""])
def test_members_that_are_no_arrays(path, content):
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("more.npy", content(path))
    with pytest.raises(ValueError, match=f"{path} is damaged"):
        files.read(path, "value")


def test_a_member_is_no_larger_than_its_file(path, monkeypatch):
    """(Else it would be told that there is not enough memory.)"""
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02") + 24  # of the last member's size in the table of contents
    content[at : at + 4] = b"\xf0\xff\xff\xff"
    path.write_bytes(content)
    monkeypatch.setattr("sdefast.resources.available_memory", lambda: 2**30)
    with pytest.raises(ValueError, match=f"{path} is damaged, .*: its table of contents is wrong"):
        files.read(path, "value")


def test_refuses_what_cannot_fit(path, monkeypatch):
    monkeypatch.setattr("sdefast.resources._SMALL", 0)
    monkeypatch.setattr("sdefast.resources.available_memory", lambda: 100)
    with pytest.raises(MemoryError, match=f"the arrays in {path} need"):
        files.read(path, "value")
