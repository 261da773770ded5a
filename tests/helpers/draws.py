"""What holds for the draws of every pretext."""


def check_draws(made, name):
    """A draw depends on its place alone, and a replacement keeps its kind. `made(name, seed=…)` makes a pretext."""
    forwards = [repr(made(name, seed=5).sample(3, number)) for number in range(40)]
    pretext = made(name, seed=5)
    assert forwards == [repr(pretext.sample(3, number)) for number in reversed(range(40))][::-1]
    for number in range(40):
        others = [pretext.sample(0, number, attempt) for attempt in range(4)]
        assert len({sample.kind for sample in others}) == 1 and len(set(map(repr, others))) > 1
