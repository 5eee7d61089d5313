class Woken:
    """Sends nothing; remembers which databases it was told about."""

    aliases: list[str] = []

    def wake(self, using: str) -> None:
        self.aliases.append(using)
