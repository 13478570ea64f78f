"""`backbone`: networks of others give vectors that can be searched, and nothing is unpickled."""

from __future__ import annotations

import json
import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from scipy import ndimage

import micdb as mdb
from micdb.embed.extractors.backbone import PretrainedBackbone
from micdb.embed.nets import torchvision_resnet
from micdb.embed.nets.backbone import place
from micdb.errors import MissingExtraError, UsageError
from micdb.records import Picture, Refusal
from micdb.testing.extractors import ExtractorContract

transformers = pytest.importorskip("transformers")

KINDS = {
    "dinov2": lambda: transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=56, patch_size=14
    ),
    "convnext": lambda: transformers.ConvNextConfig(hidden_sizes=[4, 8, 8, 12], depths=[1, 1, 1, 1]),
    "resnet": lambda: transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[16, 16, 16, 24], depths=[1, 1, 2, 1]
    ),
    "bert": lambda: transformers.BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=9
    ),
}
LENGTHS = {"dinov2": 16, "convnext": 12, "resnet": 24}


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Networks with random weights, as transformers saves them."""
    root = tmp_path_factory.mktemp("networks")
    for number, (name, config) in enumerate(KINDS.items()):
        torch.manual_seed(number)
        transformers.AutoModel.from_config(config()).save_pretrained(root / name)
    told = {"crop_size": {"height": 56, "width": 56}, "image_mean": [0.4] * 3, "image_std": [0.2] * 3}
    (root / "dinov2" / "preprocessor_config.json").write_text(json.dumps(told))
    return root


@pytest.fixture(autouse=True)
def no_hub(monkeypatch):
    """Whoever asks the hub in these tests is told that it is not there."""
    import huggingface_hub

    def away(*_args, **_kwargs):
        raise OSError("the hub is away")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", away)


def noise(seed, shape=(64, 80)):
    return np.random.default_rng(seed).poisson(20, shape).astype(np.float32)


def picture(pixels, **changed):
    whole = Picture(1, np.asarray(pixels, np.float32)[None], (10.0, 10.0), "SEM", None, "steel")
    return replace(whole, **changed)


def vector(folder, asked, **parameters):
    (answer,) = PretrainedBackbone(model=str(folder), **parameters).extract([asked])
    assert not isinstance(answer, Refusal), answer.reason
    return np.array(answer.tables["embeddings"]["vector"][0].as_py())


class TestContract(ExtractorContract):
    extractor = PretrainedBackbone

    @pytest.fixture(autouse=True)
    def named(self, networks, monkeypatch):
        monkeypatch.setattr(type(self), "parameters", {"model": str(networks / "dinov2")})

    @pytest.fixture
    def picture(self):
        return picture(noise(0))


@pytest.mark.parametrize("kind", LENGTHS)
def test_a_unit_vector_of_the_length_of_the_network(networks, kind):
    found = vector(networks / kind, picture(noise(1)))
    assert found.shape == (LENGTHS[kind],)
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)
    assert abs(found @ vector(networks / kind, picture(noise(2) ** 3))) < 1 - 1e-6
    sent = pickle.loads(pickle.dumps(PretrainedBackbone(model=str(networks / kind))))  # to another process
    (answer,) = sent.extract([picture(noise(1))])
    np.testing.assert_array_equal(answer.tables["embeddings"]["vector"][0].as_py(), found)


def test_the_numbers_are_those_of_transformers(networks):
    """One window of the network's own size: preprocessing and pooling by hand."""
    pixels = noise(3, (56, 56))
    low, high = np.percentile(pixels, [1, 99])
    grey = np.clip((pixels - low) / (high - low), 0, 1)
    given_ = torch.tensor((grey - 0.4) / 0.2, dtype=torch.float32).expand(1, 3, 56, 56)
    network = transformers.AutoModel.from_pretrained(networks / "dinov2").eval()
    with torch.inference_mode():
        last = network(given_).last_hidden_state[0]
    for pool, pooled in (("cls", last[0]), ("mean", last[1:].mean(dim=0))):
        expected = (pooled / pooled.norm()).numpy()
        np.testing.assert_allclose(
            vector(networks / "dinov2", picture(pixels), pool=pool), expected, atol=1e-4
        )


@settings(max_examples=5, deadline=None)
@given(gain=st.floats(0.01, 1e4), offset=st.floats(-1e3, 1e3))
def test_gain_and_offset_of_the_detector_change_nothing(networks, gain, offset):
    pixels = noise(4)
    one, other = (
        vector(networks / "convnext", picture(values)) for values in (pixels, gain * pixels + offset)
    )
    assert one @ other > 1 - 1e-4


def test_vectors_are_searched_by_image_and_by_file(networks, tmp_path):
    """An image is most like itself, from the database and from a file, wherever the folder lies now."""
    for number in range(3):
        pixels = (noise(number, (60, 60)) ** (1 + number)).astype(np.float32)
        tifffile.imwrite(tmp_path / f"{number}.tif", pixels)
    db = mdb.init(tmp_path / "lab.micdb")
    db.ingest([tmp_path / f"{number}.tif" for number in range(3)])
    first = db.populate("backbone", parameters={"model": str(networks / "dinov2"), "size": 56})
    assert first.added == 3
    for example in (db.images.to_pandas().set_index("name").uid["1"], tmp_path / "1.tif"):
        found = db.images.similar_to(example, by="backbone").to_pandas()
        assert found.name[0] == "1"
        assert found.similarity[0] == pytest.approx(1, abs=1e-5)
        assert found.similarity[1] < 1 - 1e-6
    assert db.images.embeddings("backbone@px").vectors.shape == (3, 16)

    moved = (networks / "dinov2").rename(networks / "moved")
    try:
        again = db.populate("backbone", parameters={"model": str(moved), "size": 56})
        assert (again.run, again.added) == (first.run, 0)  # the weights make the run
        assert db.images.similar_to(tmp_path / "2.tif", by="backbone").to_pandas().name[0] == "2"
    finally:
        moved.rename(networks / "dinov2")


def test_images_are_brought_to_the_pixel_size_asked_for(networks):
    fine = ndimage.gaussian_filter(noise(5, (80, 80)), 3)
    coarse = picture(fine.reshape(40, 2, 40, 2).mean(axis=(1, 3)), pixel_size=(20.0, 20.0))
    folder, asked = networks / "convnext", {"pixel_size": 20.0, "size": 32}
    extractor = PretrainedBackbone(model=str(folder), **asked)
    assert (extractor.spaces[0].name, extractor.spaces[0].nm_per_pixel) == ("backbone@20nm", 20.0)
    expected = vector(folder, coarse, **asked)
    assert vector(folder, picture(fine), **asked) @ expected > 0.99
    assert vector(folder, picture(fine), size=32) @ expected < 0.98
    for size, reason in ((None, "no pixel size"), ((30.0, 30.0), "upsampling"), ((0.0, 10.0), "positive")):
        (answer,) = extractor.extract([picture(fine, pixel_size=size)])
        assert reason in answer.reason


def test_resnets_with_the_names_of_torchvision_give_the_same_vectors(networks, tmp_path):
    """As MicroNet has them: the table maps every tensor there and back."""
    there = {}
    for name, value in load_file(networks / "resnet" / "model.safetensors").items():
        there[torchvision_name(name)] = value
    save_file({**there, "fc.weight": torch.zeros(10, 24)}, tmp_path / "resnet.safetensors")
    asked = picture(noise(6))
    np.testing.assert_array_equal(
        vector(tmp_path / "resnet.safetensors", asked), vector(networks / "resnet", asked)
    )
    save_file({"conv1.weight": torch.zeros(8, 3, 7, 7)}, tmp_path / "less.safetensors")
    with pytest.raises(UsageError, match="no ResNet with torchvision's names.*layer1"):
        PretrainedBackbone(model=str(tmp_path / "less.safetensors"))


def torchvision_name(name):
    """Return the name torchvision has, told from the structure of both alone."""
    parts = name.split(".")
    tail = parts[-1]
    norm = "normalization" in name
    if parts[0] == "embedder":
        return f"{'bn1' if norm else 'conv1'}.{tail}"
    stage, block = int(parts[2]) + 1, parts[4]
    if "shortcut" in name:
        return f"layer{stage}.{block}.downsample.{int(norm)}.{tail}"
    return f"layer{stage}.{block}.{'bn' if norm else 'conv'}{int(parts[6]) + 1}.{tail}"


def test_names_of_tensors_that_are_unknown_stay_as_they_are():
    assert torchvision_resnet._renamed("layer1.0.se.weight") == "layer1.0.se.weight"


def refused(parameters, *said):
    with pytest.raises(UsageError) as caught:
        PretrainedBackbone(**parameters)
    for one in said:
        assert one in str(caught.value), caught.value


def test_a_pickle_is_not_opened_and_the_line_that_converts_it_works(networks, tmp_path):
    old = tmp_path / "resnet50_micronet.pth.tar"
    tensors = load_file(networks / "resnet" / "model.safetensors")
    there = {torchvision_name(name): value for name, value in tensors.items()}
    torch.save({"state_dict": there}, old)
    with pytest.raises(UsageError, match="pickle can run any code") as caught:
        PretrainedBackbone(model=str(old))
    line = str(caught.value).split('python -c "')[1].rsplit('"', 1)[0]
    exec(line)
    assert vector(tmp_path / "resnet50_micronet.safetensors", picture(noise(0))).shape == (24,)


def test_a_folder_lacks_something(networks, tmp_path):
    refused({"model": str(tmp_path)}, "holds nothing", "expected config.json and model.safetensors")
    (tmp_path / "config.json").write_text((networks / "dinov2" / "config.json").read_text())
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    refused({"model": str(tmp_path)}, "holds config.json, pytorch_model.bin", "model.safetensors', {'format'")
    tensors = load_file(networks / "dinov2" / "model.safetensors")
    tensors.pop("embeddings.cls_token")
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    refused({"model": str(tmp_path)}, "lack 1 tensors", "embeddings.cls_token")
    (tmp_path / "config.json").write_text('{"model_type": "no such thing"}')
    refused({"model": str(tmp_path)}, "transformers cannot read")


def test_what_is_asked_for_is_not_there(networks):
    refused({"model": str(networks / "bert")}, "holds a bert, which takes input_ids", "dinov2")
    refused({"model": "/no/such/folder"}, "no such folder or file", "facebook/dinov2-small")
    refused({"model": "someone/net"}, "no folder here", "the hub is away", "model='/path/to/folder'")
    dinov2, convnext = {"model": str(networks / "dinov2")}, {"model": str(networks / "convnext")}
    refused({**dinov2, "device": "cuda:77"}, "device is 'cuda:77'", "expected 'cpu'")
    refused({**convnext, "pool": "cls"}, "no class token", "'mean'")
    refused({**dinov2, "pool": "max"}, "pool is 'max'")
    refused({**dinov2, "size": 20}, "size is 20", "32 or more")
    with pytest.raises(UsageError, match="no model is named"):
        _ = PretrainedBackbone().spaces


def test_without_transformers_the_error_is_the_line_that_installs_it(networks, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'micdb\[hub\]'"):
        PretrainedBackbone(model="someone/net")


def test_weights_and_preprocessing_make_the_run(networks, tmp_path):
    before = place(str(networks / "convnext")).sha256
    for file in (networks / "convnext").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert place(str(tmp_path)).sha256 == before
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5]}')
    assert place(str(tmp_path)).sha256 != before


def test_importing_micdb_does_not_load_it():
    import subprocess

    code = (
        "import sys, micdb; from micdb.populate.extractor import extractors; extractors().get('backbone'); "
    )
    code += "sys.exit('transformers' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
