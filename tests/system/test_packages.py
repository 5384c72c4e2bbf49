"""Versions of installed packages, and what an extra allows."""

import pytest

from qmodels.system import packages


def test_another_version_than_the_extra_allows_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"of": ["numpy>=2", "onnxruntime>=1.22; extra == 'onnx'"]}
    monkeypatch.setattr(packages, "requires", wanted.get)
    monkeypatch.setattr(packages, "version", lambda module: "0.9.0")
    wrong = packages.wrong_version(("onnxruntime",), "onnx", "of")
    assert wrong == "onnxruntime 0.9.0 is installed, and onnxruntime>=1.22 is needed"
    assert packages.wrong_version(("numpy",), "onnx", "of") is None
    assert packages.wrong_version(("onnxruntime",), "onnx", "another") is None


def test_run_from_its_folder_no_version_is_wrong() -> None:
    assert packages.wrong_version(("onnxruntime",), "onnx", "a-package-that-nobody-has") is None
