import json

import pytest

from gossamer.speech.deployment.export import export
from gossamer.speech.transcriber import folder
from gossamer.speech.transcriber.transcriber import Transcriber


@pytest.fixture
def exported(make_recognizer, tmp_path):
    export(make_recognizer("int4_paper"), tmp_path / "exported")
    return tmp_path / "exported"


def test_an_intact_folder(exported):
    manifest = folder.read(exported)
    assert manifest["quantize"] == "int4_paper"
    assert set(manifest["files"]) >= {"encoder.onnx", "predictor.onnx", "joiner.onnx"}


@pytest.mark.parametrize("name", ["encoder.onnx", "front_end.npz"])
def test_damage_is_noticed(exported, name):
    content = bytearray((exported / name).read_bytes())
    content[len(content) // 2] ^= 1
    (exported / name).write_bytes(content)
    with pytest.raises(folder.ExportError, match=f"{name}: missing, damaged or of another export"):
        Transcriber(exported)


def test_a_missing_network_is_noticed(exported):
    (exported / "joiner.onnx").unlink()
    with pytest.raises(folder.ExportError, match=r"joiner\.onnx: missing"):
        Transcriber(exported)


def test_networks_of_another_export_are_noticed(exported, make_recognizer, tmp_path):
    export(make_recognizer("int8"), tmp_path / "other")
    (tmp_path / "other/encoder.onnx").replace(exported / "encoder.onnx")
    with pytest.raises(folder.ExportError, match="of another export"):
        Transcriber(exported)


def test_other_folders(exported, tmp_path):
    with pytest.raises(folder.ExportError, match="no exported recognizer there"):
        folder.read(tmp_path)
    path = exported / "recognizer.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"format": "gossamer-export-99"}))
    with pytest.raises(folder.ExportError, match="'gossamer-export-99', expected"):
        folder.read(exported)
    path.write_text(json.dumps({"format": folder.FORMAT}))
    with pytest.raises(folder.ExportError, match="damaged"):
        folder.read(exported)
    path.write_text("{")
    with pytest.raises(folder.ExportError, match="damaged"):
        folder.read(exported)
    path.write_text("[]")
    with pytest.raises(folder.ExportError, match="format None"):
        folder.read(exported)
