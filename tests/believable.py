"""Findings as a small study would give them, with the odd cases among them. The numbers are made up."""

from tricksearch.records.recipe import Recipe
from tricksearch.verdicts.findings import Findings, Gap, Mean, Member, Minimal, Shift
from tricksearch.verdicts.verdict import Verdict

EVIL = "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 1'>"
LONG = "a_trick_whose_name_is_as_long_as_a_name_can_sensibly_be_made"


def verdict(trick="label_smoothing", measure="accuracy", says="helps", **changes) -> Verdict:
    """A verdict of a screen whose interval agrees with what it says."""
    points = measure == "accuracy"
    effect = {"helps": 0.42 if points else -27.0, "hurts": -0.42 if points else 12.0}.get(says, 0.02)
    effect = changes.get("effect", 0.11 if says == "undecided" and "effect" not in changes else effect)
    half = 0.12 if says == "equivalent" else 0.31 if says == "undecided" else 0.24
    half *= 1 if points else 8
    values = {
        "trick": trick,
        "measure": measure,
        "comparison": "screen",
        "says": says,
        "effect": effect,
        "low": None if effect is None else effect - half,
        "high": None if effect is None else effect + half,
        "low_alone": None if effect is None else effect - 0.7 * half,
        "high_alone": None if effect is None else effect + 0.7 * half,
        "p": None if effect is None else 0.001 if says in ("helps", "hurts") else 0.4,
        "p_adjusted": None if effect is None else 0.01 if says in ("helps", "hurts") else 1.0,
        "n": 48,
        "power": 0.83,
        "more": 96 if says == "undecided" and effect is not None else None,
        "more_for": "difference" if says == "undecided" and effect is not None else None,
        "margin": 0.2 if points else 5.0,
        "why": "",
    }
    return Verdict(**values | changes)


def unknown(trick, why="all 24 runs with it failed. Look at their reasons in the report", **changes) -> Verdict:
    """A verdict without a number."""
    return verdict(trick, says="undecided", effect=None, p=None, power=None, more=None, why=why, **changes)


def mean(value, half=0.3, n=5) -> Mean:
    return Mean(value, value - half, value + half, n)


def members() -> tuple[Member, ...]:
    """A baseline, three members of the front and a minimal recipe."""
    plain = {"accuracy": mean(93.8), "latency_ms": mean(0.412, 0.004)}
    return (
        Member("0", "baseline", (), None, plain, {"accuracy": mean(93.9)}, mean(93.4)),
        Member(
            "12",
            "front",
            ("cosine", "label_smoothing"),
            0.97,
            {"accuracy": mean(95.2), "latency_ms": mean(0.41, 0.004)},
            {"accuracy": mean(94.6), "latency_ms": mean(0.411, 0.004)},
            mean(94.1),
        ),
        Member(
            "17.1",
            "front",
            ("cosine", "int8", "label_smoothing", LONG),
            None,
            {"accuracy": mean(95.2), "latency_ms": Mean(0.255, None, None, 1)},
            {"accuracy": mean(94.6), "latency_ms": mean(0.256, 0.004)},
            Mean(94.0, None, None, 1),
        ),
        Member("20", "front", ("pruning",), None, {"accuracy": Mean(92.1, None, None, 1)}, {}, None),
        Member("31", "minimal", ("cosine", "int8"), None, {}, {"accuracy": mean(94.5)}, mean(94.1)),
    )


def findings(**changes) -> Findings:
    """Everything at once."""
    screen = (
        verdict(),
        verdict(measure="latency_ms", says="equivalent", effect=0.3),
        verdict("int8", says="equivalent"),
        verdict("int8", "latency_ms"),
        verdict("se", says="undecided"),
        verdict("se", "latency_ms", "hurts"),
        verdict("mixup", says="hurts"),
        verdict("mixup", "latency_ms", "undecided", more=None),
        unknown("pruning"),
        unknown("pruning", measure="latency_ms"),
        verdict(LONG, says="equivalent", n=40),
    )
    steps = (
        verdict("cosine", comparison="ladder", n=10, effect=0.6),
        verdict("label_smoothing", comparison="ladder", n=10),
        verdict("int8", "latency_ms", comparison="ladder", n=10),
        verdict(
            "int8", says="undecided", comparison="ladder", n=2, low=None, high=None, more=None, why="one run an arm"
        ),
    )
    pairs = (
        verdict("cosine + mixup", says="hurts", comparison="interaction"),
        verdict("cosine + label_smoothing", comparison="interaction"),
        verdict("mixup + se", says="undecided", comparison="interaction"),
        verdict("int8 + se", says="equivalent", comparison="interaction"),
    )
    around = (
        verdict("label_smoothing", comparison="leave_one_out", n=10),
        verdict("label_smoothing", comparison="add_one_in", n=10, says="undecided", more=1),
    )
    whole = (
        verdict("minimal", says="equivalent", comparison="minimal", n=10),
        verdict("minimal", "latency_ms", "equivalent", comparison="minimal", n=10),
    )
    minimal = Recipe(tricks={"cosine": {}, "int8": {"mode": "static"}}).model_dump(mode="json")
    short, full = verdict("mixup", says="hurts", comparison="fidelity", n=24), verdict("mixup")
    values = {
        "design": "Plackett-Burman, folded over, 24 runs a block",
        "verdicts": screen + around + steps + pairs,
        "order": ("cosine", "label_smoothing", "int8"),
        "members": members(),
        "gap": Gap(Mean(0.6, 0.1, 1.1, 2), Mean(0.5, 0.2, 0.8, 2), 2, 78.6, 78.0),
        "minimal": Minimal("17.1", minimal, ("cosine", "int8"), ("label_smoothing",), whole, True),
        "shifts": (
            Shift("mixup", short, full, verdict("mixup", comparison="budget", n=48), "sign changes"),
            *(
                Shift(
                    name,
                    verdict(name, comparison="fidelity"),
                    verdict(name),
                    verdict(name, says=says, comparison="budget"),
                    word,
                )
                for name, says, word in (("cosine", "equivalent", "same"), ("se", "undecided", "undecided"))
            ),
        ),
        "confounders": ("mixup also smooths the labels: mean entropy of the targets 0.31 nats, 0.00 without it.",),
        "notes": ("pruning was never confirmed: add it to confirm",),
        "simulated": False,
    }
    return Findings(**values | changes)
