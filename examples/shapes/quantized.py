import qmodels
import shapes


def network() -> qmodels.Network:
    return qmodels.Network(
        name="shapes",
        module=shapes.load(),
        calibration=shapes.draw(500, seed=1)[0],
        test=shapes.draw(4000, seed=2),
    )
