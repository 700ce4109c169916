from sightline.views.loss_chart import loss_chart


def marks(lines, mark):
    return [
        (x, y) for y, line in enumerate(lines[1:-2]) for x, c in enumerate(line[10:]) if c == mark
    ]


def test_the_chart_puts_marks_where_the_losses_are():
    rows = [
        {"number": i, "train_loss": t, "valid_loss": v}
        for i, (t, v) in enumerate([(1.0, 1.0), (0.5, 0.75), (0.0, 0.25)])
    ]
    lines = loss_chart(rows, height=5)
    assert marks(lines, "*") == [(0, 0)]
    assert marks(lines, "o") == [(1, 2), (2, 4)]
    assert marks(lines, "x") == [(1, 1), (2, 3)]
    assert lines[1].split()[0] == "1.000"
    assert lines[5].split()[0] == "0.000"


def test_the_chart_of_losses_that_are_no_numbers():
    rows = [{"number": 0, "train_loss": "NaN", "valid_loss": None}]
    assert loss_chart(rows) == []
    rows.append({"number": 1, "train_loss": 0.5, "valid_loss": "Infinity"})
    assert marks(loss_chart(rows), "o") == [(1, 7)]


def test_the_chart_stays_narrow_and_ends_with_the_last_epoch():
    rows = [{"number": i, "train_loss": 1 / (i + 1), "valid_loss": None} for i in range(1000)]
    lines = loss_chart(rows, width=60)
    assert max(map(len, lines)) <= 10 + 62
    assert lines[-1].endswith("epoch 999")
    assert max(x for x, _ in marks(lines, "o")) == len(lines[-2]) - 11
