from tests.cli.conftest import Qmodels, cells


def test_layers_are_ranked_in_a_table_or_json(qmodels: Qmodels) -> None:
    rank = "sensitivity --dataset digits --images 4"
    layers = qmodels(f"{rank} --json").json
    assert len(layers) == 37  # 36 convolutions and the classifier
    losses = [layer["loss"] for layer in layers]
    assert losses == sorted(losses, reverse=True)
    heading, _rule, *rows = qmodels(rank).out.splitlines()
    headings = ["Layer", "Weights", "Loss (mnat)", "SQNR (dB)", "Changed (%)"]
    assert cells(heading) == headings
    assert [cells(row)[0] for row in rows] == [layer["name"] for layer in layers]
