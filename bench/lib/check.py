"""What is wrong with a measurement."""


def check(turns):
    """Problems: a failed run, another result than natively. Notes: a guest's clock that strays from the host's, and
    instructions that a guest's processor lacks."""
    problems, notes = [], []
    for number, turn in enumerate(turns, 1):
        native = turn["native"]
        for name, run in turn.items():
            problems += [f"turn {number}, {name}: {text}" for text in run.problems]
            for benchmark, result in run.results.items():
                expected = native.results.get(benchmark)
                if expected is not None and expected["checksum"] != result["checksum"]:
                    problems.append(
                        f"turn {number}, {name}, {benchmark}: result {result['checksum']}, natively {expected['checksum']}"
                    )
                strayed = abs(result["own_wall"] - result["wall"])
                if strayed > 0.1 * result["wall"] + 20e6:
                    notes.append(
                        f"turn {number}, {name}, {benchmark}: {result['own_wall'] / 1e6:.0f} ms by its own clock, "
                        f"{result['wall'] / 1e6:.0f} ms by the host's"
                    )
            if name != "native":
                notes += [f"turn {number}, {name}: no {b} on its processor" for b in run.absent - native.absent]
    return problems, notes
