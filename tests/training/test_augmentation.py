import torch
from torch import Generator

from qmodels.training import augmentation


def pictures(count: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)


def test_crops_are_of_the_reflected_image_and_mirrored_where_asked() -> None:
    images = pictures(32)
    mirrored = torch.arange(32) % 3 == 0
    drawn = augmentation.crop_and_mirror(images, mirrored, 2, Generator().manual_seed(0))
    padded = torch.nn.functional.pad(images.float(), (2, 2, 2, 2), mode="reflect")
    offsets = set()
    for image, got, flipped in zip(padded, drawn, mirrored, strict=True):
        seen = got.flip(2) if flipped else got
        matches = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if torch.equal(image[:, top : top + 32, left : left + 32], seen)
        ]
        assert len(matches) == 1
        offsets.update(matches)
    assert len(offsets) > 10


def test_resizing_to_the_same_size_changes_nothing() -> None:
    images = pictures(2).float()
    assert torch.equal(augmentation.resize(images, 32), images)
    half = augmentation.resize(images, 16)
    assert half.shape == (2, 3, 16, 16)
    torch.testing.assert_close(half.mean(), images.mean(), rtol=0.02, atol=0)


def test_cutmix_replaces_a_box_and_mixes_targets_by_its_area() -> None:
    images = pictures(8).float()
    targets = torch.eye(8)
    shares = []
    for seed in range(20):
        mixed, its_targets = augmentation.cutmix(images, targets, Generator().manual_seed(seed))
        for index in range(8):
            partners = [
                other
                for other in range(8)
                if bool(((mixed[index] == images[index]) | (mixed[index] == images[other])).all())
                and its_targets[index, other] > 0
            ]
            changed = (mixed[index] != images[index]).any(dim=0)
            rows, columns = changed.any(dim=1).sum(), changed.any(dim=0).sum()
            share = float(rows * columns) / 1024
            kept = float(its_targets[index, index])
            if kept < 1:  # its partner is another image
                assert abs(kept - (1 - share)) < 1e-6
                assert len(partners) >= 1
                shares.append(share)
        torch.testing.assert_close(its_targets.sum(dim=1), torch.ones(8))
        assert torch.equal(images, images.clamp(0, 255))
    assert min(shares) < 0.2 < 0.5 < max(shares)
