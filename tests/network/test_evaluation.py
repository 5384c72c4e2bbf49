import pytest
import torch

from qmodels.data import Dataset
from qmodels.network import evaluation


def test_accuracy_counts_what_is_defined() -> None:
    labels = torch.tensor([0, 1, 2, 6])
    logits = torch.tensor([[9.0, 8, 7, 6, 5, 4, 3]] * 4)
    assert evaluation.accuracy(logits, labels) == (25.0, 25.0)


def test_of_equal_logits_the_first_class_wins_wherever_it_is_counted() -> None:
    logits = torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 1, 1], [0, 0, 0]])
    ranks = evaluation.ranks(logits, torch.tensor([0, 1, 2, 2]))
    assert ranks.tolist() == [0, 1, 1, 2]
    assert (ranks == 0).tolist() == (logits.argmax(dim=1) == torch.tensor([0, 1, 2, 2])).tolist()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_an_image_with_a_logit_that_is_not_finite_is_wrong_and_counted(value: float) -> None:
    logits = torch.eye(4)
    logits[2, 0] = value
    labels = torch.arange(4)
    assert evaluation.ranks(logits, labels).tolist() == [0, 0, 4, 0]
    assert evaluation.not_finite(logits) == "1 of 4 images have outputs that are not finite"
    assert evaluation.not_finite(torch.eye(4)) is None
    assert evaluation.sqnr_db(logits, torch.eye(4)) == -evaluation.MOST_DB
    assert evaluation.sqnr_db(torch.eye(4), logits) == -evaluation.MOST_DB


def test_predictions_do_not_depend_on_how_images_are_batched(
    digits: Dataset, digits_model: torch.nn.Module
) -> None:
    images = digits.normalized(digits.test.images[:30])
    whole = evaluation.predict(digits_model, images)
    parts = evaluation.predict(digits_model, images, batch_size=7)
    torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-4)
