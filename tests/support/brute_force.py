"""Which patterns match a name, straight from the definition."""


def matches(pattern: list[str], name: list[str]) -> bool:
    if not pattern or not name:
        return not pattern and not name
    if pattern[0] == ">":
        return any(matches(pattern[1:], name[used:]) for used in range(1, len(name) + 1))
    return pattern[0] in ("*", name[0]) and matches(pattern[1:], name[1:])
