"""Reading and writing point clouds: no data is lost, bad files are named in one line, no file is half written."""

import tracemalloc
import warnings
from dataclasses import replace

import numpy as np
import pytest

from metamixer.data.points.clouds import Cloud, find_clouds, read_cloud, write_labelled
from metamixer.data.points.ply import read_ply
from metamixer.data.points.voxelization import PointPreprocessing
from metamixer.drawing.clouds import project
from metamixer.errors import InputError, InputWarning

POINTS = np.array([[0.0, 0, 0], [1.25, -2, 3], [0.5, 7, 100.125]])
LABELS = np.array([2, 0, 1])
HEADER = """ply
format {form} 1.0
comment made by a test
element vertex 3
property double x
property float y
property float z
property uchar red
property uchar green
property uchar blue
property ushort tag
element face 1
property list uchar int vertex_indices
end_header
"""
VERTEX = [("x", "f8"), ("y", "f4"), ("z", "f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1"), ("tag", "u2")]
FACE = b"\x03" + np.arange(3, dtype="<i4").tobytes()


def write_ply(path, form):
    rows = [(*point, 10 * i, 20, 255, 700 + i) for i, point in enumerate(POINTS.tolist())]
    if form == "ascii":
        body = "".join(" ".join(map(str, row)) + "\n" for row in rows).encode() + b"3 0 1 2\n"
    else:
        order = "<" if "little" in form else ">"
        body = np.array(rows, dtype=[(name, order + kind) for name, kind in VERTEX]).tobytes() + FACE
    path.write_bytes(HEADER.format(form=form).encode() + body)
    return path


def write_las(path, count=3, intensity=65535):
    laspy = pytest.importorskip("laspy", reason="the extra `points` is not installed")
    file = laspy.create(point_format=3, file_version="1.4")
    file.header.scales = [0.001] * 3
    file.x, file.y, file.z = np.resize(POINTS, (count, 3)).T
    file.red = np.full(count, 65535)
    file.intensity = np.full(count, intensity)
    file.classification = np.resize(LABELS, count)
    file.write(path)
    return path


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_keeps_all_its_data(tmp_path, form):
    path = write_ply(tmp_path / "a.ply", form)
    cloud = read_cloud(path)
    np.testing.assert_array_equal(cloud.coordinates, POINTS)
    np.testing.assert_array_equal(cloud.colours, [[0, 20, 255], [10, 20, 255], [20, 20, 255]])
    for _ in range(2):  # a second time, on its own result
        write_labelled(path, tmp_path / "b.ply", LABELS)
        path = tmp_path / "b.ply"
    ply = read_ply(path)
    np.testing.assert_array_equal(ply.vertices["prediction"], LABELS)
    np.testing.assert_array_equal(ply.vertices["tag"], [700, 701, 702])
    assert ply.rest in (FACE, b"3 0 1 2\n") and ply.names().count("prediction") == 1
    np.testing.assert_array_equal(read_cloud(path).coordinates, POINTS)


def test_ply_replaces_its_own_property_alone(tmp_path):
    path = write_ply(tmp_path / "a.ply", "ascii")
    face = "property list uchar int vertex_indices\n"
    text = path.read_text().replace("ushort tag", "ushort prediction").replace(face, face + "property int prediction\n")
    path.write_text(text.replace("3 0 1 2\n", "3 0 1 2 5\n"))
    for _ in range(2):
        write_labelled(path, path, LABELS)
    ply = read_ply(path)
    np.testing.assert_array_equal(ply.vertices["prediction"], LABELS)
    assert [line for line in ply.header if "prediction" in line] == ["property int prediction"] * 2
    assert ply.header[-3:-1] == [face.strip(), "property int prediction"] and ply.rest == b"3 0 1 2 5\n"


@pytest.mark.parametrize(
    ("kind", "colours", "intensity"),
    [
        ("uchar", [0, 51, 255], [0, 51, 255]),
        ("ushort", [0, 257 * 51, 65535], [0, 13107, 65535]),
        ("float", [0, 0.2, 1], [0, 0.2, 1]),
        ("double", [0, 51, 255], [0, 0.2, 1]),
    ],
)
def test_colors_and_intensities_have_one_unit(tmp_path, kind, colours, intensity):
    head = "".join(f"property {kind} {name}\n" for name in ("red", "green", "blue"))
    head = "property float x\nproperty float y\nproperty float z\n" + head + f"property {kind} intensity\n"
    rows = "".join(
        f"0 0 0 {colour} {colour} {colour} {share}\n" for colour, share in zip(colours, intensity, strict=True)
    )
    (tmp_path / "a.ply").write_text(f"ply\nformat ascii 1.0\nelement vertex 3\n{head}end_header\n{rows}")
    cloud = read_cloud(tmp_path / "a.ply")
    np.testing.assert_allclose(cloud.colours, np.repeat([[0], [51], [255]], 3, axis=1), rtol=1e-6)
    np.testing.assert_allclose(cloud.intensity, [0, 0.2, 1], rtol=1e-6)


@pytest.mark.parametrize("suffix", [".las", ".laz"])
def test_las_keeps_its_own_classes(tmp_path, suffix):
    if suffix == ".laz":
        pytest.importorskip("lazrs", reason="the extra `points` is not installed")
    path = write_las(tmp_path / f"a{suffix}")
    cloud = read_cloud(path)
    np.testing.assert_allclose(cloud.coordinates, POINTS)
    assert cloud.colours[0, 0] == 255 and cloud.intensity[0] == 1
    write_labelled(path, tmp_path / f"b{suffix}", LABELS[::-1])
    import laspy

    file = laspy.read(tmp_path / f"b{suffix}")
    np.testing.assert_array_equal(file["prediction"], LABELS[::-1])
    np.testing.assert_array_equal(file.classification, LABELS)


def test_arrays_and_folders(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        xyz_cm=(POINTS * 100).astype(np.int16),
        intensity=np.array([0, 50, 100], np.uint8),
        label=LABELS,
    )
    cloud = read_cloud(tmp_path / "a.npz")
    np.testing.assert_allclose(cloud.coordinates, POINTS, atol=0.01)
    np.testing.assert_allclose(cloud.intensity, [0, 0.5, 1])
    write_labelled(tmp_path / "a.npz", tmp_path / "b.npz", LABELS)
    assert set(np.load(tmp_path / "b.npz")) == {"xyz_cm", "intensity", "label", "prediction"}
    room = tmp_path / "room"
    room.mkdir()
    for name, array in {
        "coord": POINTS,
        "color": np.full((3, 3), 255),
        "normal": np.eye(3),
        "segment": LABELS[:, None],
        "file": LABELS,
    }.items():
        np.save(room / f"{name}.npy", array)
    cloud = read_cloud(room)
    assert cloud.normals.shape == cloud.colours.shape == (3, 3)
    np.testing.assert_array_equal(cloud.labels, LABELS)
    np.save(tmp_path / "c.npy", np.c_[POINTS, [0.1, 0.2, 0.3]])
    np.testing.assert_allclose(read_cloud(tmp_path / "c.npy").intensity, [0.1, 0.2, 0.3])
    files = [tmp_path / name for name in ("a.npz", "b.npz", "c.npy")]
    assert find_clouds([str(tmp_path)]) == [*files, room], "the arrays of a room are no clouds of their own"
    assert find_clouds([str(room)]) == [room]
    (tmp_path / "empty.ply").mkdir()
    with pytest.raises(InputError, match=r"empty\.ply: no point clouds found"):
        find_clouds([str(tmp_path / "empty.ply")])
    room.rename(tmp_path / "room.ply")
    write_labelled(tmp_path / "room.ply", tmp_path / "d.npz", LABELS)
    with np.load(tmp_path / "d.npz") as written:
        assert set(written) == {"coord", "color", "normal", "segment", "file", "prediction"}
        np.testing.assert_array_equal(written["file"], LABELS)


@pytest.mark.parametrize("columns", [[], [[0.0, 0.5, 1.0]], [[0, 9, 255], [7, 8, 9], [255, 1, 2]]])
def test_a_labeled_scan_is_read_again(tmp_path, columns):
    np.save(tmp_path / "a.npy", np.column_stack([POINTS, *columns]))
    for source, labeled in (("a.npy", "b.npz"), ("b.npz", "c.npz")):
        write_labelled(tmp_path / source, tmp_path / labeled, LABELS)
        before, after = (read_cloud(tmp_path / name).arrays() for name in (source, labeled))
        assert before.keys() == after.keys()
        for name, values in before.items():
            np.testing.assert_array_equal(after[name], values)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.las", lambda path: write_las(path, intensity=51)),
        ("a.npz", lambda path: np.savez(path, points=POINTS, intensity=np.full(3, 51, np.uint8))),
        ("a.npy", lambda path: np.save(path, np.c_[POINTS, np.full(3, 51)])),
        ("a.bin", lambda path: np.c_[POINTS, np.full(3, 51)].astype("<f4").tofile(path)),
    ],
)
def test_another_maximum_of_the_intensity(tmp_path, name, write):
    write(tmp_path / name)
    np.testing.assert_allclose(read_cloud(tmp_path / name, 255).intensity, [0.2] * 3, rtol=1e-6)
    np.testing.assert_allclose(read_cloud(tmp_path / name, 17).intensity, [1] * 3)


def test_cloudcompares_intensity_is_used_if_its_scale_is_known(tmp_path):
    head = "".join(f"property float {name}\n" for name in ("x", "y", "z", "scalar_Intensity"))
    for name, largest in (("a.ply", 0.5), ("b.ply", 51)):
        (tmp_path / name).write_text(f"ply\nformat ascii 1.0\nelement vertex 1\n{head}end_header\n0 0 0 {largest}\n")
    assert read_cloud(tmp_path / "a.ply").intensity == [0.5]
    with pytest.warns(InputWarning, match=r"b\.ply: scalar_Intensity up to 51, left out; expected 0 to 1, or its max"):
        assert read_cloud(tmp_path / "b.ply").intensity is None
    np.testing.assert_allclose(read_cloud(tmp_path / "b.ply", 255).intensity, [0.2], rtol=1e-6)


def test_dark_clouds_are_warned_of(tmp_path):
    cloud = read_cloud(write_las(tmp_path / "a.las", intensity=255))
    with pytest.warns(InputWarning, match=r"^a: intensities only up to 0\.0039 of 1, .* expected --intensity_max 255"):
        PointPreprocessing(features=("intensity",)).warn_if_dark(cloud, "a")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PointPreprocessing(features=("intensity",), intensity_max=255).warn_if_dark(cloud, "a")
        PointPreprocessing(features=("position",)).warn_if_dark(cloud, "a")


def npz(**arrays):
    return lambda path: np.savez(path, **arrays)


def ply(right, wrong):
    return lambda path: path.write_text(write_ply(path, "ascii").read_text().replace(right, wrong))


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        (
            "a.ply",
            lambda path: path.write_bytes(write_ply(path, "binary_little_endian").read_bytes()[:-40]),
            "bytes after .* truncated",
        ),
        (
            "a.ply",
            lambda path: path.write_bytes(write_ply(path, "ascii").read_bytes()[:-40]),
            "lines after the header, expected 3",
        ),
        ("a.ply", lambda path: path.write_bytes(b"ply\nformat ascii 1.0\nelement ver"), "no PLY header"),
        ("a.ply", lambda path: path.write_bytes(b"ply\nformat odd 1.0\nend_header\n"), "format 'odd', expected one of"),
        ("a.ply", ply("element vertex 3", "element vertex"), "element vertex '', expected the number of vertices"),
        ("a.ply", ply("element vertex 3", "element vertex three"), "element vertex 'three', expected the number"),
        ("a.ply", ply("element vertex 3", "element vertex -3"), "element vertex '-3', expected the number"),
        ("a.ply", ply("property float y", "property"), "vertex property '', expected a name after one of char"),
        ("a.ply", ply("property float y", "property float"), "vertex property 'float', expected a name"),
        (
            "a.ply",
            ply("property float y", "property real y"),
            "vertex property 'real y', expected a name after one of char",
        ),
        ("a.ply", ply("property float y", "property float x"), "vertex property 'x' twice, expected different names"),
        (
            "a.ply",
            lambda path: path.write_bytes(b"ply\nformat ascii 1.0\nelement vertex 1\nend_header\n\n"),
            "without properties",
        ),
        ("a.ply", ply("255 701", "256 701"), "blue 256, expected an integer from 0 to 255"),
        ("a.ply", ply("255 701", "255 -1"), "tag -1, expected an integer from 0 to 65535"),
        ("a.ply", ply("255 701", "0.5 701"), "blue 0.5, expected an integer"),
        ("a.ply", ply("255 701", "255 nan"), "tag nan, expected an integer"),
        ("a.ply", ply("255 701", "255 odd"), "tag 'odd', expected a number"),
        ("a.las", lambda path: path.write_bytes(write_las(path, 50).read_bytes()[:-300]), "truncated"),
        ("a.las", lambda path: path.write_bytes(write_las(path).read_bytes()[:100]), "not a readable LAS file"),
        ("a.npz", lambda path: path.write_bytes(b"PK\x03\x04 cut"), "not a readable NPZ file"),
        ("a.npz", npz(coord=np.zeros((0, 3))), "no points, expected at least one"),
        ("a.npz", npz(coord=[[0, 0, 0], [0, np.nan, 1]]), r"coordinates \[0.0, nan, 1.0\] of point 1, expected finite"),
        ("a.npz", npz(coord=[[np.inf, 0, 0]]), r"coordinates \[inf, 0.0, 0.0\] of point 0"),
        ("a.npz", npz(coord=POINTS, color=np.zeros((2, 3))), r"colours of shape \[2, 3\], expected \[3, 3\]"),
        (
            "a.npz",
            npz(coord=POINTS, color=POINTS * 0 + 256),
            r"colours \[256.0, 256.0, 256.0\] of point 0, expected 0 to 255, or 0 to 1",
        ),
        ("a.npz", npz(coord=POINTS, color=POINTS), r"colours \[1.25, -2.0, 3.0\] of point 1, expected 0 to 255"),
        (
            "a.npz",
            npz(coord=POINTS, intensity=[0.5, 1, 1.5]),
            "intensity 1.5 of point 2, expected 0 to 1, or whole",
        ),
        ("a.npz", npz(coord=POINTS, intensity=[0, 101, 5]), "intensity 1.00.* of point 1, expected 0 to 1"),
        ("a.npz", npz(coord=POINTS, label=LABELS[:2]), r"labels of shape \[2\], expected \[3\]"),
        ("a.npz", npz(color=POINTS), "arrays color, expected coordinates under coord"),
        (
            "a.npz",
            npz(coord=POINTS.astype(complex)),
            "array coord of type complex128, expected integers or floating-point numbers",
        ),
        ("a.npz", npz(coord=POINTS.astype(str)), r"array coord of type <U\d+, expected"),
        ("a.npz", npz(xyz_cm=POINTS > 0), "array xyz_cm of type bool, expected"),
        ("a.npz", npz(coord=POINTS, color=POINTS > 0), "array color of type bool, expected"),
        ("a.npz", npz(coord=POINTS, label=LABELS.astype("M8[s]")), r"array label of type datetime64\[s\], expected"),
        ("a.npz", npz(coord=POINTS, label=LABELS.astype(object)), "not a readable NPZ file .label: Object arrays"),
        ("a.npz", npz(coord=POINTS, label=[0, 0.5, 1]), "label 0.5, expected signed 64-bit integers"),
        ("a.npz", npz(coord=POINTS, label=[0, np.nan, 1]), "label nan, expected signed 64-bit integers"),
        ("a.npz", npz(coord=POINTS, label=[[0], [1], [np.inf]]), "label inf, expected signed 64-bit integers"),
        (
            "a.npz",
            npz(coord=POINTS, label=np.array([0, 1, 2**63], np.uint64)),
            "label 9223372036854775808, expected signed 64-bit integers",
        ),
        ("a.npy", lambda path: np.save(path, POINTS > 0), "of type bool, expected"),
        ("a.npy", lambda path: np.save(path, np.zeros((3, 5))), r"shape \[3, 5\], expected"),
        ("a.xyz", lambda path: path.write_text("0 0 0"), "kind '.xyz', expected one of"),
    ],
)
def test_bad_files_are_named(tmp_path, name, write, message):
    path = tmp_path / name
    write(path)
    with pytest.raises(InputError, match=message) as error:
        read_cloud(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = write_ply(tmp_path / "a.ply", "ascii")
    out = tmp_path / "out.ply"
    out.write_text("before")
    monkeypatch.setattr(
        type(out), "write_bytes", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(InputError, match=r"out\.ply: can't be written \(No space left"):
        write_labelled(path, out, LABELS)
    assert out.read_text() == "before" and len(list(tmp_path.iterdir())) == 2


def test_every_point_has_a_voxel():
    random = np.random.default_rng(0)
    cloud = Cloud(random.uniform(-3, 3, (500, 3)))
    preprocessing = PointPreprocessing(0.5, ("position", "height"))
    grid = preprocessing.grid(cloud)
    assert preprocessing.inputs(cloud).shape == (500, preprocessing.in_chans)
    assert (grid.cells >= 0).all() and len(np.unique(grid.cells, axis=0)) == len(grid.starts)
    assert (grid.cells[grid.pick(0)][grid.rows] == grid.cells).all()
    fragments = list(grid.fragments())
    assert set(np.concatenate(fragments)) == set(range(500))
    assert all(len(np.unique(grid.cells[pick], axis=0)) == len(pick) for pick in fragments)


def test_fragments_take_the_memory_of_one():
    line = np.arange(10_000.0)[:, None] * (1, 0, 0)
    crowded = np.concatenate([line, np.zeros((300, 3))])
    grid = PointPreprocessing(1.0, ("position",)).grid(Cloud(crowded))
    tracemalloc.start()
    assert sum(1 for _ in grid.fragments()) == 301
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * grid.starts.nbytes


def test_the_nearest_point_of_a_drawing_is_visible():
    points = np.array([(0, 0, 0), (10, 6, 0), (5, 3, 1), (4.99, 3, 0)])
    palette = np.array([(0, 0, 0), (0, 0, 0), (255, 0, 0), (0, 0, 255)], np.uint8)
    pixels = np.asarray(project(points, np.arange(4), palette))
    assert (pixels == palette[2]).all(axis=-1).sum() == 16, "all 4x4 pixels of the nearest"
    assert (pixels == palette[3]).all(axis=-1).sum() == 4, "what it leaves of the point behind it"


def test_preprocessing_refuses_missing_features():
    cloud = Cloud(POINTS)
    with pytest.raises(InputError, match=r"a\.ply: no colours, expected because the network uses colour, normal"):
        PointPreprocessing().check(cloud, "a.ply")
    with pytest.raises(InputError, match=r"1\.00125e\+06 m from end to end, expected at most"):
        PointPreprocessing(features=("position",)).check(replace(cloud, coordinates=POINTS * 1e4), "a.ply")
    with pytest.raises(InputError, match=r"features \['hue'\]"):
        PointPreprocessing(features=("hue",))
    with pytest.raises(InputError, match="grid_size 0"):
        PointPreprocessing(0)
