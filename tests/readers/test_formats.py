"""Each format comes back as it was written by somebody else, and what would lose or swell is refused."""

import struct
import zlib
from contextlib import suppress
from pathlib import Path

import imageio.v3 as iio
import nibabel
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from alframe.errors import DataError
from alframe.readers import DataSettings, Limits, RawImage, SplitSettings, bad, built_in, read, scan


def pixels(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 100, shape).astype(dtype)
    bounds = np.iinfo(dtype)
    return rng.integers(bounds.min, bounds.max, shape, dtype, endpoint=True)


def refused(path: Path, *words: str, **options: object) -> None:
    with pytest.raises(DataError) as caught:
        read(path, **options)
    assert path.name in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "A.PNG"])
@pytest.mark.parametrize("shape", [(7, 11), (7, 11, 3)])
def test_raster_round_trip(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    image = pixels(shape, "uint8")
    iio.imwrite(tmp_path / name, image)
    found = read(tmp_path / name)
    assert found.array.dtype == np.uint8
    assert found.spacing == (1.0, 1.0)
    np.testing.assert_array_equal(found.array, image[None] if image.ndim == 2 else image.transpose(2, 0, 1))


def test_jpeg_is_what_pillow_decodes_and_never_a_mask(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    iio.imwrite(path, pixels((16, 24, 3), "uint8"))
    np.testing.assert_array_equal(read(path).array, iio.imread(path).transpose(2, 0, 1))
    refused(path, "lossless", "PNG", mask=True)


def test_png_16_bit_grey(tmp_path: Path) -> None:
    image = pixels((9, 5), "uint16")
    Image.fromarray(image).save(tmp_path / "a.png")
    found = read(tmp_path / "a.png", mask=True)
    assert found.array.dtype == np.uint16
    np.testing.assert_array_equal(found.array[0], image)


def png(depth: int, colour: int, width: int, rows: list[bytes], extra: bytes = b"") -> bytes:
    """A PNG by hand, from the specification."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("depth", "rows", "expected"),
    [
        (4, [b"\x01\x23", b"\x45\xf0"], [[0, 1, 2, 3], [4, 5, 15, 0]]),
        (2, [b"\x1b"], [[0, 1, 2, 3]]),
        (1, [b"\xa0"], [[1, 0, 1, 0]]),
    ],
)
def test_masks_of_few_bits_keep_their_values(
    tmp_path: Path, depth: int, rows: list[bytes], expected: list[list[int]]
) -> None:
    (tmp_path / "a.png").write_bytes(png(depth, 0, 4, rows))
    np.testing.assert_array_equal(read(tmp_path / "a.png", mask=True).array[0], expected)


def test_png_16_bit_colour_is_refused_not_cut(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(16, 2, 1, [b"\x01\x02\x03\x04\x05\x06"]))
    refused(tmp_path / "a.png", "16-bit colour", "TIFF")


def test_palette_masks_keep_indices_and_palette_images_become_rgb(tmp_path: Path) -> None:
    index = pixels((6, 8), "uint8") % 3
    image = Image.fromarray(index)
    image.putpalette([0, 0, 0, 255, 10, 20, 30, 200, 40])
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png", mask=True).array[0], index)
    colours = np.array([[0, 0, 0], [255, 10, 20], [30, 200, 40]], np.uint8)
    np.testing.assert_array_equal(read(tmp_path / "a.png").array, colours[index].transpose(2, 0, 1))


def test_alpha_is_dropped_when_opaque_and_refused_otherwise(tmp_path: Path) -> None:
    image = pixels((5, 6, 4), "uint8")
    image[..., 3] = 255
    Image.fromarray(image).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png").array, image[..., :3].transpose(2, 0, 1))
    image[2, 2, 3] = 254
    Image.fromarray(image).save(tmp_path / "b.png")
    refused(tmp_path / "b.png", "transparent")


def test_a_grey_mask_saved_as_rgb_is_fine_colours_are_not(tmp_path: Path) -> None:
    grey = pixels((5, 6), "uint8")
    Image.fromarray(np.stack([grey] * 3, -1)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png", mask=True).array, grey[None])
    Image.fromarray(np.stack([grey, grey, 255 - grey], -1)).save(tmp_path / "b.png")
    refused(tmp_path / "b.png", "one value per pixel", mask=True)


def test_exif_orientation_is_refused(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels((8, 8, 3), "uint8")).save(tmp_path / "a.jpg", exif=exif)
    refused(tmp_path / "a.jpg", "orientation 6", "upright")


def test_cmyk_is_refused(tmp_path: Path) -> None:
    Image.fromarray(pixels((8, 8, 4), "uint8"), mode=None).convert("CMYK").save(tmp_path / "a.jpg")
    refused(tmp_path / "a.jpg", "CMYK")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32"])
@pytest.mark.parametrize(
    "options", [{}, {"compression": "zlib"}, {"compression": "zlib", "predictor": 2}, {"tile": (16, 16)}]
)
@pytest.mark.parametrize(("shape", "kind"), [((20, 33), "YX"), ((3, 20, 33), "ZYX"), ((20, 33, 3), "YXC")])
def test_tiff_round_trip(tmp_path: Path, dtype: str, options: dict, shape: tuple[int, ...], kind: str) -> None:
    if "predictor" in options and dtype == "float32":
        pytest.skip("the horizontal predictor is for integers")
    image = pixels(shape, dtype)
    colour = "rgb" if kind == "YXC" else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", image, photometric=colour, **options)
    found = read(tmp_path / "a.tif")
    assert found.array.dtype == np.dtype(dtype)
    assert len(found.spacing) == (3 if kind == "ZYX" else 2)
    expected = {"YX": image[None], "ZYX": image[None], "YXC": np.moveaxis(image, -1, 0)}[kind]
    np.testing.assert_array_equal(found.array, expected)


def test_tiff_pages_as_channels_when_said_so(tmp_path: Path) -> None:
    image = pixels((5, 12, 14), "uint16")
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="minisblack")
    assert read(tmp_path / "a.tif").array.shape == (1, 5, 12, 14)
    np.testing.assert_array_equal(read(tmp_path / "a.tif", axes="CYX").array, image)
    refused(tmp_path / "a.tif", "axes YX", axes="YX")


def test_tiff_big_endian_becomes_native(tmp_path: Path) -> None:
    image = pixels((7, 9), "uint16")
    tifffile.imwrite(tmp_path / "a.tif", image, byteorder=">")
    found = read(tmp_path / "a.tif").array
    assert found.dtype.isnative
    np.testing.assert_array_equal(found[0], image)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_tiff_lzw_by_libtiff(tmp_path: Path, dtype: str) -> None:
    pages = [Image.fromarray(pixels((20, 30), dtype, seed)) for seed in range(4)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    with tifffile.TiffFile(tmp_path / "a.tif") as written:
        assert written.pages[0].compression == 5
    np.testing.assert_array_equal(read(tmp_path / "a.tif").array[0], np.stack([np.asarray(page) for page in pages]))


def test_tiff_lzw_rgb(tmp_path: Path) -> None:
    image = pixels((20, 30, 3), "uint8")
    Image.fromarray(image).save(tmp_path / "a.tif", compression="tiff_lzw")
    np.testing.assert_array_equal(read(tmp_path / "a.tif").array, image.transpose(2, 0, 1))


def test_tiff_imagej_hyperstack_knows_its_axes(tmp_path: Path) -> None:
    image = pixels((4, 2, 10, 12), "uint16")
    tifffile.imwrite(tmp_path / "a.tif", image, imagej=True, metadata={"axes": "ZCYX"})
    np.testing.assert_array_equal(read(tmp_path / "a.tif").array, image.transpose(1, 0, 2, 3))
    tifffile.imwrite(tmp_path / "b.tif", image, imagej=True, metadata={"axes": "TCYX"})
    refused(tmp_path / "b.tif", "TCYX", "axes")


def test_tiff_with_two_images_is_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(pixels((10, 12), "uint8"))
        file.write(pixels((20, 12), "uint8"))
    refused(tmp_path / "a.tif", "one image")


def test_nifti_axes_spacing_and_scale(tmp_path: Path) -> None:
    volume = pixels((4, 5, 6), "int16")
    affine = np.diag([0.5, 0.75, 2.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(volume, affine), tmp_path / "a.nii.gz")
    found = read(tmp_path / "a.nii.gz")
    assert found.array.dtype == np.int16
    assert found.spacing == (2.0, 0.75, 0.5)
    assert found.orientation == "RAS"
    np.testing.assert_array_equal(found.array[0], volume.transpose(2, 1, 0))
    np.testing.assert_array_equal(np.reshape(found.affine, (3, 4)), affine[:3])
    turned = read(tmp_path / "a.nii.gz", axes="ZXY")  # the columns follow the axes
    np.testing.assert_array_equal(np.reshape(turned.affine, (3, 4)), affine[:3][:, [1, 2, 0, 3]])
    nowhere = nibabel.Nifti1Image(volume, None)
    nibabel.save(nowhere, tmp_path / "c.nii.gz")
    assert read(tmp_path / "c.nii.gz").affine == ()

    image = nibabel.Nifti1Image(volume, affine)
    image.header.set_slope_inter(0.5, 10)
    nibabel.save(image, tmp_path / "b.nii")
    scaled = read(tmp_path / "b.nii").array
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled[0], nibabel.load(tmp_path / "b.nii").get_fdata().transpose(2, 1, 0), rtol=1e-6)


def test_nifti_channels_must_be_named(tmp_path: Path) -> None:
    volume = pixels((4, 5, 6, 2), "float32")
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([1, 1, 3, 1])), tmp_path / "a.nii")
    refused(tmp_path / "a.nii", "axes", "(4, 5, 6, 2)", axes="XYZ")
    found = read(tmp_path / "a.nii", axes="XYZC")
    np.testing.assert_array_equal(found.array, volume.transpose(3, 2, 1, 0))
    assert found.spacing == (3.0, 1.0, 1.0)


def test_nifti_padding_axes_are_dropped(tmp_path: Path) -> None:
    volume = pixels((4, 5, 6, 1), "uint8")
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "a.nii")
    np.testing.assert_array_equal(read(tmp_path / "a.nii").array[0], volume[..., 0].transpose(2, 1, 0))


@pytest.mark.parametrize(
    ("dtype", "target"), [("float64", "float32"), ("int64", "int32"), ("uint32", "int32"), ("uint16", "uint16")]
)
def test_wide_numbers_become_what_networks_take(tmp_path: Path, dtype: str, target: str) -> None:
    image = pixels((4, 4), "uint16").astype(dtype)
    nibabel.save(nibabel.Nifti1Image(image[..., None], np.eye(4), dtype=dtype), tmp_path / "a.nii")
    found = read(tmp_path / "a.nii").array
    assert found.dtype == np.dtype(target)
    np.testing.assert_array_equal(found[0, 0], image.T)
    if np.dtype(dtype).kind in "iu" and np.dtype(dtype).itemsize > 2:
        image[0, 0] = 2**31
        nibabel.save(nibabel.Nifti1Image(image[..., None], np.eye(4), dtype=dtype), tmp_path / "b.nii")
        refused(tmp_path / "b.nii", "32 bits")


def test_complex_and_rgb_voxels_are_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 3, 3), np.complex64), np.eye(4)), tmp_path / "a.nii")
    refused(tmp_path / "a.nii", "complex")
    rgb = np.zeros((3, 3, 3), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    nibabel.save(nibabel.Nifti1Image(rgb, np.eye(4)), tmp_path / "b.nii")
    refused(tmp_path / "b.nii", "real numbers")


def test_bombs_are_refused_on_the_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes that promise gigabytes: refused, and nothing is decoded."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a bomb was decoded")

    (tmp_path / "a.png").write_bytes(png(8, 2, 60_000, [b""] * 0 + [b"\0" * 10] * 60_000))
    head = nibabel.Nifti1Header()
    head.set_data_shape((30_000, 30_000, 1000))
    head.set_data_dtype(np.float64)
    (tmp_path / "b.nii").write_bytes(head.binaryblock + b"\0" * 100)
    tifffile.imwrite(tmp_path / "c.tif", shape=(30_000, 30_000), dtype="uint16", photometric="minisblack")
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", never)
    monkeypatch.setattr(nibabel.arrayproxy.ArrayProxy, "__array__", never)
    monkeypatch.setattr(Image.Image, "load", never)
    for name in ("a.png", "b.nii", "c.tif"):
        refused(tmp_path / name, "promises", "limits")


def test_limits_are_what_they_say(tmp_path: Path) -> None:
    iio.imwrite(tmp_path / "a.png", pixels((10, 10, 3), "uint8"))
    assert read(tmp_path / "a.png", limits=Limits(pixels=300)).array.size == 300
    refused(tmp_path / "a.png", "299", limits=Limits(pixels=299))
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((1024, 1024), np.uint16))
    assert read(tmp_path / "b.tif", limits=Limits(megabytes=2)).array.nbytes == 2**21
    refused(tmp_path / "b.tif", "1 MB", limits=Limits(megabytes=1))


def test_a_deflate_strip_that_swells_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((64, 64), np.uint8), compression="zlib")
    bomb = zlib.compress(b"\0" * 2**24, 9)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        tags = file.pages[0].tags
        places = tags["StripByteCounts"].valueoffset, tags["StripOffsets"].valueoffset
        size = 2 if tags["StripByteCounts"].dtype == 3 else 4
    data[places[0] : places[0] + size] = len(bomb).to_bytes(size, "little")
    data[places[1] : places[1] + 4] = len(data).to_bytes(4, "little")
    (tmp_path / "a.tif").write_bytes(bytes(data) + bomb)
    refused(tmp_path / "a.tif", "inflates")


def example(folder: Path, suffix: str) -> Path:
    path = folder / f"a{suffix}"
    if suffix.startswith(".nii"):
        nibabel.save(nibabel.Nifti1Image(pixels((9, 8, 7), "int16"), np.eye(4)), path)
    elif suffix == ".lzw.tif":
        Image.fromarray(pixels((20, 17), "uint8")).save(path, compression="tiff_lzw")
    elif suffix == ".tif":
        tifffile.imwrite(path, pixels((3, 20, 17), "uint16"), compression="zlib", photometric="minisblack")
    else:
        iio.imwrite(path, pixels((20, 17, 3), "uint8"))
    return path


SUFFIXES = [".png", ".bmp", ".jpg", ".tif", ".lzw.tif", ".nii", ".nii.gz"]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.filterwarnings("ignore::RuntimeWarning:nibabel")
@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_end_in_an_error_for_people(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    """Whatever bytes are lost or altered: a decoded image, or a DataError that names the file. Nothing else."""
    path = example(tmp_path, suffix)
    sound = bytearray(path.read_bytes())
    kept = data.draw(st.integers(0, len(sound)))
    for _ in range(data.draw(st.integers(0, 4))):
        near = min(len(sound), data.draw(st.sampled_from([40, 400, len(sound)])))
        sound[data.draw(st.integers(0, near - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(sound[: kept if data.draw(st.booleans()) else None]))
    with suppress(DataError):
        assert read(path, limits=Limits(pixels=100_000, megabytes=1)).array.size <= 100_000


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"not an image", b"\0" * 500])
def test_not_an_image(tmp_path: Path, suffix: str, content: bytes) -> None:
    (tmp_path / f"a{suffix}").write_bytes(content)
    refused(tmp_path / f"a{suffix}")


def test_an_unknown_suffix_names_the_known_ones(tmp_path: Path) -> None:
    refused(tmp_path / "slide.svs", ".nii.gz", ".tif", "plug-in")


class NumpyReader:
    """A plug-in in nine lines."""

    suffixes = (".npy", ".raw.png")

    def read(self, path: Path, *, axes: str = "", mask: bool = False, limits: Limits) -> RawImage:
        array = np.load(path, allow_pickle=False)
        if array.ndim != 2:
            raise bad(path, "a matrix", f"{array.ndim} axes")
        return RawImage(array=array[None], spacing=(1.0, 1.0))


def test_a_plug_in_reads_what_the_built_in_ones_cannot(tmp_path: Path) -> None:
    image = pixels((6, 7), "uint8")
    np.save(tmp_path / "b.npy", image)
    with (tmp_path / "c.raw.png").open("wb") as file:
        np.save(file, image)
    for name in ("b.npy", "c.raw.png"):
        np.testing.assert_array_equal(read(tmp_path / name, readers=[NumpyReader()]).array[0], image)
    settings = DataSettings(
        root=str(tmp_path),
        images="*.npy",
        classes=("a", "b"),
        masks_required="none",
        splits=SplitSettings(train=1, val=0, test=0),
    )
    assert [item.info.id for item in scan(settings, readers=[NumpyReader()])] == ["b"]
    assert len(built_in()) == 3


def test_tiff_palette(tmp_path: Path) -> None:
    index = pixels((6, 8), "uint8") % 3
    image = Image.fromarray(index)
    image.putpalette([0, 0, 0, 255, 10, 20, 30, 200, 40])
    image.save(tmp_path / "a.tif", compression=None)
    with TiffImagePlugin.TiffImageFile(tmp_path / "a.tif") as written:
        assert written.mode == "P"
    np.testing.assert_array_equal(read(tmp_path / "a.tif", mask=True).array[0], index)
    refused(tmp_path / "a.tif", "palette")
