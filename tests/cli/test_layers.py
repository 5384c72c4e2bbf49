from tests.cli.conftest import Qmodels, cells


def test_noise_is_a_table_or_json(qmodels: Qmodels) -> None:
    noise = "layers static-int8-jit --dataset digits --images 4"
    layers = qmodels(f"{noise} --json").json
    assert set(layers[0]) == {"layer", "quantization_db", "runtime_db"}
    heading, _rule, *rows = qmodels(noise).out.splitlines()
    assert cells(heading) == ["Layer", "Quantization (dB)", "Runtime (dB)"]
    assert len(rows) == len(layers)
    assert f"{layers[0]['quantization_db']:.1f}" in rows[0]
