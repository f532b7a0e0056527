"""Data: idx files that are whole and that are not, digits, files of numpy, arrays of one's own."""

import gzip
import io
import struct
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
from conftest import python
from diffusion.mnist import FOLDER, needs_mnist

from sdefast.diffusion import data

PIXELS = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3)
PIXELS[0, 0] = [0, 51, 255]
LABELS = np.array([3, 1, 4, 1, 5, 9], np.uint8)
IMAGES = "train-images-idx3-ubyte"


def idx(array, magic=None, shape=None):
    """The content of an idx file."""
    shape = array.shape if shape is None else shape
    magic = bytes((0, 0, 8, array.ndim)) if magic is None else magic
    return magic + struct.pack(f">{len(shape)}I", *shape) + array.tobytes()


def write(folder, name, content, zipped=True):
    """Write a file of the folder."""
    path = folder / (name + ".gz" * zipped)
    path.write_bytes(gzip.compress(content, 1) if zipped else content)
    return path


@pytest.fixture(params=[True, False], ids=["gz", "plain"])
def zipped(request):
    return request.param


@pytest.fixture
def folder(tmp_path, zipped):
    for prefix, n in (("train", 6), ("t10k", 2)):
        write(tmp_path, f"{prefix}-images-idx3-ubyte", idx(PIXELS[:n]), zipped)
        write(tmp_path, f"{prefix}-labels-idx1-ubyte", idx(LABELS[:n]), zipped)
    return tmp_path


def test_mnist_files(folder):
    images, labels = data.mnist(folder)
    assert images.shape == (6, 1, 4, 3)
    assert (images.dtype, labels.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(images[0, 0, 0], np.array([-1.0, -0.6, 1.0], np.float32))
    np.testing.assert_array_equal(np.round((images + 1) * 127.5)[:, 0], PIXELS)
    np.testing.assert_array_equal(labels, LABELS)
    assert len(data.mnist(str(folder), "test")[0]) == 2


BROKEN = {
    "empty": (b"", "is empty"),
    "text": (b"<html>not found</html>", "begins with 3c 68 74 6d: not an idx file"),
    "labels in place of images": (idx(LABELS), "begins with 00 00 08 01.*begins with 00 00 08 03"),
    "floats": (idx(PIXELS, magic=b"\0\0\x0d\3"), "begins with 00 00 0d 03"),
    "header cut": (idx(PIXELS)[:9], "truncated in its header"),
    "data cut": (idx(PIXELS)[:-1], "truncated: 71 bytes of data where its header says 6 x 4 x 3 = 72"),
    "no data": (idx(PIXELS)[:16], "truncated|more than its size allows"),
    "longer": (idx(PIXELS) + b"\0", "longer than its header says, 6 x 4 x 3 = 72"),
    "none": (idx(PIXELS, shape=(0, 28, 28)), "holds nothing: .* 0 x 28 x 28"),
    "one pixel too many": (idx(PIXELS, shape=(6, 4, 4)), "truncated: 72 bytes .* 6 x 4 x 4 = 96"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_broken_images_are_named(folder, zipped, how):
    content, message = BROKEN[how]
    path = write(folder, IMAGES, content, zipped)
    with pytest.raises(ValueError, match=message) as caught:
        data.mnist(folder)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("shape", [(2**32 - 1,) * 3, (60000, 28, 28), (2**31, 1, 1)])
def test_lying_headers_take_no_memory(folder, zipped, shape):
    path = write(folder, IMAGES, idx(PIXELS, shape=shape), zipped)
    tracemalloc.start()
    with pytest.raises(ValueError, match="more than its size allows") as caught:
        data.mnist(folder)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    assert str(caught.value).startswith(str(path))


def test_a_header_within_what_could_be_takes_what_is_there(tmp_path):
    """Deflate may make 1032 bytes of one: of a file that says so, no more is taken than it gives."""
    noise = np.random.default_rng(0).integers(0, 256, 2**19, dtype=np.uint8)
    path = tmp_path / f"{IMAGES}.gz"
    path.write_bytes(gzip.compress(idx(noise[None, None], shape=(2**9, 2**10, 2**9)), 0))
    tracemalloc.start()
    with pytest.raises(ValueError, match="is truncated: 524288 bytes"):
        data.mnist(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()


def flipped(content, at):
    """One bit changed."""
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-9], "end-of-stream"),
        (lambda content: content[:12], "end-of-stream"),
        (lambda content: flipped(content, -8 % len(content)), "CRC"),
        (lambda content: flipped(content, 0), "Not a gzipped file"),
        (lambda content: content + b"more", "Not a gzipped file"),
        (lambda content: content[:10] + b"\xff" * 20, "invalid|Error"),
        (gzip.decompress, "Not a gzipped file"),
    ],
    ids=["end cut", "almost all cut", "checksum", "magic", "trailing", "no deflate", "not compressed"],
)
def test_damaged_gzip_is_named(tmp_path, damage, message):
    path = tmp_path / f"{IMAGES}.gz"
    path.write_bytes(damage(gzip.compress(idx(PIXELS))))
    with pytest.raises(ValueError, match=message) as caught:
        data.mnist(tmp_path)
    assert str(caught.value).startswith(f"{path} is damaged")


def test_missing_files_are_named(folder, zipped):
    with pytest.raises(ValueError, match=f"{IMAGES} is missing, and so is {IMAGES}.gz"):
        data.mnist(folder / "nowhere")
    (folder / ("train-labels-idx1-ubyte" + ".gz" * zipped)).unlink()
    with pytest.raises(ValueError, match="train-labels-idx1-ubyte is missing"):
        data.mnist(folder)
    assert len(data.mnist(folder, "test")[0]) == 2


def test_as_many_labels_as_images(folder, zipped):
    write(folder, "train-labels-idx1-ubyte", idx(LABELS[:5]), zipped)
    with pytest.raises(ValueError, match=r"train-images\S* holds 6 images, \S*train-labels\S* 5 labels"):
        data.mnist(folder)


def test_split_is_a_word(folder):
    with pytest.raises(ValueError, match="split must be one of 'test', 'train', got 'tests'; did you mean 'test'"):
        data.mnist(folder, "tests")


@needs_mnist
def test_mnist_is_mnist():
    images, labels = data.mnist(FOLDER, "test")
    assert images.shape == (10000, 1, 28, 28)
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert (images.min(), images.max()) == (-1, 1)


def test_digits():
    (images, labels), (others, other_labels) = data.digits(), data.digits("test")
    assert (images.shape, others.shape) == ((1438, 1, 8, 8), (359, 1, 8, 8))
    assert set(np.unique(images)) == set(np.arange(17) / 8 - 1)
    # as in scikit-learn's description: 178 zeros, 182 ones, ...
    counts = np.bincount(labels) + np.bincount(other_labels)
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(other_labels).min() > 20
    padded, _ = data.digits(pad=2)
    assert padded.shape == (1438, 1, 12, 12)
    np.testing.assert_array_equal(padded[:, :, 2:-2, 2:-2], images)
    assert padded.sum() == pytest.approx(images.sum() - 1438 * (144 - 64))


def test_digits_need_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"digits come with scikit-learn: pip install 'sdefast\[diffusion\]'"):
        data.digits()


def test_checked_arrays():
    bytes_ = np.array([[0, 51, 255]], np.uint8)
    np.testing.assert_array_equal(data.checked("x", bytes_), np.array([[-1, -0.6, 1]], np.float32))
    assert data.checked("x", np.zeros((2, 8, 6))).shape == (2, 1, 8, 6)
    assert data.checked("x", np.zeros((2, 3, 8, 6), np.float16)).dtype == np.float32
    assert data.checked("x", [0.5, 1.5]).shape == (2, 1)
    torch = pytest.importorskip("torch")
    assert data.checked("x", torch.zeros(2, 3)).shape == (2, 3)
    with pytest.raises(ValueError, match=r"detach\(\)"):
        data.checked("x", torch.zeros(2, 3, requires_grad=True))
    assert data.checked("x", torch.full((2, 3), 0.5, dtype=torch.bfloat16)).tolist() == [[0.5] * 3] * 2


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (np.zeros((0, 2)), ValueError, r"x must have a shape .* without a 0, got \(0, 2\)"),
        (np.float64(1.0), ValueError, r"got \(\)"),
        (np.zeros((1, 1, 1, 1, 1)), ValueError, r"got \(1, 1, 1, 1, 1\)"),
        (np.array([[0.0, 1.0], [np.nan, 0.0]]), ValueError, "sample 1 is not"),
        (np.array([[1e300, 0.0]]), ValueError, "finite in float32, but sample 0"),
        (np.zeros((2, 2), int), TypeError, "floating point, or uint8 .* got int64"),
        (np.zeros((2, 2), bool), TypeError, "got bool"),
        (np.zeros((5, 28, 28, 3)), ValueError, "channels in the second axis"),
        ("words", TypeError, "got <U5"),
        ((np.zeros((4, 1, 2, 2)), [0, 1, 0, 1]), TypeError, "x must be one array .* got a tuple .* are two arguments"),
        ([[1.0], [1.0, 2.0]], TypeError, "x must be one array .* got a list of parts that differ$"),
    ],
)
def test_refused_arrays(value, error, message):
    with pytest.raises(error, match=message):
        data.checked("x", value)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0.0, 1.0], TypeError, "whole numbers, got float64"),
        ([0, 1, 2], ValueError, r"shape \(2,\), one for each sample, got \(3,\)"),
        ([0, -1], ValueError, "got -1 to 0"),
        ([0, 2**31], ValueError, "got 0 to 2147483648"),
    ],
)
def test_refused_labels(labels, error, message):
    with pytest.raises(error, match=message):
        data.checked_labels("labels", labels, 2)


def npy(array, **changes):
    """The content of an npy file, its header changed."""
    file = io.BytesIO()
    described = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape} | changes
    np.lib.format.write_array_header_1_0(file, described)
    return file.getvalue() + array.tobytes()


X = np.arange(12.0).reshape(4, 3)


@pytest.mark.parametrize(
    "array", [X, X.astype(">f4"), np.asfortranarray(X), X[:, ::2]], ids=["f8", ">f4", "F", "[::2]"]
)
def test_files_of_numpy(tmp_path, array):
    np.save(tmp_path / "x.npy", array)
    np.savez_compressed(tmp_path / "x.npz", images=array, y=[0, 1, 2, 0], other="unused")
    for name in ("x.npy", "x.npz"):
        np.testing.assert_array_equal(data.read_array(tmp_path / name)[0], array.astype(np.float32))
    assert data.read_array(tmp_path / "x.npy")[1] is None
    assert data.load(tmp_path / "x.npz")[1].tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x.npy "),
        (b"words, not numbers", "magic"),
        (npy(X)[:-1], "truncated or damaged: 95 bytes for float64 of shape (4, 3)"),
        (npy(X) + b"\0", "truncated or damaged: 97 bytes"),
        (npy(X, shape=(2**60, 3)), "truncated or damaged"),
        (npy(X, shape=(-4, -3)), "x.npy "),
        (npy(X, descr="|O"), "objects of Python"),
        (npy(X * np.nan), "x.npy must be finite in float32, but sample 0"),
        (npy(X.astype(int)), "floating point"),
    ],
    ids=["empty", "text", "cut", "longer", "lying", "negative", "objects", "not finite", "integers"],
)
def test_broken_files_of_numpy_are_named(tmp_path, content, message):
    for name in ("x.npy", "x.npz"):
        path = tmp_path / name
        if name == "x.npy":
            path.write_bytes(content)
        else:
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
                file.writestr("x.npy", content)
        with pytest.raises((ValueError, TypeError)) as caught:
            data.read_array(path)
        assert str(caught.value).startswith(str(path))
        assert message.removeprefix("x.npy ") in str(caught.value)


def test_broken_archives_are_named(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, a=X)
    with pytest.raises(ValueError, match=r"x.npz must hold an array called x or images .* got a"):
        data.read_array(path)
    np.savez(path, x=X, labels=[1, 2])
    with pytest.raises(ValueError, match=r"x.npz: labels must have shape \(4,\)"):
        data.read_array(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"x.npz is damaged"):
        data.read_array(path)
    np.savez_compressed(path, x=np.zeros((2**10, 2**12)))
    content = bytearray(path.read_bytes())
    at = content.rfind(b"PK\1\2")
    content[at + 24 : at + 28] = struct.pack("<I", 2**32 - 2)  # the size that the table of contents tells
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x.npz says that it holds 4294967294 bytes"):
        data.read_array(path)


def test_load(folder):
    for what, shape in [("digits", (1438, 1, 8, 8)), (folder, (6, 1, 4, 3)), (X, (4, 3)), ("rings", (10000, 2))]:
        x, labels = data.load(what)
        assert x.shape == shape
        assert (labels is None) == (what is X)
        assert x.dtype == np.float32
    assert len(data.load(str(folder), "test")[0]) == 2
    with pytest.raises(ValueError, match=r"must be one of digits, swiss-roll.*got 'swissroll', which does not exist"):
        data.load("swissroll")
    with pytest.raises(ValueError, match=r"got '.*\.py'$"):
        data.load(__file__)


def test_halves():
    x = np.arange(101.0, dtype=np.float32)[:, None]
    (a, labels), (b, _) = data.halves(x, np.arange(101))
    assert (len(a), len(b)) == (51, 50)
    assert sorted(np.concatenate([a, b])[:, 0].tolist()) == x[:, 0].tolist()
    np.testing.assert_array_equal(a[:, 0], labels)
    np.testing.assert_array_equal(data.halves(x, None)[1][0], b)


def test_data_and_quality_do_not_load_torch():
    code = (
        "import sys, sdefast as sf; sf.diffusion.data.swiss_roll(10); "
        "sf.diffusion.quality.evaluate(sf.diffusion.data.rings(50), 'rings', n=50); "
        "print('torch' in sys.modules, 'sklearn' in sys.modules)"
    )
    assert python(code) == "False False\n"
