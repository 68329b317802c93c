"""Numbers of things, as people write them."""


def counted(count: int, noun: str, plural: str = "") -> str:
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def images(count: int) -> str:
    return counted(count, "image")
