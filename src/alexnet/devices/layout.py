"""How many devices the batch and the towers are split over. Nothing here needs JAX."""


def layout(
    devices: int, towers: int, batch_size: int, data: int = 0, tower: int = 0
) -> tuple[int, int]:
    """(data, tower): the given numbers, with a 0 replaced by what the devices allow.

    Each tower gets its own device if there are enough, as in the paper. The batch is split over the
    largest number of such groups of devices that divides it.
    """
    tower = tower or (towers if max(data, 1) * towers <= devices else 1)
    most = max(devices // tower, 1)
    data = data or max(n for n in range(1, most + 1) if batch_size % n == 0)
    return data, tower
